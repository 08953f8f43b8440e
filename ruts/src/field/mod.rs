//! Typed keys: a field's stored name, its lifetime, how its values are written, and what reading
//! it yields.

mod key;
mod mode;
mod spec;
mod value;

pub use self::{
    key::Field,
    mode::{Maybe, Mode, Once, OrDefault, Principal, Readable, Updatable},
    spec::{FieldSpec, is_field_name},
    value::{FieldValue, StoredAs},
};
