use std::fmt;

use serde::de::DeserializeOwned;

use super::value;
use crate::{
    codec::CodecError,
    error::Error,
    field::{Field, Readable},
    name::FieldName,
    sealing::Plaintext,
};

/// All fields of a session, undecoded: what [`Session::get_all`](crate::Session::get_all) yields.
///
/// Fields are decoded one by one as they are asked for, without a round trip.
#[derive(Clone)]
pub struct SessionMap(Vec<(FieldName, Result<Plaintext, CodecError>)>);

impl SessionMap {
    /// Of names that differ.
    pub(super) fn new(
        fields: impl IntoIterator<Item = (FieldName, Result<Plaintext, CodecError>)>,
    ) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self(fields)
    }

    /// The value of the field, `None` if it is not there or was written under a declared version
    /// above 1.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`]: the stored value is no `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        value::decode_named(name, self.stored(name)?)
    }

    /// The value of a typed key.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`]: the stored value is not what the key expects.
    pub fn read<T, M: Readable<T>>(&self, field: Field<T, M>) -> Result<M::Value, Error> {
        Ok(field.mode().value(value::decode(field, self.stored(field.spec().name())?)?))
    }

    fn stored(&self, name: &str) -> Result<Option<&Plaintext>, Error> {
        let place = self.0.binary_search_by(|(other, _)| str::cmp(other, name));
        let stored = place.ok().map(|place| self.0[place].1.as_ref()).transpose();
        stored.map_err(|source| value::decode_error(name, source.clone()))
    }

    /// The names of the fields that are there.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// Whether the session holds no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SessionMap {
    /// Shows the names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
