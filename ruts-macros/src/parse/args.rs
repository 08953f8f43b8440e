//! What stands in `#[session(...)]` and `#[field(...)]`.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Expr, Ident, Lit, LitInt, LitStr, Path, Token, Type, ext::IdentExt, parse::ParseStream,
    parse::discouraged::Speculative,
};

use super::{
    duration,
    keys::{self, unknown},
    once::Once,
};
use crate::diag::Diagnostics;

/// A lifetime, and the tokens that it was read from.
#[derive(Clone)]
pub(crate) enum Lifetime {
    Millis(u64),
    /// An expression of type `Duration`.
    Expr(TokenStream),
}

#[derive(Clone)]
pub(crate) enum Hot {
    For(Lifetime),
    Never,
    Checked,
}

#[derive(Default)]
pub(crate) struct SessionArgs {
    pub(crate) krate: Once<Path>,
    pub(crate) prefix: Once<LitStr>,
    pub(crate) codec: Once<LitStr>,
    pub(crate) layer: Once<Type>,
}

#[derive(Default)]
pub(crate) struct FieldArgs {
    pub(crate) ttl: Once<Lifetime>,
    pub(crate) hot: Once<Hot>,
    /// `None` inside: the type's own default.
    pub(crate) default: Once<Option<TokenStream>>,
    pub(crate) once: Once<()>,
    pub(crate) lazy: Once<()>,
    pub(crate) rotate: Once<()>,
    pub(crate) principal: Once<()>,
    pub(crate) rename: Once<LitStr>,
    pub(crate) version: Once<LitInt>,
    pub(crate) codec: Once<LitStr>,
}

impl SessionArgs {
    pub(super) fn read(&mut self, input: ParseStream<'_>, diagnostics: &mut Diagnostics) {
        list(input, diagnostics, |key, input, diagnostics| {
            match key.unraw().to_string().as_str() {
                "crate" => {
                    self.krate.put(key.clone(), value(&key, input, diagnostics), diagnostics)
                }
                "prefix" => {
                    self.prefix.put(key.clone(), value(&key, input, diagnostics), diagnostics)
                }
                "codec" => {
                    self.codec.put(key.clone(), value(&key, input, diagnostics), diagnostics)
                }
                "layer" => {
                    self.layer.put(key.clone(), value(&key, input, diagnostics), diagnostics)
                }
                word => {
                    diagnostics.at(&key, unknown("session attribute", word, &keys::SESSION));
                    skip(input);
                }
            }
        });
    }
}

impl FieldArgs {
    pub(super) fn read(&mut self, input: ParseStream<'_>, diagnostics: &mut Diagnostics) {
        list(input, diagnostics, |key, input, diagnostics| {
            match key.unraw().to_string().as_str() {
                "ttl" => self.ttl.put(key.clone(), lifetime(&key, input, diagnostics), diagnostics),
                "hot" => self.hot.put(key.clone(), hot(&key, input, diagnostics), diagnostics),
                "default" => {
                    self.default.put(key.clone(), default(input, diagnostics), diagnostics)
                }
                "once" => self.once.put(key.clone(), flag(&key, input, diagnostics), diagnostics),
                "lazy" => self.lazy.put(key.clone(), flag(&key, input, diagnostics), diagnostics),
                "rotate" => {
                    self.rotate.put(key.clone(), flag(&key, input, diagnostics), diagnostics)
                }
                "principal" => {
                    self.principal.put(key.clone(), flag(&key, input, diagnostics), diagnostics);
                }
                "rename" => {
                    self.rename.put(key.clone(), value(&key, input, diagnostics), diagnostics)
                }
                "version" => {
                    self.version.put(key.clone(), value(&key, input, diagnostics), diagnostics)
                }
                "codec" => {
                    self.codec.put(key.clone(), value(&key, input, diagnostics), diagnostics)
                }
                word @ ("index" | "migrate" | "encrypt") => {
                    diagnostics
                        .at(&key, format!("`{word}` is not available yet; remove it for now"));
                    skip(input);
                }
                word => {
                    diagnostics.at(&key, unknown("field attribute", word, &keys::FIELD));
                    skip(input);
                }
            }
        });
    }
}

/// Reads keys up to the end, whatever is wrong with some of them.
fn list(
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
    mut key: impl FnMut(Ident, ParseStream<'_>, &mut Diagnostics),
) {
    while !input.is_empty() {
        match input.call(Ident::parse_any) {
            Ok(word) => key(word, input, diagnostics),
            Err(_) => {
                let rest = skip(input);
                diagnostics.at(rest, "expected the name of an attribute, such as `ttl = \"30d\"`");
            }
        }
        let rest = skip(input);
        if !rest.is_empty() {
            diagnostics.at(rest, "expected `,` before this");
        }
        let _ = input.parse::<Token![,]>();
    }
}

/// Consumes everything up to the next comma.
fn skip(input: ParseStream<'_>) -> TokenStream {
    let mut skipped = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        match input.parse::<TokenTree>() {
            Ok(token) => skipped.extend([token]),
            Err(_) => break,
        }
    }
    skipped
}

/// What a value should have looked like, by example.
fn example(key: &Ident) -> String {
    let value = match key.unraw().to_string().as_str() {
        "ttl" | "hot" => "\"30d\"",
        "prefix" => "\"auth\"",
        "codec" => "\"messagepack\"",
        "rename" => "\"stored_name\"",
        "version" => "2",
        "layer" => "Staff",
        "crate" => "::ruts",
        _ => "..",
    };
    format!("`{} = {value}`", key.unraw())
}

/// The value behind `key =`.
fn value<T: syn::parse::Parse>(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    if input.parse::<Token![=]>().is_err() {
        diagnostics.at(key, format!("`{}` needs a value: {}", key.unraw(), example(key)));
        skip(input);
        return None;
    }
    let ahead = input.fork();
    match ahead.parse() {
        Ok(value) => {
            input.advance_to(&ahead);
            Some(value)
        }
        Err(_) => {
            let found = skip(input);
            let message =
                format!("`{}` cannot have this value; write {}", key.unraw(), example(key));
            if found.is_empty() {
                diagnostics.at(key, message);
            } else {
                diagnostics.at(found, message);
            }
            None
        }
    }
}

fn flag(key: &Ident, input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> Option<()> {
    if !input.peek(Token![=]) {
        return Some(());
    }
    diagnostics.at(skip(input), format!("`{key}` takes no value; write just `{key}`"));
    None
}

/// Nothing, or an expression of any form: those that syn does not know without its `full` feature
/// are taken as they are, up to the comma.
fn default(input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> Option<Option<TokenStream>> {
    let Ok(equals) = input.parse::<Token![=]>() else {
        return Some(None);
    };
    let ahead = input.fork();
    match ahead.parse::<Expr>() {
        Ok(expr) if ahead.is_empty() || ahead.peek(Token![,]) => {
            input.advance_to(&ahead);
            Some(Some(expr.into_token_stream()))
        }
        _ => {
            let expr = skip(input);
            if expr.is_empty() {
                diagnostics.at(
                    equals,
                    "an expression is missing; write `default` for the type's own default",
                );
                return None;
            }
            Some(Some(expr))
        }
    }
}

fn lifetime(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Lifetime> {
    let expr: Expr = value(key, input, diagnostics)?;
    resolve_lifetime(key, expr, diagnostics)
}

fn hot(key: &Ident, input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> Option<Hot> {
    let expr: Expr = value(key, input, diagnostics)?;
    if let Some(text) = text(&expr) {
        match text.value().as_str() {
            "never" => return Some(Hot::Never),
            "checked" => return Some(Hot::Checked),
            word if word.chars().all(char::is_alphabetic) && !word.is_empty() => {
                let guess = keys::suggest(word, &["never", "checked"]);
                let guess =
                    guess.map_or(String::new(), |guess| format!("; did you mean \"{guess}\"?"));
                let message =
                    format!("`hot` is a lifetime, \"never\" or \"checked\", not \"{word}\"{guess}");
                diagnostics.at(text, message);
                return None;
            }
            _ => {}
        }
    }
    resolve_lifetime(key, expr, diagnostics).map(Hot::For)
}

fn resolve_lifetime(key: &Ident, expr: Expr, diagnostics: &mut Diagnostics) -> Option<Lifetime> {
    if let Some(text) = text(&expr) {
        return match duration::parse(&text.value()) {
            Ok(millis) => Some(Lifetime::Millis(millis)),
            Err(error) => {
                diagnostics.at(text, error);
                None
            }
        };
    }
    if let Expr::Lit(literal) = &expr {
        let hint = match &literal.lit {
            Lit::Int(number) => {
                format!("write `{key} = \"{}s\"` for seconds", number.base10_digits())
            }
            _ => format!("write {}", example(key)),
        };
        diagnostics.at(literal, format!("a lifetime is a text with a unit; {hint}"));
        return None;
    }
    Some(Lifetime::Expr(expr.into_token_stream()))
}

fn text(expr: &Expr) -> Option<&LitStr> {
    match expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        _ => None,
    }
}
