//! [`Field`]: the typed key of a field.
//!
//! Used by entries, edits and reads. Knows nothing of encryption, requests and stores.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::{
    mode::{Maybe, Once, OrDefault, Principal},
    spec::FieldSpec,
    value::FieldValue,
};
use crate::codec::{self, Codec, CodecError};

/// Typed key of a field: its stored name, the type `T` of its values, and its [mode](super::Mode)
/// `M`.
///
/// `#[session]` makes a key for each field, such as `Shop::CART`. A key made by hand is used with
/// [`Session::entry`](crate::Session::entry) and [`Session::read`](crate::Session::read).
///
/// ```
/// use ruts::{Ttl, field::{Field, FieldSpec, OrDefault}};
///
/// const SPEC: FieldSpec = FieldSpec::new("visits").with_ttl(Ttl::from_secs(3600));
/// const VISITS: Field<u64, OrDefault<u64>> = Field::new(&SPEC).or(|| 0);
/// assert_eq!(VISITS.spec().name(), "visits");
/// ```
pub struct Field<T, M = Maybe> {
    spec: &'static FieldSpec,
    mode: M,
    encode: fn(Codec, u16, u32, &T) -> Result<Bytes, CodecError>,
    decode: fn(&[u8], u16) -> Result<Option<T>, CodecError>,
    fingerprint: fn() -> u32,
}

impl<T: FieldValue> Field<T> {
    /// Creates the key of the field that `spec` describes.
    pub const fn new(spec: &'static FieldSpec) -> Self {
        Self {
            spec,
            mode: Maybe,
            encode: codec::encode::<T>,
            decode: decode::<T>,
            fingerprint: codec::fingerprint::<T>,
        }
    }
}

impl<T> Field<T> {
    /// Turns it into a key that reads the default of an absent field.
    pub const fn or(self, default: fn() -> T) -> Field<T, OrDefault<T>> {
        self.with_mode(OrDefault::new(default))
    }

    /// Turns it into a key that can only be taken, not read.
    pub const fn once(self) -> Field<T, Once> {
        self.with_mode(Once)
    }

    /// Turns it into the key of the signed-in principal.
    ///
    /// # Panics
    ///
    /// The spec of the field is not that of a [principal](FieldSpec::principal).
    #[track_caller]
    pub const fn principal(self) -> Field<T, Principal> {
        assert!(
            self.spec.is_principal(),
            "the `FieldSpec` of this field is not that of a principal"
        );
        self.with_mode(Principal)
    }

    const fn with_mode<M>(self, mode: M) -> Field<T, M> {
        let Self { spec, encode, decode, fingerprint, .. } = self;
        Field { spec, mode, encode, decode, fingerprint }
    }
}

impl<T, M: Copy> Field<T, M> {
    /// Returns the description of the field.
    pub const fn spec(&self) -> &'static FieldSpec {
        self.spec
    }

    pub(crate) const fn mode(&self) -> M {
        self.mode
    }

    pub(crate) fn encode(&self, value: &T) -> Result<Bytes, CodecError> {
        self.encode_with(self.encode, value)
    }

    /// Encodes a value that serialises as a `T`.
    pub(crate) fn encode_as<Q: Serialize + ?Sized>(&self, value: &Q) -> Result<Bytes, CodecError> {
        self.encode_with(codec::encode::<Q>, value)
    }

    /// Some formats write values that they cannot read back, such as bincode with
    /// `skip_serializing_if`. Builds with debug assertions find that at once.
    fn encode_with<Q: ?Sized>(
        &self,
        encode: fn(Codec, u16, u32, &Q) -> Result<Bytes, CodecError>,
        value: &Q,
    ) -> Result<Bytes, CodecError> {
        let Self { spec, .. } = self;
        let stored = encode(spec.codec(), spec.version(), (self.fingerprint)(), value)?;
        if cfg!(debug_assertions) && self.decode(&stored).is_err() {
            return Err(CodecError::Unreadable(spec.codec()));
        }
        Ok(stored)
    }

    pub(crate) fn decode(&self, stored: &[u8]) -> Result<Option<T>, CodecError> {
        (self.decode)(stored, self.spec.version())
    }
}

/// Decodes the value of a field of type `T`.
pub(super) fn decode<T: FieldValue>(stored: &[u8], version: u16) -> Result<Option<T>, CodecError> {
    codec::decode(stored, version, codec::fingerprint::<T>)
}

impl<T, M: Copy> Clone for Field<T, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, M: Copy> Copy for Field<T, M> {}

impl<T, M> fmt::Debug for Field<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field<{}>({:?})", std::any::type_name::<T>(), self.spec.name())
    }
}
