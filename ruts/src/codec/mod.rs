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

#[cfg(feature = "encrypt")]
pub(crate) use self::header::{HEADER, join_opened, split_sealed};
pub use self::{error::CodecError, header::Codec};
pub(crate) use self::{
    header::is_sealed,
    value::{decode, encode},
};
