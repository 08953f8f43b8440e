//! [`FieldVisitor`]: visits every typed key of a `#[session(lock)]` struct with its type.
//!
//! Implemented by the lock of `testing`, and called by generated code. Knows nothing about values.

use super::{key::Field, mode::Mode, value::FieldValue};

/// Code that visits each typed key of a `#[session(lock)]` struct.
pub trait FieldVisitor {
    /// Visits a key.
    fn visit<T: FieldValue, M: Mode + 'static>(&mut self, field: Field<T, M>);
}
