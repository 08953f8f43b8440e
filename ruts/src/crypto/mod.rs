//! Keys for signed and encrypted cookies, and for encrypted fields, with rotation.

// Called by the layer, the session and `cookie`. Knows nothing about stores or HTTP.

pub(crate) mod field_cipher;
#[cfg(any(feature = "signed", feature = "private", feature = "encrypt"))]
pub(crate) mod key_ring;

#[cfg(any(feature = "signed", feature = "private", feature = "encrypt"))]
pub use self::key_ring::{KeyError, KeyRing};
