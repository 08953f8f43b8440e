//! [`FieldSpec`]: the description of a field, without the type of its values.
//!
//! Made by `#[session]` or by hand. Read by typed keys, the session and `testing`. Knows how a
//! stored value is decoded, and how a principal key is derived from it. Knows nothing about
//! requests or stores.

use std::fmt;

use bytes::Bytes;

use super::{principal::PrincipalName, value::FieldValue};
use crate::{
    auth::PrincipalKey,
    cache_policy::CachePolicy,
    codec::{Codec, CodecError, Stored},
    ttl::Ttl,
};

/// Description of a field: everything except the type of its values.
///
/// Its methods are constant functions, so that contradictory settings in a constant are a compile
/// error.
///
/// ```
/// use ruts::{Ttl, field::FieldSpec};
///
/// const CART: FieldSpec = FieldSpec::new("cart").with_ttl(Ttl::from_secs(3600)).with_version(2);
/// assert!(!CART.is_lazy());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpec {
    name: &'static str,
    ttl: Option<Ttl>,
    cache_policy: CachePolicy,
    codec: Codec,
    version: u16,
    writes: Option<u16>,
    lazy: bool,
    once: bool,
    rotate: bool,
    principal: Option<KeyOf>,
    index: Option<KeyOf>,
    /// The first version whose values are encrypted.
    encrypt: Option<u16>,
    lock: Option<WriterTypes>,
}

/// A lock, which lists the types that wrote values. Only a field with a lock refers to `transcode`,
/// so programs without a lock do not contain that function.
#[derive(Clone, Copy)]
struct WriterTypes {
    lock: &'static str,
    transcode: fn(&str, &str, &[u8]) -> Option<Bytes>,
}

impl PartialEq for WriterTypes {
    fn eq(&self, other: &Self) -> bool {
        self.lock == other.lock
    }
}

impl Eq for WriterTypes {}

impl fmt::Debug for WriterTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriterTypes")
    }
}

/// The function that derives the key of a principal or of an index from a stored value.
#[derive(Clone, Copy)]
struct KeyOf {
    name: NameValue,
    /// Whether `name` reads values of former versions.
    has_formers: bool,
}

type NameValue = fn(Stored<'_>, &mut PrincipalName<'_>) -> Result<(), CodecError>;

/// Field specs are compared without the types of their values, so two `KeyOf` are always equal.
impl PartialEq for KeyOf {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KeyOf {}

impl fmt::Debug for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyOf").field("has_formers", &self.has_formers).finish_non_exhaustive()
    }
}

impl FieldSpec {
    /// Describes a field with the stored name `name`, whose values live as long as the session.
    ///
    /// # Panics
    ///
    /// Panics if `name` is not a [field name](is_field_name), or begins with `ruts.`. In a
    /// constant, this is a compile error.
    #[track_caller]
    pub const fn new(name: &'static str) -> Self {
        assert!(
            is_field_name(name),
            "a stored name has 1 to 128 bytes, no zero byte and no leading `~`"
        );
        assert!(!is_reserved(name), "names that begin with `ruts.` are reserved");
        Self::reserved(name)
    }

    /// Describes a field of this crate.
    pub(crate) const fn reserved(name: &'static str) -> Self {
        Self {
            name,
            ttl: None,
            cache_policy: CachePolicy::Default,
            codec: Codec::DEFAULT,
            version: 1,
            writes: None,
            lazy: false,
            once: false,
            rotate: false,
            principal: None,
            index: None,
            encrypt: None,
            lock: None,
        }
    }

    /// Sets the lifetime that every write gives the value.
    ///
    /// # Panics
    ///
    /// Panics if the maximum age in a cache is longer than `ttl`.
    #[track_caller]
    pub const fn with_ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = Some(ttl);
        self.checked()
    }

    /// Sets how long a value may stay in the cache of a layered store.
    ///
    /// ```compile_fail,E0080
    /// use std::time::Duration;
    /// use ruts::session;
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(ttl = "1h", hot = Duration::from_secs(7200))]
    ///     cart: Vec<String>,
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the maximum age is longer than the lifetime of the field.
    #[track_caller]
    pub const fn with_cache_policy(mut self, policy: CachePolicy) -> Self {
        self.cache_policy = policy;
        self.checked()
    }

    /// Sets the codec of new values.
    ///
    /// # Panics
    ///
    /// Panics if the feature of the codec is not enabled.
    #[track_caller]
    pub const fn with_codec(mut self, codec: Codec) -> Self {
        assert!(
            codec.is_enabled(),
            "this codec needs the feature `bincode` or `messagepack` of `ruts`"
        );
        self.codec = codec;
        self
    }

    /// Sets the version of the type, 1 by default. The [migration](super::Field::migrate) of the
    /// key reads stored values of former versions. Reading a value of a newer version fails with
    /// [`Error::Newer`](crate::Error::Newer).
    pub const fn with_version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// Writes new values as a former version, for a release that runs alongside the previous one.
    /// The key converts them, with [`Field::writes`](super::Field::writes).
    ///
    /// # Panics
    ///
    /// Panics if `version` is zero, or not below the [version](Self::with_version) of the field.
    /// Set the version of the field first.
    #[track_caller]
    pub const fn with_writes(mut self, version: u16) -> Self {
        assert!(
            version > 0 && version < self.version,
            "`writes` needs a version below the version of the field"
        );
        self.writes = Some(version);
        self
    }

    /// Sets the lock: the text of a `ruts::testing::Lock`, such as the file `sessions.lock`.
    /// `#[session(lock)]` calls this method.
    ///
    /// A bincode value does not contain the names of struct fields. So if a different type of the
    /// same version wrote the value, reading it fails with [`CodecError::Shape`]. A lock that
    /// describes that type prevents this error if both codecs are compiled in. The value is then
    /// converted to MessagePack with the names from the lock, and read by name.
    pub const fn with_lock(mut self, lock: &'static str) -> Self {
        self.lock = Some(WriterTypes { lock, transcode: by_names });
        self
    }

    /// Fetches the field only when a read asks for it, not with the other fields of its schema.
    pub const fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Forbids reading the field: it can only be taken.
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Makes each change of the value through a typed key also replace the secret of the session,
    /// in the same round trip.
    pub const fn rotate(mut self) -> Self {
        self.rotate = true;
        self
    }

    /// Makes this the field of the signed-in principal, whose values have the type `T`. The call
    /// also marks the field [`rotate`](Self::rotate). A write through a
    /// [`Field::principal`](super::Field::principal) signs in.
    ///
    /// The value lives as long as the sign-in. A [lifetime](Self::with_ttl) of the field limits
    /// both, because it also limits the time until the absolute deadline of the session.
    pub const fn principal<T: FieldValue>(mut self) -> Self {
        self.principal = Some(KeyOf { name: name_value::<T>, has_formers: false });
        self.rotate()
    }

    /// Makes this the field of the signed-in principal. The same as [`principal`](Self::principal),
    /// but for a type with former versions.
    ///
    /// `name` derives the name of the principal from a stored value of any version. All versions
    /// must give a principal the same name: its value in the first version that can hold it. Then
    /// every release, even an earlier one, can list and revoke all sessions of a principal.
    ///
    /// Two principals must never have the same name.
    ///
    /// ```
    /// use ruts::field::{Field, FieldSpec, Principal};
    ///
    /// /// Version 1 was a `u64`, and version 2 is a string.
    /// const VERSION: FieldSpec = FieldSpec::new("user").with_version(2);
    /// const SPEC: FieldSpec = VERSION.principal_with(|stored, name| {
    ///     if stored.version() == 1 {
    ///         return name.set(&stored.read::<u64>()?);
    ///     }
    ///     let user = stored.read::<String>()?;
    ///     match user.parse::<u64>() {
    ///         Ok(number) => name.set(&number),
    ///         Err(_) => name.set(&user),
    ///     }
    /// });
    /// const USER: Field<String, Principal> = Field::new(&SPEC)
    ///     .migrate(|stored| stored.read::<u64>().map(|number| Some(number.to_string())))
    ///     .principal();
    /// # let _ = USER;
    /// ```
    pub const fn principal_with(
        mut self,
        name: fn(Stored<'_>, &mut PrincipalName<'_>) -> Result<(), CodecError>,
    ) -> Self {
        self.principal = Some(KeyOf { name, has_formers: true });
        self.rotate()
    }

    /// Lets sessions be found by the value of this field, which has the type `T`: see
    /// [`IndexedSessions`](crate::session::IndexedSessions).
    ///
    /// # Panics
    ///
    /// Panics if the values are [encrypted](Self::encrypt).
    #[track_caller]
    pub const fn index<T: FieldValue>(mut self) -> Self {
        self.index = Some(KeyOf { name: name_value::<T>, has_formers: false });
        self.checked()
    }

    /// Lets sessions be found by the value of this field. The same as [`index`](Self::index), but
    /// for a type with former versions.
    ///
    /// `name` derives the name of the value from a stored value of any version, as in
    /// [`principal_with`](Self::principal_with).
    ///
    /// # Panics
    ///
    /// Panics if the values are [encrypted](Self::encrypt).
    #[track_caller]
    pub const fn index_with(
        mut self,
        name: fn(Stored<'_>, &mut PrincipalName<'_>) -> Result<(), CodecError>,
    ) -> Self {
        self.index = Some(KeyOf { name, has_formers: true });
        self.checked()
    }

    /// Encrypts the values at rest, in every tier, with XChaCha20-Poly1305 and the
    /// `encryption_keys` of the layer. Reading a value that was altered, or that belongs to another
    /// session or field, is an error.
    ///
    /// # Panics
    ///
    /// Panics if the feature `encrypt` is not enabled, or the field is an [index](Self::index).
    #[track_caller]
    pub const fn encrypt(self) -> Self {
        self.encrypt_since(1)
    }

    /// Encrypts values of `version` and above, so that encryption can be turned on while sessions
    /// are live. Values of former versions may be unencrypted until a write replaces them.
    ///
    /// An attacker who can write to the store can plant an unencrypted value of a former version.
    /// After all earlier sessions have ended, use [`encrypt`](Self::encrypt).
    ///
    /// # Panics
    ///
    /// Panics if the feature `encrypt` is not enabled, or the field is an [index](Self::index).
    #[track_caller]
    pub const fn encrypt_since(mut self, version: u16) -> Self {
        if !cfg!(feature = "encrypt") {
            panic!("an encrypted field needs the feature `encrypt` of `ruts`");
        }
        self.encrypt = Some(version);
        self.checked()
    }

    #[track_caller]
    const fn checked(self) -> Self {
        if let (Some(ttl), CachePolicy::MaxAge(hot)) = (self.ttl, self.cache_policy) {
            assert!(hot.as_millis() <= ttl.as_millis(), "`hot` is longer than `ttl`");
        }
        assert!(
            self.index.is_none() || self.encrypt.is_none(),
            "an index stores a digest of the value, with which an attacker can verify guesses, so the \
             field cannot be encrypted"
        );
        self
    }

    /// Returns the stored name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the lifetime that a write gives the value. `None` means the lifetime of the session.
    pub const fn ttl(&self) -> Option<Ttl> {
        self.ttl
    }

    /// Returns the cache policy.
    pub const fn cache_policy(&self) -> CachePolicy {
        self.cache_policy
    }

    /// Returns the codec of new values.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Returns the version of the type.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// Returns the version of new values: the version of the type, unless a [different
    /// one](Self::with_writes) is set.
    pub const fn written_version(&self) -> u16 {
        match self.writes {
            Some(version) => version,
            None => self.version,
        }
    }

    /// Returns whether the field is fetched only when a read asks for it.
    pub const fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Returns whether the field can only be taken.
    pub const fn is_once(&self) -> bool {
        self.once
    }

    /// Returns whether the first read in a request fetches the field with the others of its schema.
    ///
    /// A field is left out if it is lazy, can only be taken, or would prevent a cache from
    /// answering the read.
    pub(crate) const fn is_eager(&self) -> bool {
        !self.lazy
            && !self.once
            && !matches!(self.cache_policy, CachePolicy::NoStore | CachePolicy::Revalidate)
    }

    /// Returns whether a change of the field replaces the secret of the session.
    pub const fn is_rotating(&self) -> bool {
        self.rotate
    }

    /// Returns whether the values are encrypted at rest.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypt.is_some()
    }

    /// Returns the first version whose values are encrypted at rest. `None` if none are.
    pub const fn encrypted_since(&self) -> Option<u16> {
        self.encrypt
    }

    /// Returns whether values of a version are encrypted at rest.
    pub(crate) fn encrypts(&self, version: u16) -> bool {
        self.encrypt.is_some_and(|since| version >= since)
    }

    /// Returns whether this is the field of the signed-in principal.
    pub const fn is_principal(&self) -> bool {
        self.principal.is_some()
    }

    /// Returns whether sessions are found by the value of this field.
    pub const fn is_index(&self) -> bool {
        self.index.is_some()
    }

    /// Returns whether this field and `other`, which has the same name, store values in the same
    /// form. Their types are not compared.
    pub(crate) fn stores_like(&self, other: &Self) -> bool {
        let form =
            |field: &Self| (field.version, field.encrypt, field.is_principal(), field.is_index());
        form(self) == form(other)
    }

    /// Returns whether the sessions of a principal are found by the value of a former version.
    pub(crate) fn has_former_principals(&self) -> bool {
        self.principal.is_some_and(|principal| principal.has_formers)
    }

    /// Returns whether sessions are found in the index by the value of a former version.
    pub(crate) fn has_former_indexes(&self) -> bool {
        self.index.is_some_and(|index| index.has_formers)
    }

    /// Returns whether the field has a [lock](Self::with_lock).
    #[cfg(feature = "testing")]
    pub(crate) const fn has_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// Decodes a stored value with `decode`. A bincode value that a different type wrote is first
    /// converted to MessagePack, if the lock has that type.
    pub(crate) fn decode_by_lock<T>(
        &self,
        stored: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        match decode(stored) {
            Err(CodecError::Shape) => {
                let by_names = self
                    .lock
                    .and_then(|WriterTypes { lock, transcode }| transcode(lock, self.name, stored));
                decode(&by_names.ok_or(CodecError::Shape)?)
            }
            decoded => decoded,
        }
    }

    /// Returns the principal that a stored value of this field names.
    pub(crate) fn principal_key(
        &self,
        layer: &str,
        stored: &[u8],
    ) -> Result<PrincipalKey, CodecError> {
        self.decode_by_lock(stored, |stored| self.name_value(self.principal, layer, stored))
    }

    /// Returns the key under which a session with this stored value is found in the index.
    pub(crate) fn index_key(&self, layer: &str, stored: &[u8]) -> Result<PrincipalKey, CodecError> {
        let key =
            self.decode_by_lock(stored, |stored| self.name_value(self.index, layer, stored))?;
        Ok(key.of_index())
    }

    fn name_value(
        &self,
        of: Option<KeyOf>,
        layer: &str,
        stored: &[u8],
    ) -> Result<PrincipalKey, CodecError> {
        let of = of.ok_or(CodecError::Principal)?;
        let stored = Stored::split(stored)?;
        stored.check_known(self.version)?;
        if stored.version() < self.version && !of.has_formers {
            return Err(stored.former(self.version));
        }
        let mut name = PrincipalName::new(layer, self.name);
        (of.name)(stored, &mut name)?;
        name.finish()
    }
}

#[cfg(all(feature = "bincode", feature = "messagepack"))]
fn by_names(lock: &str, name: &str, stored: &[u8]) -> Option<Bytes> {
    crate::codec::transcode(lock, name, stored)
}

/// Returns `None`: the conversion needs both codecs.
#[cfg(not(all(feature = "bincode", feature = "messagepack")))]
fn by_names(_lock: &str, _name: &str, _stored: &[u8]) -> Option<Bytes> {
    None
}

fn name_value<T: FieldValue>(
    stored: Stored<'_>,
    name: &mut PrincipalName<'_>,
) -> Result<(), CodecError> {
    name.set(&stored.read::<T>()?)
}

/// Returns whether a string can be the stored name of a field.
///
/// A stored name has 1 to 128 bytes, no zero byte, and no leading `~`, which is reserved for
/// stores.
pub const fn is_field_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == 0 {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= 128 && bytes[0] != b'~'
}

/// Returns whether a stored name belongs to this crate: it begins with `ruts.`.
pub(crate) const fn is_reserved(name: &str) -> bool {
    matches!(name.as_bytes(), [b'r', b'u', b't', b's', b'.', ..])
}
