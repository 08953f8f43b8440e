//! The lock of stored types: [`assert_lock`], [`LockTest`].
//!
//! Used by the tests of an application, never by the application. `file` reads and writes the text
//! that is checked in. `describe` learns the types of this build from the tracer, and from values that
//! `probe` changes. `report` compares the text with the types, by `rules` and by what samples leave out
//! (`omitted`).

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
