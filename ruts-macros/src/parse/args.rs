//! What stands in `#[session(...)]` and `#[field(...)]`.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Expr, Ident, Lit, LitInt, LitStr, Path, Token, Type,
    ext::IdentExt,
    parse::{ParseStream, discouraged::Speculative},
    token::Paren,
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
pub(crate) enum CachePolicy {
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
    pub(crate) hot: Once<CachePolicy>,
    /// `None` inside: the type's own default.
    pub(crate) default: Once<Option<TokenStream>>,
    pub(crate) once: Once<()>,
    pub(crate) lazy: Once<()>,
    pub(crate) rotate: Once<()>,
    pub(crate) principal: Once<()>,
    pub(crate) encrypt: Once<()>,
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
                "encrypt" => {
                    self.encrypt.put(key.clone(), flag(&key, input, diagnostics), diagnostics);
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
                word @ ("index" | "migrate") => {
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
    if !equals(key, input, diagnostics) {
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
            diagnostics.at(found, message);
            None
        }
    }
}

/// Whether there is a value behind `key`, which is then the next to be read.
fn equals(key: &Ident, input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> bool {
    let equals = input.parse::<Token![=]>().is_ok();
    let there = equals && !input.is_empty() && !input.peek(Token![,]);
    if !there {
        diagnostics.at(key, format!("`{}` needs a value: {}", key.unraw(), example(key)));
        skip(input);
    }
    there
}

fn flag(key: &Ident, input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> Option<()> {
    if !input.peek(Token![=]) && !input.peek(Paren) {
        return Some(());
    }
    diagnostics.at(skip(input), format!("`{key}` takes no value; write just `{key}`"));
    None
}

/// Nothing, or an expression.
fn default(input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> Option<Option<TokenStream>> {
    let Ok(equals) = input.parse::<Token![=]>() else {
        return Some(None);
    };
    let expr = expression(input);
    if expr.is_empty() {
        let message = "an expression is missing; write `default` for the type's own default";
        diagnostics.at(equals, message);
        return None;
    }
    Some(Some(expr))
}

/// An expression of any form: those that syn does not know without its `full` feature are taken as
/// they are, up to the comma.
fn expression(input: ParseStream<'_>) -> TokenStream {
    let ahead = input.fork();
    let expr = ahead.parse::<Expr>();
    // Behind a whole expression, a word can only be the next key, with its comma forgotten.
    let forgotten = ahead.peek(Ident::peek_any) || ahead.peek(Lit);
    let whole = ahead.is_empty() || ahead.peek(Token![,]) || forgotten;
    match expr {
        Ok(expr) if whole => {
            input.advance_to(&ahead);
            expr.into_token_stream()
        }
        _ => raw_expression(input),
    }
}

/// Everything up to the next comma that is not between the angle brackets of a turbofish.
fn raw_expression(input: ParseStream<'_>) -> TokenStream {
    let mut tokens = TokenStream::new();
    let (mut depth, mut before) = (0_u32, None);
    while !input.is_empty() && (depth > 0 || !input.peek(Token![,])) {
        let Ok(token) = input.parse::<TokenTree>() else { break };
        let punct = match &token {
            TokenTree::Punct(punct) => Some(punct.as_char()),
            _ => None,
        };
        match (before, punct) {
            (Some(':'), Some('<')) => depth += 1,
            (_, Some('<')) if depth > 0 => depth += 1,
            (Some('-' | '='), Some('>')) => {}
            (_, Some('>')) => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = punct;
        tokens.extend([token]);
    }
    tokens
}

fn lifetime(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Lifetime> {
    if !equals(key, input, diagnostics) {
        return None;
    }
    let expr = expression(input);
    let parsed = match syn::parse2::<Lit>(expr.clone()) {
        Ok(Lit::Str(text)) => {
            duration::parse(&text.value()).map_err(|error| syn::Error::new_spanned(text, error))
        }
        Ok(_) => Err(unquoted(key, expr, skip(input))),
        Err(_) => return Some(Lifetime::Expr(expr)),
    };
    match parsed {
        Ok(millis) => Some(Lifetime::Millis(millis)),
        Err(error) => {
            diagnostics.push(error);
            None
        }
    }
}

/// A lifetime was written as a number: `30`, `30d`, even `1h 30m`.
fn unquoted(key: &Ident, mut found: TokenStream, rest: TokenStream) -> syn::Error {
    found.extend(rest);
    let text = found.to_string();
    let hint = if duration::parse(&text).is_ok() {
        format!("write `{key} = \"{text}\"`")
    } else if duration::parse(&format!("{text}s")).is_ok() {
        format!("write `{key} = \"{text}s\"` for seconds")
    } else {
        format!("write {}", example(key))
    };
    syn::Error::new_spanned(found, format!("a lifetime is a text with a unit; {hint}"))
}

fn hot(key: &Ident, input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> Option<CachePolicy> {
    let ahead = input.fork();
    let text = ahead.parse::<Token![=]>().and_then(|_| ahead.parse::<LitStr>());
    let Ok(text) = text else {
        return lifetime(key, input, diagnostics).map(CachePolicy::For);
    };
    let hot = match text.value().as_str() {
        "never" => Some(CachePolicy::Never),
        "checked" => Some(CachePolicy::Checked),
        word if word.chars().all(char::is_alphabetic) && !word.is_empty() => {
            let guess = keys::suggest(word, &["never", "checked"]);
            let guess = guess.map_or(String::new(), |guess| format!("; did you mean \"{guess}\"?"));
            let message =
                format!("`hot` is a lifetime, \"never\" or \"checked\", not \"{word}\"{guess}");
            diagnostics.at(&text, message);
            None
        }
        _ => return lifetime(key, input, diagnostics).map(CachePolicy::For),
    };
    input.advance_to(&ahead);
    hot
}
