//! Typed keys such as `Shop::CART`: name, lifetime, codec, and how a field is read.
//!
//! You need this module for keys made by hand and for generic code.

// Made by `#[session]` or by hand, and used by the session and `testing`. Stores use only
// `FieldName`. Knows nothing about requests or stores.

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
