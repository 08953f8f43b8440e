//! [`assert_lock`] and [`LockTest`]: compare the types of stored values with the lock, a checked-in
//! text.
//!
//! Used by the tests of an application, never by the application. `file` reads and writes the text.
//! `describe` finds the types of this build with the tracer, and with values that `probe` changes.
//! `report` and `field_report` compare the text with the types: by `rules`, and by the fields that
//! samples leave out (`omitted`). A `finding` is one difference.

mod assert;
mod describe;
mod field_report;
mod file;
mod finding;
mod locked_schema;
mod locked_type;
#[cfg(feature = "messagepack")]
mod omitted;
#[cfg(feature = "messagepack")]
mod probe;
mod report;
mod rules;
mod text;

pub use self::{
    assert::{LockTest, assert_lock},
    file::{Lock, ParseLockError},
    finding::{LockFinding, LockLevel},
    report::LockReport,
};
