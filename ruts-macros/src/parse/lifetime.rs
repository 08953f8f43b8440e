//! Reads lifetimes and cache policies: the values of `ttl` and `hot`.
//!
//! Called by `args`. Does not know which fields may have them.

use proc_macro2::TokenStream;
use syn::{
    Ident, Lit, LitStr, Token,
    parse::{ParseStream, discouraged::Speculative},
};

use super::{
    duration, keys,
    syntax::{equals, example, expression, skip},
};
use crate::diagnostics::Diagnostics;

#[derive(Clone)]
pub(crate) enum Lifetime {
    Millis(u64),
    /// An expression of type `Duration`.
    Expr(TokenStream),
}

/// How a cache may serve a field.
#[derive(Clone)]
pub(crate) enum CachePolicy {
    MaxAge(Lifetime),
    NoStore,
    Revalidate,
}

/// Reads `= "30d"`, or an expression.
pub(super) fn lifetime(
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

/// Returns the error for a lifetime without quotes: `30`, `30d`, `1h 30m`.
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
    syn::Error::new_spanned(found, format!("a lifetime is a string with a unit; {hint}"))
}

/// Reads `= "never"`, `= "checked"`, or a lifetime.
pub(super) fn cache_policy(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<CachePolicy> {
    let ahead = input.fork();
    let text = ahead.parse::<Token![=]>().and_then(|_| ahead.parse::<LitStr>());
    let Ok(text) = text else {
        return lifetime(key, input, diagnostics).map(CachePolicy::MaxAge);
    };
    let policy = match text.value().as_str() {
        "never" => Some(CachePolicy::NoStore),
        "checked" => Some(CachePolicy::Revalidate),
        word if word.chars().all(char::is_alphabetic) && !word.is_empty() => {
            let guess = keys::suggest(word, &["never", "checked"]);
            let guess = guess.map_or(String::new(), |guess| format!("; did you mean \"{guess}\"?"));
            let message =
                format!("`hot` is a lifetime, \"never\" or \"checked\", not \"{word}\"{guess}");
            diagnostics.at(&text, message);
            None
        }
        _ => return lifetime(key, input, diagnostics).map(CachePolicy::MaxAge),
    };
    input.advance_to(&ahead);
    policy
}
