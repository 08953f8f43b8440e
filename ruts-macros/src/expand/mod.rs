//! Model to code, one file for each thing that is generated.

mod accessors;
mod edit;
mod handle;
mod index;
mod schema;
mod values;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;

use crate::model::{Field, Session};

/// A call that is reported at `place` and still known as generated; its arguments stay as they are.
///
/// What goes wrong while a constant is evaluated is reported at the whole call, which would
/// otherwise begin at the attribute.
fn located_at(place: impl ToTokens, call: TokenStream) -> TokenStream {
    let place: Vec<_> = place.into_token_stream().into_iter().map(|token| token.span()).collect();
    let mut call: Vec<_> = call.into_iter().collect();
    if let ([first, ..], [.., last]) = (&place[..], &place[..]) {
        call.iter_mut().for_each(|token| token.set_span(generated_at(*first)));
        call.last_mut().into_iter().for_each(|token| token.set_span(generated_at(*last)));
    }
    call.into_iter().collect()
}

/// A name that is generated from another. Lints leave it alone: what they have to say of the field
/// is said once, of its accessor.
fn generated(name: &Ident) -> Ident {
    let mut name = name.clone();
    name.set_span(generated_at(name.span()));
    name
}

/// What the field's own docs say, or that it is one.
fn docs(field: &Field) -> TokenStream {
    let fallback = format!("The field `{}`.", field.name.unraw());
    match &field.docs[..] {
        [] => quote!(#[doc = #fallback]),
        docs => quote!(#(#docs)*),
    }
}

fn generated_at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

pub(crate) fn session(session: &Session) -> TokenStream {
    [
        handle::expand(session),
        schema::expand(session),
        accessors::expand(session),
        values::expand(session),
        edit::expand(session),
        index::expand(session),
    ]
    .into_iter()
    .collect()
}
