//! Generates all items of a session.
//!
//! Called by `pipeline`. Calls the other files of this folder, and joins their output.

use proc_macro2::TokenStream;

use super::{accessors, edit, handle, index, lock, schema, values};
use crate::model::Session;

pub(crate) fn session(session: &Session) -> TokenStream {
    [
        handle::expand(session),
        schema::expand(session),
        accessors::expand(session),
        values::expand(session),
        edit::expand(session),
        index::expand(session),
        lock::expand(session),
    ]
    .into_iter()
    .collect()
}
