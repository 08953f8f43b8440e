//! [`FieldVisitor`]: visits every typed key of a `#[session(lock)]` struct with its type.
//!
//! Implemented by the lock of `testing`, called by generated code. Knows nothing of values.

use super::{key::Field, mode::Mode, value::FieldValue};

/// Code that looks at each typed key of a `#[session(lock)]` struct.
pub trait FieldVisitor {
    /// Looks at a key.
    fn visit<T: FieldValue, M: Mode + 'static>(&mut self, field: Field<T, M>);
}
