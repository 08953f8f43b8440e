//! [`Stored`]: a stored value that is not decoded yet, of any version.
//!
//! Used by typed keys and by the migrations of applications. Knows nothing about field names.

use serde::de::DeserializeOwned;

#[cfg(feature = "bincode")]
use super::bincode;
use super::{
    error::CodecError, fingerprint::Fingerprint, format::Codec, header::Header,
    shape::fingerprint_of,
};
#[cfg(feature = "messagepack")]
use super::{header::is_compact, messagepack};

/// A stored value, not yet decoded: the argument of a
/// [migration](crate::field::Field::migrate).
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    header: Header,
    payload: &'a [u8],
    #[cfg(feature = "messagepack")]
    is_compact: bool,
    /// If present, the value may only be read as the type that wrote it, or as the type with this
    /// fingerprint.
    #[cfg(feature = "testing")]
    only: Option<Fingerprint>,
}

impl<'a> Stored<'a> {
    /// Splits a stored value, which must not be encrypted.
    pub(crate) fn split(stored: &'a [u8]) -> Result<Self, CodecError> {
        let (header, payload) = Header::split(stored)?;
        Ok(Self {
            header,
            payload,
            #[cfg(feature = "messagepack")]
            is_compact: is_compact(stored),
            #[cfg(feature = "testing")]
            only: None,
        })
    }

    /// Returns the same value, which may only be read as the type that wrote it, or as the type
    /// with the fingerprint `or`.
    #[cfg(feature = "testing")]
    pub(crate) fn exactly(self, or: Fingerprint) -> Self {
        Self { only: Some(or), ..self }
    }

    /// Returns the version under which the value was written.
    pub fn version(&self) -> u16 {
        self.header.version
    }

    /// Returns the codec that wrote the value.
    pub fn codec(&self) -> Codec {
        self.header.codec
    }

    /// Decodes the value as a `T`.
    ///
    /// # Errors
    ///
    /// [`CodecError::Shape`] if a different type wrote the value, and its bytes could be misread as
    /// a `T`. [`CodecError::Read`] or [`CodecError::TrailingBytes`] if the bytes are not a `T`.
    pub fn read<T: DeserializeOwned + 'static>(&self) -> Result<T, CodecError> {
        self.read_as(fingerprint_of::<T>)
    }

    /// Returns the error for a value that a migration cannot convert.
    pub fn refuse(&self) -> CodecError {
        CodecError::Migrate(self.header.version)
    }

    /// Fails if the value has a later version than `known`, the version of the field.
    pub(crate) fn check_known(&self, known: u16) -> Result<(), CodecError> {
        match self.version() > known {
            true => Err(CodecError::Newer { stored: self.version(), known }),
            false => Ok(()),
        }
    }

    /// Returns the error for a former version without a migration, in a field of version `known`.
    pub(crate) fn former(&self, known: u16) -> CodecError {
        CodecError::Former { stored: self.version(), known }
    }

    /// Decodes the value. `fingerprint` returns the fingerprint of `T`. bincode reads by position.
    /// So a bincode value is read only if `T` wrote it, or if the type that wrote it is not known.
    #[cfg_attr(not(feature = "bincode"), allow(unused_variables))]
    pub(super) fn read_as<T: DeserializeOwned>(
        &self,
        fingerprint: impl Fn() -> Fingerprint,
    ) -> Result<T, CodecError> {
        let Self { header, payload, .. } = self;
        let writer = header.fingerprint;
        let is_other = || writer != Fingerprint::UNKNOWN && writer != fingerprint();
        #[cfg(feature = "testing")]
        if self.only.is_some_and(|or| is_other() && fingerprint() != or) {
            return Err(CodecError::Shape);
        }
        let read: Result<(T, usize), CodecError> = match header.codec {
            #[cfg(feature = "bincode")]
            Codec::Bincode => {
                if is_other() {
                    Err(CodecError::Shape)
                } else {
                    bincode::read(payload)
                }
            }
            #[cfg(feature = "messagepack")]
            Codec::MessagePack => messagepack::read(payload, !self.is_compact),
            #[allow(unreachable_patterns, reason = "reachable when a codec is compiled out")]
            disabled => Err(CodecError::Disabled(disabled)),
        };
        let (value, read) = read?;
        match payload.len() - read {
            0 => Ok(value),
            left => Err(CodecError::TrailingBytes { left }),
        }
    }
}

/// Shows no part of the value.
impl std::fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("version", &self.version())
            .field("codec", &self.codec())
            .finish_non_exhaustive()
    }
}
