use std::fmt;

use bytes::Bytes;

use super::{FieldSpec, FieldValue, Maybe, Once, OrDefault, Principal};
use crate::codec::{self, Codec, CodecError};

/// A typed key: the field of that name holds values of type `T`, and reading it yields what `M`
/// says.
///
/// `#[session]` makes one for each field (`Shop::CART`); others can be made by hand and used with
/// [`Session::entry`](crate::Session::entry) and [`Session::read`](crate::Session::read).
///
/// ```
/// use ruts::{Field, FieldSpec, OrDefault, Ttl};
///
/// const SPEC: FieldSpec = FieldSpec::new("visits").with_ttl(Ttl::from_secs(3600));
/// const VISITS: Field<u64, OrDefault<u64>> = Field::new(&SPEC).or(|| 0);
/// assert_eq!(VISITS.spec().name(), "visits");
/// ```
pub struct Field<T, M = Maybe> {
    spec: &'static FieldSpec,
    mode: M,
    encode: fn(Codec, u16, &T) -> Result<Bytes, CodecError>,
    decode: fn(&[u8], u16) -> Result<Option<T>, CodecError>,
}

impl<T: FieldValue> Field<T> {
    /// The key of the field that `spec` describes.
    pub const fn new(spec: &'static FieldSpec) -> Self {
        Self { spec, mode: Maybe, encode: codec::encode::<T>, decode: codec::decode::<T> }
    }
}

impl<T> Field<T> {
    /// The same field, read with a default.
    pub const fn or(self, default: fn() -> T) -> Field<T, OrDefault<T>> {
        self.with_mode(OrDefault::new(default))
    }

    /// The same field, not to be read but taken.
    pub const fn once(self) -> Field<T, Once> {
        self.with_mode(Once)
    }

    /// The same field, which says who is signed in.
    ///
    /// # Panics
    ///
    /// What is known of the field does not [say so](FieldSpec::principal).
    pub const fn principal(self) -> Field<T, Principal> {
        assert!(self.spec.is_principal(), "the field's `FieldSpec` is not that of a principal");
        self.with_mode(Principal)
    }

    const fn with_mode<M>(self, mode: M) -> Field<T, M> {
        Field { spec: self.spec, mode, encode: self.encode, decode: self.decode }
    }
}

impl<T, M: Copy> Field<T, M> {
    /// What is known of the field.
    pub const fn spec(&self) -> &'static FieldSpec {
        self.spec
    }

    pub(crate) const fn mode(&self) -> M {
        self.mode
    }

    pub(crate) fn encode(&self, value: &T) -> Result<Bytes, CodecError> {
        (self.encode)(self.spec.codec(), self.spec.version(), value)
    }

    pub(crate) fn decode(&self, stored: &[u8]) -> Result<Option<T>, CodecError> {
        (self.decode)(stored, self.spec.version())
    }
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
