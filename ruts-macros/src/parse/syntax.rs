//! Reads the parts of an attribute: keys, flags, values and expressions.
//!
//! Called by `args` and `lifetime`. Knows keys only for the examples in its messages.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Expr, Ident, Lit, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, discouraged::Speculative},
    token::Paren,
};

use crate::diagnostics::Diagnostics;

/// Reads all keys. A mistake in one of them does not hide the mistakes in the others.
pub(super) fn list(
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
    example: &str,
    mut read: impl FnMut(Ident, ParseStream<'_>, &mut Diagnostics),
) {
    while !input.is_empty() {
        match input.call(Ident::parse_any) {
            Ok(key) => read(key, input, diagnostics),
            Err(_) if input.peek(Token![,]) => {
                let comma = skip_comma(input);
                diagnostics.at(comma, "remove this `,`: no key stands before it");
                continue;
            }
            Err(_) => {
                let rest = skip(input);
                diagnostics
                    .at(rest, format!("expected the name of an attribute, such as `{example}`"));
            }
        }
        let rest = skip(input);
        if !rest.is_empty() {
            diagnostics.at(rest, "expected `,` before this");
        }
        skip_comma(input);
    }
}

fn skip_comma(input: ParseStream<'_>) -> Option<Token![,]> {
    input.parse().ok()
}

/// Consumes all tokens up to the next comma.
pub(super) fn skip(input: ParseStream<'_>) -> TokenStream {
    let mut skipped = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        match input.parse::<TokenTree>() {
            Ok(token) => skipped.extend([token]),
            Err(_) => break,
        }
    }
    skipped
}

/// Returns a correct use of a key, for messages.
pub(super) fn example(key: &Ident) -> String {
    let value = match key.unraw().to_string().as_str() {
        "ttl" | "hot" => "\"30d\"",
        "prefix" => "\"auth\"",
        "codec" => "\"messagepack\"",
        "rename" => "\"stored_name\"",
        "version" => "2",
        "writes" => "1",
        "layer" => "Staff",
        "crate" => "::ruts",
        "lock" => "\"sessions.lock\"",
        _ => "..",
    };
    format!("`{} = {value}`", key.unraw())
}

/// Reads the value after `key =`.
pub(super) fn value<T: Parse>(
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

/// Consumes the `=` after `key`. Returns whether a value follows.
pub(super) fn equals(key: &Ident, input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> bool {
    // `==` begins with `=`, but is one token.
    let equals = !input.peek(Token![==]) && input.parse::<Token![=]>().is_ok();
    let follows = equals && !input.is_empty() && !input.peek(Token![,]);
    if !follows {
        diagnostics.at(key, format!("`{}` needs a value: {}", key.unraw(), example(key)));
        skip(input);
    }
    follows
}

/// Reads a key that takes no value.
pub(super) fn flag(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    if !input.peek(Token![=]) && !input.peek(Paren) {
        return Some(());
    }
    diagnostics.at(skip(input), format!("`{key}` takes no value; write just `{key}`"));
    None
}

/// Reads a key whose value may be absent.
pub(super) fn optional_value<T: Parse>(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<T>> {
    if input.peek(Token![=]) || input.peek(Paren) {
        return value(key, input, diagnostics).map(Some);
    }
    Some(None)
}

/// Reads a key whose value is an expression or absent.
pub(super) fn optional_expression(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<TokenStream>> {
    if input.peek(Token![==]) {
        let message = format!("write one `=`: `{} = ..`", key.unraw());
        diagnostics.at(skip(input), message);
        return None;
    }
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

/// Reads an expression of any form. Without the feature `full`, syn does not parse all forms. If
/// syn does not parse an expression, this function takes all tokens up to the next comma.
pub(super) fn expression(input: ParseStream<'_>) -> TokenStream {
    let ahead = input.fork();
    let expr = ahead.parse::<Expr>();
    // If a word or a literal follows a complete expression, it starts the next key, and the comma
    // is missing.
    let comma_is_missing = ahead.peek(Ident::peek_any) || ahead.peek(Lit);
    let is_complete = ahead.is_empty() || ahead.peek(Token![,]) || comma_is_missing;
    match expr {
        Ok(expr) if is_complete => {
            input.advance_to(&ahead);
            expr.into_token_stream()
        }
        _ => raw_expression(input),
    }
}

/// Reads all tokens up to the next comma outside the angle brackets of a turbofish.
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
