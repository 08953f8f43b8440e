//! Reads the keys of changed types: `migrate(..)`, `encrypt(since = ..)` and `retired(..)`.
//!
//! Called by `args`. Checks the form of each value, not the order and the range of versions.

use proc_macro2::TokenStream;
use syn::{
    Ident, LitInt, LitStr, Token, Type, parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    token::Paren,
};

use super::syntax::skip;
use crate::diagnostics::Diagnostics;

/// A former version of a field: `1 => CartV1` or `1 => discard`.
pub(crate) struct Former {
    pub(crate) version: LitInt,
    /// Type of its values. `None` discards them.
    pub(crate) ty: Option<Type>,
    /// The tokens after the arrow.
    pub(crate) target: TokenStream,
}

impl Parse for Former {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let version = input.parse()?;
        input.parse::<Token![=>]>()?;
        let ty: Type = input.parse()?;
        let is_discard =
            matches!(ungrouped(&ty), Type::Path(path) if path.path.is_ident("discard"));
        let target = quote::quote!(#ty);
        Ok(Self { version, ty: (!is_discard).then_some(ty), target })
    }
}

/// Returns a type that a `macro_rules` macro may have passed as a fragment.
fn ungrouped(mut ty: &Type) -> &Type {
    while let Type::Group(group) = ty {
        ty = &group.elem;
    }
    ty
}

/// Reads the versions after `migrate`.
pub(super) fn formers(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Former>> {
    let message = "`migrate` needs the types of former versions: `migrate(1 => FormerType)`, or \
                   `migrate(1 => discard)` to read their values as absent";
    in_parentheses(key, input, diagnostics, message)
}

/// Reads the names after `retired`.
pub(super) fn retired(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<LitStr>> {
    let message = "`retired` needs the names of former fields: `retired(\"basket\")`";
    in_parentheses(key, input, diagnostics, message)
}

/// Reads `encrypt`, with or without the first encrypted version.
pub(super) fn since(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<LitInt>> {
    if !input.peek(Token![=]) && !input.peek(Paren) {
        return Some(None);
    }
    let message =
        "write `encrypt`, or `encrypt(since = 2)` if values of version 1 may be in the clear";
    let since: Vec<Since> = in_parentheses(key, input, diagnostics, message)?;
    let mut since = since.into_iter();
    let first = since.next();
    if since.next().is_some() {
        diagnostics.at(key, message);
        return None;
    }
    first.map(|since| Some(since.0))
}

struct Since(LitInt);

impl Parse for Since {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key: Ident = input.parse()?;
        if key != "since" {
            return Err(syn::Error::new(key.span(), ""));
        }
        input.parse::<Token![=]>()?;
        input.parse().map(Self)
    }
}

/// Reads a non-empty list in parentheses. Reports a mistake with `message`, at the parentheses or
/// at the key.
fn in_parentheses<T: Parse>(
    key: &Ident,
    input: ParseStream<'_>,
    diagnostics: &mut Diagnostics,
    message: &str,
) -> Option<Vec<T>> {
    let list = |input: ParseStream<'_>| {
        let content;
        parenthesized!(content in input);
        Punctuated::<T, Token![,]>::parse_terminated(&content)
    };
    let ahead = input.fork();
    let items: Option<Vec<T>> = list(&ahead).ok().map(|items| items.into_iter().collect());
    let found = skip(input);
    if let Some(items) = items.filter(|items| !items.is_empty()) {
        return Some(items);
    }
    match found.is_empty() {
        true => diagnostics.at(key, message),
        false => diagnostics.at(found, message),
    }
    None
}
