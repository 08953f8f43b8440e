//! Model to code, one file for each thing that is generated.

mod accessors;
mod edit;
mod handle;
mod schema;
mod values;

use proc_macro2::{Span, TokenStream, TokenTree};

use crate::model::Session;

/// A call that is reported at `span` and still known as generated; its arguments stay as they are.
///
/// What goes wrong while a constant is evaluated is reported at the whole call, which would
/// otherwise begin at the attribute.
fn located_at(span: Span, call: TokenStream) -> TokenStream {
    let span = Span::call_site().located_at(span);
    let respan = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    call.into_iter().map(respan).collect()
}

pub(crate) fn session(session: &Session) -> TokenStream {
    [
        handle::expand(session),
        schema::expand(session),
        accessors::expand(session),
        values::expand(session),
        edit::expand(session),
    ]
    .into_iter()
    .collect()
}
