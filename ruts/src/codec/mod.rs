//! How values become bytes: the choice of a [`Codec`], its errors, and stored values in migrations.
//!
//! A stored value is a header, then the payload in the format that the header names. A writer
//! chooses a [`Codec`], and a reader follows the header. So sessions stay readable after a schema
//! switches to a different codec. A value of a different version or type is recognised, not
//! misread.

// Called by the session, by `field` and by `crypto`; the lock of `testing` uses shapes. Knows
// nothing about stores, cookies or HTTP.

#[cfg(feature = "bincode")]
mod bincode;
mod buffer;
#[cfg(all(feature = "bincode", feature = "messagepack"))]
mod by_names;
mod error;
mod fingerprint;
mod format;
mod header;
#[cfg(feature = "messagepack")]
mod messagepack;
mod preserve;
mod shape;
mod stored;
mod target;
mod value;

#[cfg(all(feature = "bincode", feature = "messagepack"))]
pub(crate) use self::by_names::transcode;
#[cfg(any(feature = "encrypt", all(feature = "testing", feature = "messagepack")))]
pub(crate) use self::header::HEADER_LEN;
#[cfg(feature = "encrypt")]
pub(crate) use self::header::{join_decrypted, split_encrypted};
#[cfg(all(feature = "testing", feature = "messagepack"))]
pub(crate) use self::messagepack::{Node, text_of};
#[cfg(feature = "testing")]
pub(crate) use self::shape::{Part, Shape, parse, parse_name, trace_values};
pub use self::{error::CodecError, format::Codec, stored::Stored, target::Target};
pub(crate) use self::{
    fingerprint::Fingerprint,
    header::{is_encrypted, is_merged_to_the_same, origin, unwrap_own, version, wrap_own},
    preserve::{keep_unknown, may_know_more},
    shape::{Tree, fingerprint_of, trace, trace_tree},
    value::{decode, encode, may_be_equal},
};
