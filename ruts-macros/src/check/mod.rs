//! Checks a raw model, and turns it into a model: first by the rules of each field, then by the
//! rules across fields. Called by `pipeline`. Reports every mistake, and generates nothing.

mod codec;
mod field;
mod names;
mod option;
mod owned;
mod session;
mod versions;

pub(crate) use self::session::session;
