//! Typed keys: the name of a field, its lifetime, its codec, and the result of reading it.
//!
//! Made by `#[session]` or by hand, and used by the session and `testing`. Stores use only
//! [`FieldName`]. Knows nothing of requests or stores.

mod key;
mod migrate;
mod mode;
mod name;
mod principal;
mod schema;
mod spec;
mod value;
mod visitor;

pub(crate) use self::spec::is_reserved;
pub use self::{
    key::Field,
    migrate::{Downgrade, MigratesFrom},
    mode::{Mode, Once, Optional, OrDefault, Principal, Readable, Updatable},
    name::FieldName,
    principal::PrincipalName,
    schema::SessionSchema,
    spec::{FieldSpec, is_field_name},
    value::{FieldValue, StoredAs},
    visitor::FieldVisitor,
};
