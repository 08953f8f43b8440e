//! [`SessionMap`]: fields of a session by name, decoded on access.
//!
//! Made by `get_all`, `read`, `load` and lists of sessions. May hold only some fields of a session.
//! Knows nothing about requests.

use std::fmt;

use serde::de::DeserializeOwned;

use super::{
    config::Unreadable,
    field_set::{FieldSet, FieldSource},
    value,
};
use crate::{
    codec::{self, CodecError},
    crypto::field_cipher::Plaintext,
    error::Error,
    field::{Field, FieldName, Readable},
};

/// Fields of a session, not yet decoded. The result of
/// [`Session::get_all`](crate::Session::get_all) holds all of them.
///
/// A read decodes only the fields that it asks for, without a round trip.
#[derive(Clone)]
pub struct SessionMap {
    /// Ordered by name.
    fields: Vec<(FieldName, Result<Plaintext, Undecrypted>)>,
    unreadable: Unreadable,
}

/// A value that could not be decrypted.
#[derive(Debug, Clone)]
pub(super) struct Undecrypted {
    source: CodecError,
    /// Version of the value, from its header, which is not encrypted.
    version: u16,
}

impl Undecrypted {
    pub(super) fn new(source: CodecError, stored: &[u8]) -> Self {
        Self { source, version: codec::version(stored).unwrap_or_default() }
    }

    /// Returns the error for a field of version `known`. If the value has a newer version and its
    /// key is missing, the error reports the newer version, which is the likely cause.
    pub(super) fn error(&self, known: u16) -> CodecError {
        match self.version > known {
            true => CodecError::Newer { stored: self.version, known },
            false => self.source.clone(),
        }
    }
}

impl SessionMap {
    /// Creates a map. Each name must occur only once.
    pub(super) fn new(
        fields: impl IntoIterator<Item = (FieldName, Result<Plaintext, Undecrypted>)>,
        unreadable: Unreadable,
    ) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self { fields, unreadable }
    }

    /// Returns the value of a field. `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the stored value is not a `T`. [`Error::Newer`] for a field with a
    /// declared `version` above 1.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        value::decode_named(name, 1, self.stored(name, 1)?, self.unreadable)
    }

    /// Returns the value of a typed key, or the values of a tuple of keys.
    ///
    /// ```
    /// use ruts::{Error, session, session::SessionSummary};
    ///
    /// #[session]
    /// struct Shop {
    ///     device: String,
    ///     #[field(default)]
    ///     visits: u64,
    /// }
    ///
    /// fn line(session: &SessionSummary) -> Result<String, Error> {
    ///     let (device, visits) = session.fields.read((Shop::DEVICE, Shop::VISITS))?;
    ///     Ok(format!("{}: {visits} visits", device.unwrap_or_default()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if a stored value is not of the key's type.
    pub fn read<K: FieldSet>(&self, keys: K) -> Result<K::Values, Error> {
        keys.values(self)
    }

    /// Returns the stored value of a field. `known` is the version that this release knows.
    fn stored(&self, name: &str, known: u16) -> Result<Option<&Plaintext>, Error> {
        let place = self.fields.binary_search_by(|(other, _)| str::cmp(other, name));
        let stored = place.ok().map(|place| self.fields[place].1.as_ref()).transpose();
        stored.map_err(|failed| value::decode_error(name, failed.error(known)))
    }

    /// Returns the names of the fields.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.fields.iter().map(|(name, _)| &**name)
    }

    /// Returns whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl FieldSource for SessionMap {
    fn field<T, M: Readable<T>>(&self, field: Field<T, M>) -> Result<M::Value, Error> {
        let spec = field.spec();
        let stored = self.stored(spec.name(), spec.version())?;
        Ok(field.mode().value(value::decode(field, stored, self.unreadable)?))
    }
}

impl fmt::Debug for SessionMap {
    /// Shows only the names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
