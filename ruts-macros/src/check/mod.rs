//! Raw model to model: the rules of each field, then the rules across fields.

mod codec;
mod field;
mod names;
mod option;
mod owned;
mod session;
mod versions;

pub(crate) use self::session::session;
