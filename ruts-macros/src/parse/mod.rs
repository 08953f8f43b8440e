//! Syntax to raw: everything optional, every token kept for error messages.

mod args;
mod duration;
mod keys;
mod once;
mod structure;

use self::args::SessionArgs;
pub(crate) use self::{
    args::{CachePolicy, FieldArgs, Lifetime},
    keys::suggest,
    once::Once,
    structure::{RawField, RawSession, session},
};
