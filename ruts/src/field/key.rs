//! [`Field`]: the typed key of a field.
//!
//! Used by entries, edits and reads. Knows nothing about encryption, requests or stores.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use serde::Serialize;

use super::{
    mode::{Mode, Once, Optional, OrDefault, Principal},
    principal::PrincipalName,
    spec::FieldSpec,
    value::FieldValue,
};
use crate::{
    auth::PrincipalKey,
    codec::{self, Codec, CodecError, Fingerprint, Stored, Target, Tree},
};

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
pub struct Field<T, M = Optional> {
    spec: &'static FieldSpec,
    mode: M,
    codec: ValueCodec<T>,
}

/// The functions that turn values into bytes and back.
struct ValueCodec<T> {
    encode: fn(Codec, u16, Fingerprint, &T) -> Result<Bytes, CodecError>,
    decode: fn(&[u8], u16, TypeFingerprint) -> Result<T, CodecError>,
    fingerprint: TypeFingerprint,
    structure: fn() -> Tree,
    migrate: Option<Migrate<T>>,
    writes: Option<Writes<T>>,
}

/// The fingerprint of a type, computed at its first use.
#[derive(Clone, Copy)]
struct TypeFingerprint {
    compute: fn() -> Fingerprint,
    /// Returns the static variable that keeps the fingerprint: 0 before the first use.
    known: Option<fn() -> &'static AtomicU32>,
}

impl TypeFingerprint {
    fn get(self) -> Fingerprint {
        let Some(known) = self.known else { return (self.compute)() };
        match known().load(Ordering::Relaxed) {
            0 => {
                let fingerprint = (self.compute)();
                known().store(fingerprint.bits(), Ordering::Relaxed);
                fingerprint
            }
            bits => Fingerprint::from_bits(bits),
        }
    }
}

type Migrate<T> = fn(Stored<'_>) -> Result<Option<T>, CodecError>;
type Writes<T> = fn(T, Target) -> Result<Bytes, CodecError>;

impl<T: FieldValue> Field<T> {
    /// Creates the key of the field that `spec` describes.
    pub const fn new(spec: &'static FieldSpec) -> Self {
        let codec = ValueCodec {
            encode: codec::encode::<T>,
            decode: decode::<T>,
            fingerprint: TypeFingerprint { compute: codec::fingerprint_of::<T>, known: None },
            structure: codec::trace_tree::<T>,
            migrate: None,
            writes: None,
        };
        Self { spec, mode: Optional, codec }
    }
}

impl<T, M> Field<T, M> {
    /// Keeps the fingerprint of the type in the static variable that `known` returns.
    #[doc(hidden)]
    #[must_use]
    pub const fn keep_fingerprint(mut self, known: fn() -> &'static AtomicU32) -> Self {
        self.codec.fingerprint.known = Some(known);
        self
    }

    /// Returns the function that computes the fingerprint of the type.
    #[doc(hidden)]
    pub const fn shape(&self) -> fn() -> Fingerprint {
        self.codec.fingerprint.compute
    }

    /// Sets the function that reads stored values of former versions.
    ///
    /// `migrate` gets a stored value whose version is below the version of the field. It returns
    /// the migrated value, or `None` if the field is to read as absent. A read does not write the
    /// migrated value, but an [`update`](crate::Entry::update) does.
    ///
    /// ```
    /// use ruts::{codec::Stored, field::{Field, FieldSpec}};
    ///
    /// const SPEC: FieldSpec = FieldSpec::new("price").with_version(3);
    /// /// Version 1 was a string, and version 2 was in euros.
    /// const CENTS: Field<u64> = Field::new(&SPEC).migrate(|stored: Stored<'_>| {
    ///     let euros = match stored.version() {
    ///         2 => stored.read::<u64>()?,
    ///         1 => stored.read::<String>()?.parse().map_err(|_| stored.refuse())?,
    ///         _ => return Ok(None),
    ///     };
    ///     Ok(Some(euros * 100))
    /// });
    /// # let _ = CENTS;
    /// ```
    #[must_use]
    pub const fn migrate(
        mut self,
        migrate: fn(Stored<'_>) -> Result<Option<T>, CodecError>,
    ) -> Self {
        self.codec.migrate = Some(migrate);
        self
    }

    /// Sets the function that writes new values as a former version, for releases that know only
    /// that version. [`FieldSpec::with_writes`] sets the number of the version.
    ///
    /// `write` converts a value to the type of the former version and encodes it. If that type
    /// cannot hold the value, `write` returns [`Target::refuse`], and nothing is written.
    ///
    /// ```
    /// use ruts::field::{Field, FieldSpec};
    ///
    /// const SPEC: FieldSpec = FieldSpec::new("visits").with_version(2).with_writes(1);
    /// const VISITS: Field<u64> = Field::new(&SPEC)
    ///     .migrate(|stored| stored.read::<u8>().map(|visits| Some(visits.into())))
    ///     .writes(|visits, target| match u8::try_from(visits) {
    ///         Ok(visits) => target.write(&visits),
    ///         Err(_) => Err(target.refuse()),
    ///     });
    /// # let _ = VISITS;
    /// ```
    #[must_use]
    pub const fn writes(mut self, write: fn(T, Target) -> Result<Bytes, CodecError>) -> Self {
        self.codec.writes = Some(write);
        self
    }
}

impl<T> Field<T> {
    /// Returns a key that reads an absent field as `default()`.
    pub const fn or(self, default: fn() -> T) -> Field<T, OrDefault<T>> {
        self.with_mode(OrDefault::new(default))
    }

    /// Returns a key whose field can only be taken, not read.
    pub const fn once(self) -> Field<T, Once> {
        self.with_mode(Once)
    }

    /// Returns the key of the signed-in principal.
    ///
    /// # Panics
    ///
    /// Panics if the spec does not describe a [principal](FieldSpec::principal) field.
    #[track_caller]
    pub const fn principal(self) -> Field<T, Principal> {
        assert!(
            self.spec.is_principal(),
            "the `FieldSpec` of this field is not marked with `FieldSpec::principal`"
        );
        self.with_mode(Principal)
    }

    const fn with_mode<M>(self, mode: M) -> Field<T, M> {
        let Self { spec, codec, .. } = self;
        Field { spec, mode, codec }
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
        self.encode_with(self.codec.encode, value)
    }

    /// Encodes a value in the field's current version, even during a bridge release. Checks that
    /// the value can be read back, in builds without debug assertions, too.
    #[cfg(feature = "testing")]
    pub(crate) fn encode_checked(&self, value: &T) -> Result<Bytes, CodecError> {
        let Self { spec, codec, .. } = self;
        let stored = (codec.encode)(spec.codec(), spec.version(), codec.fingerprint.get(), value)?;
        match self.reads_back(codec.encode, value, &stored) {
            true => Ok(stored),
            false => Err(CodecError::Unreadable(self.written_codec()?)),
        }
    }

    /// Returns whether the migration reads a former value only as the type that wrote it, or as the
    /// type of the field.
    #[cfg(feature = "testing")]
    pub(crate) fn migrates_exactly(&self, stored: &[u8]) -> bool {
        match (self.codec.migrate, Stored::split(stored)) {
            (Some(migrate), Ok(stored)) => migrate(stored.exactly(self.fingerprint())).is_ok(),
            _ => true,
        }
    }

    /// Returns whether a former value and its migrated value have the same key as a principal or in
    /// an index.
    #[cfg(feature = "testing")]
    pub(crate) fn keeps_principal(&self, stored: &[u8]) -> bool
    where
        T: Serialize,
        M: Mode,
    {
        let value = || self.decode(stored).ok().flatten();
        if self.spec.has_former_indexes() {
            let former = self.spec.index_key("", stored).ok();
            return former == value().and_then(|value| self.index_key("", &value).ok());
        }
        if !self.spec.has_former_principals() {
            return true;
        }
        let former = self.spec.principal_key("", stored).ok();
        former.is_some()
            && former == value().and_then(|value| self.principal_key("", &value).ok()?)
    }

    /// Returns the codec of values that are written in the field's current version.
    pub(crate) fn written_codec(&self) -> Result<Codec, CodecError> {
        self.fingerprint().codec(self.spec.codec())
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.codec.fingerprint.get()
    }

    /// Returns the function that finds the structure of the type.
    pub(crate) fn structure(&self) -> fn() -> Tree {
        self.codec.structure
    }

    /// Decodes a stored value, and encodes it again. `None` if one of the two fails.
    pub(crate) fn encode_again(&self, stored: &[u8]) -> Option<Bytes> {
        self.encode(&self.decode(stored).ok()??).ok()
    }

    /// Encodes a value that serialises as a `T`.
    pub(crate) fn encode_as<Q: Serialize + ?Sized>(&self, value: &Q) -> Result<Bytes, CodecError> {
        self.encode_with(codec::encode::<Q>, value)
    }

    /// Encodes a value. Some formats, such as bincode with `skip_serializing_if`, write values that
    /// they cannot read back, or that read back as different values. Builds with debug assertions
    /// check each value for this fault.
    fn encode_with<Q: ?Sized>(
        &self,
        encode: fn(Codec, u16, Fingerprint, &Q) -> Result<Bytes, CodecError>,
        value: &Q,
    ) -> Result<Bytes, CodecError> {
        let Self { spec, codec, .. } = self;
        let mut stored = encode(spec.codec(), spec.version(), codec.fingerprint.get(), value)?;
        if cfg!(debug_assertions) && !self.reads_back(encode, value, &stored) {
            return Err(CodecError::Unreadable(self.written_codec()?));
        }
        let version = spec.written_version();
        if version != spec.version() {
            let write = codec.writes.ok_or(CodecError::Migrate(version))?;
            let value = (codec.decode)(&stored, spec.version(), codec.fingerprint)?;
            stored = write(value, Target { codec: spec.codec(), version })?;
            if cfg!(debug_assertions) && self.decode(&stored).is_err() {
                return Err(CodecError::Unreadable(self.written_codec()?));
            }
        }
        Ok(stored)
    }

    /// Returns whether `stored` decodes to the value that it was encoded from. `T` need not
    /// implement `PartialEq`, so the comparison encodes both values with the other codec, which
    /// does not have the same defect. If the other codec cannot do this, the same codec encodes the
    /// decoded value again.
    fn reads_back<Q: ?Sized>(
        &self,
        encode: fn(Codec, u16, Fingerprint, &Q) -> Result<Bytes, CodecError>,
        value: &Q,
        stored: &[u8],
    ) -> bool {
        let Self { spec, codec, .. } = self;
        let Ok(read) = (codec.decode)(stored, spec.version(), codec.fingerprint) else {
            return false;
        };
        let other = match self.written_codec() {
            Ok(Codec::MessagePack) => Codec::Bincode,
            _ => Codec::MessagePack,
        };
        let unknown = Fingerprint::UNKNOWN;
        match (encode(other, 0, unknown, value), (codec.encode)(other, 0, unknown, &read)) {
            (Ok(value), Ok(read)) => codec::may_be_equal(&value, &read),
            // The other codec is not compiled in, or cannot write the value.
            _ => (codec.encode)(spec.codec(), spec.version(), codec.fingerprint.get(), &read)
                .is_ok_and(|again| codec::may_be_equal(stored, &again)),
        }
    }

    /// Decodes a stored value. `None` if the migration discards it.
    pub(crate) fn decode(&self, stored: &[u8]) -> Result<Option<T>, CodecError> {
        let version = self.spec.version();
        self.spec.decode_by_lock(stored, |stored| match self.codec.migrate {
            Some(migrate) if codec::version(stored).is_some_and(|stored| stored < version) => {
                migrate(Stored::split(stored)?)
            }
            _ => (self.codec.decode)(stored, version, self.codec.fingerprint).map(Some),
        })
    }

    /// Returns whether a value written now would have the codec, version and fingerprint of
    /// `stored`. Encryption is not compared.
    ///
    /// In a bridge release, the type of a former version writes the value, so the fingerprint is
    /// not compared.
    pub(crate) fn writes_like(&self, stored: &[u8]) -> bool {
        let Self { spec, codec, .. } = self;
        let written = spec.written_version();
        codec::origin(stored).is_some_and(|(format, version, fingerprint)| {
            let has_type = written != spec.version() || fingerprint == codec.fingerprint.get();
            fingerprint.codec(spec.codec()) == Ok(format) && version == written && has_type
        })
    }

    /// Returns the version of a stored value, and which type wrote it: the field's own type, a
    /// different type, or an unknown type.
    #[cfg(feature = "metrics")]
    pub(crate) fn origin(&self, stored: &[u8]) -> Option<(u16, &'static str)> {
        let (_, version, fingerprint) = codec::origin(stored)?;
        let shape = match fingerprint.has_type() {
            false => "unknown",
            true if fingerprint == self.codec.fingerprint.get() => "own",
            true => "other",
        };
        Some((version, shape))
    }

    /// Returns the key of the principal that a value names. `None` unless this is a principal
    /// field.
    pub(crate) fn principal_key<Q: Serialize + ?Sized>(
        &self,
        layer: &str,
        value: &Q,
    ) -> Result<Option<PrincipalKey>, CodecError>
    where
        M: Mode,
    {
        if !M::SIGNS_IN {
            return Ok(None);
        }
        let spec = self.spec;
        if spec.has_former_principals() {
            return spec.principal_key(layer, &self.encode_unchecked(value)?).map(Some);
        }
        self.name(layer, value).map(Some)
    }

    /// Returns the key under which sessions with this value are found in the index.
    pub(crate) fn index_key<Q: Serialize + ?Sized>(
        &self,
        layer: &str,
        value: &Q,
    ) -> Result<PrincipalKey, CodecError> {
        let spec = self.spec;
        if spec.has_former_indexes() {
            return spec.index_key(layer, &self.encode_unchecked(value)?);
        }
        Ok(self.name(layer, value)?.of_index())
    }

    fn name<Q: Serialize + ?Sized>(
        &self,
        layer: &str,
        value: &Q,
    ) -> Result<PrincipalKey, CodecError> {
        let mut name = PrincipalName::new(layer, self.spec.name());
        name.set(value)?;
        name.finish()
    }

    /// Encodes a value in the version of the field, even in a bridge release: the former version
    /// may not be able to hold the value.
    fn encode_unchecked<Q: Serialize + ?Sized>(&self, value: &Q) -> Result<Bytes, CodecError> {
        let Self { spec, codec, .. } = self;
        codec::encode(spec.codec(), spec.version(), codec.fingerprint.get(), value)
    }
}

fn decode<T: FieldValue>(
    stored: &[u8],
    version: u16,
    fingerprint: TypeFingerprint,
) -> Result<T, CodecError> {
    codec::decode(stored, version, || fingerprint.get())
}

impl<T> Clone for ValueCodec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ValueCodec<T> {}

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
