//! Makes the spans and the documentation of generated items.
//!
//! Called by the other files of this folder. Decides where the compiler reports an error in
//! generated code.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;

use crate::model::Field;

/// Returns a call whose errors are reported at `place`. Its arguments keep their spans.
///
/// The compiler reports a panic in a constant at the whole call. Without this span, the call would
/// begin at the attribute.
pub(super) fn located_at(place: impl ToTokens, call: TokenStream) -> TokenStream {
    let place: Vec<_> = place.into_token_stream().into_iter().map(|token| token.span()).collect();
    let mut call: Vec<_> = call.into_iter().collect();
    if let ([first, ..], [.., last]) = (&place[..], &place[..]) {
        call.iter_mut().for_each(|token| token.set_span(generated_at(*first)));
        call.last_mut().into_iter().for_each(|token| token.set_span(generated_at(*last)));
    }
    call.into_iter().collect()
}

/// Returns a name with the span of generated code. Lints skip such names, so they report a field
/// once, at its accessor.
pub(super) fn generated(name: &Ident) -> Ident {
    let mut name = name.clone();
    name.set_span(generated_at(name.span()));
    name
}

/// Returns the documentation of a field, or a default.
pub(super) fn docs(field: &Field) -> TokenStream {
    let fallback = format!("The field `{}`.", field.name.unraw());
    match &field.docs[..] {
        [] => quote!(#[doc = #fallback]),
        docs => quote!(#(#docs)*),
    }
}

/// Returns a span at this place. Names with this span resolve like the other generated code, even
/// if the tokens at the place come from the caller of a `macro_rules!` macro.
pub(super) fn generated_at(span: Span) -> Span {
    Span::call_site().located_at(span)
}
