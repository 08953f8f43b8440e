//! Model to code: one file for each generated item.

mod accessors;
mod edit;
mod handle;
mod index;
mod schema;
mod session;
mod tokens;
mod values;

pub(crate) use self::session::session;
