//! [`assert_lock`] and [`LockTest`]: compare the types of stored values with the lock, a checked-in
//! text.
//!
//! Used by the tests of an application, never by the application. `file` reads and writes the text.
//! `describe` finds the types of this build with the tracer, and with values that `probe` changes. `report`
//! compares the text with the types: by `rules`, and by the fields that samples leave out (`omitted`).

mod assert;
mod describe;
mod file;
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
    report::{LockFinding, LockLevel, LockReport},
};
