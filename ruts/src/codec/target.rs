//! [`Target`]: the former version in which a value is written.
//!
//! Used by typed keys and by the downgrades of applications. Knows nothing about field names.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{error::CodecError, format::Codec, shape::fingerprint_of, value::encode};

/// The former version in which a value is written: the argument of a
/// [downgrade](crate::field::Field::writes).
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub(crate) codec: Codec,
    pub(crate) version: u16,
}

impl Target {
    /// Returns the version to write.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Encodes a value of the type of that version.
    ///
    /// # Errors
    ///
    /// The same errors as a write of a field of this type.
    pub fn write<T>(&self, value: &T) -> Result<Bytes, CodecError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        encode(self.codec, self.version, fingerprint_of::<T>(), value)
    }

    /// Returns the error for a value that this version cannot hold.
    pub fn refuse(&self) -> CodecError {
        CodecError::Migrate(self.version)
    }
}
