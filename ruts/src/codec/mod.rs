//! Values as bytes: a header that says how the rest is written, then the payload.
//!
//! Writers name a [`Codec`]; readers obey the header. So sessions written with one codec stay
//! readable after a schema switches to another, and a value of an older version is recognised
//! instead of misread.

#[cfg(feature = "bincode")]
mod bincode;
mod error;
mod header;
#[cfg(feature = "messagepack")]
mod messagepack;
mod value;

pub(crate) use self::value::{decode, encode};
pub use self::{error::CodecError, header::Codec};
