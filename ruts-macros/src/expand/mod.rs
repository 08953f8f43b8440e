//! Model to code, one file for each thing that is generated.

mod accessors;
mod edit;
mod handle;
mod schema;
mod values;

use proc_macro2::TokenStream;

use crate::model::Session;

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
