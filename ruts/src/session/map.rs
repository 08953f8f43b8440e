//! [`SessionMap`]: all fields of a session, not yet decoded.

use std::fmt;

use serde::de::DeserializeOwned;

use super::{
    field_set::{FieldSet, FieldSource},
    value,
};
use crate::{
    codec::CodecError,
    crypto::field_cipher::Plaintext,
    error::Error,
    field::{Field, FieldName, Readable},
};

/// All fields of a session, not yet decoded: the result of
/// [`Session::get_all`](crate::Session::get_all).
///
/// Each read decodes one field, without a round trip.
#[derive(Clone)]
pub struct SessionMap(Vec<(FieldName, Result<Plaintext, CodecError>)>);

impl SessionMap {
    /// Collects fields, each name once.
    pub(super) fn new(
        fields: impl IntoIterator<Item = (FieldName, Result<Plaintext, CodecError>)>,
    ) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self(fields)
    }

    /// Returns the value of a field. `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the stored value is not a `T`. [`Error::Newer`] for a field with a
    /// declared `version` above 1.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        value::decode_named(name, self.stored(name)?)
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

    fn stored(&self, name: &str) -> Result<Option<&Plaintext>, Error> {
        let place = self.0.binary_search_by(|(other, _)| str::cmp(other, name));
        let stored = place.ok().map(|place| self.0[place].1.as_ref()).transpose();
        stored.map_err(|source| value::decode_error(name, source.clone()))
    }

    /// Returns the names of the fields.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// Whether the session holds no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FieldSource for SessionMap {
    fn field<T, M: Readable<T>>(&self, field: Field<T, M>) -> Result<M::Value, Error> {
        Ok(field.mode().value(value::decode(field, self.stored(field.spec().name())?)?))
    }
}

impl fmt::Debug for SessionMap {
    /// Shows the names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
