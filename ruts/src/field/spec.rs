//! [`FieldSpec`]: the description of a field, without the type of its values.
//!
//! Made by `#[session]` or by hand. Read by the session. Knows nothing of values and stores.

use std::fmt;

use super::{principal::key_of, value::FieldValue};
use crate::{
    auth::PrincipalKey,
    cache_policy::CachePolicy,
    codec::{self, Codec, CodecError},
    ttl::Ttl,
};

/// Description of a field: everything but the type of its values.
///
/// Its methods are constant functions, so that a contradiction is a compile error.
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
    lazy: bool,
    once: bool,
    rotate: bool,
    principal: Option<PrincipalOf>,
    encrypt: bool,
}

/// Returns the principal that a stored value names, if its version fits.
#[derive(Clone, Copy)]
struct PrincipalOf(DecodePrincipal);

type DecodePrincipal = fn(&FieldSpec, &str, &[u8]) -> Result<Option<PrincipalKey>, CodecError>;

/// Descriptions are compared without the type of their values, so all of these are equal.
impl PartialEq for PrincipalOf {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for PrincipalOf {}

impl fmt::Debug for PrincipalOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrincipalOf")
    }
}

impl FieldSpec {
    /// Describes a field with the stored name `name`, which lives as long as its session.
    ///
    /// # Panics
    ///
    /// `name` is not a [field name](is_field_name). In a constant, this is a compile error.
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
            lazy: false,
            once: false,
            rotate: false,
            principal: None,
            encrypt: false,
        }
    }

    /// Sets the lifetime that every write gives the value.
    ///
    /// # Panics
    ///
    /// The maximum age in a cache is longer.
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
    /// The maximum age is longer than the lifetime of the field.
    #[track_caller]
    pub const fn with_cache_policy(mut self, policy: CachePolicy) -> Self {
        self.cache_policy = policy;
        self.checked()
    }

    /// Sets the codec of new values.
    ///
    /// # Panics
    ///
    /// The feature of the codec is not enabled.
    #[track_caller]
    pub const fn with_codec(mut self, codec: Codec) -> Self {
        assert!(codec.is_enabled(), "the feature of this codec is not enabled in `ruts`");
        self.codec = codec;
        self
    }

    /// Sets the version of the type. A stored value of a former version reads as absent, and one of a
    /// newer version is [`Error::Newer`](crate::Error::Newer). Version 1 by default.
    pub const fn with_version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// Reads the field only by name, not with the other fields of its schema.
    pub const fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Forbids reading the field: it can only be taken.
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Replaces the secret of the session with every change of the field, in the same round trip.
    pub const fn rotate(mut self) -> Self {
        self.rotate = true;
        self
    }

    /// Makes it the field of the signed-in principal, of type `T`, which implies
    /// [`rotate`](Self::rotate). A write through a [`Field::principal`](super::Field::principal) signs
    /// in.
    ///
    /// The value lives as long as the sign-in. A [lifetime](Self::with_ttl) bounds both: it moves the
    /// absolute deadline of the session forward.
    pub const fn principal<T: FieldValue>(mut self) -> Self {
        self.principal = Some(PrincipalOf(principal_of::<T>));
        self.rotate()
    }

    /// Encrypts the values at rest, in every tier, with XChaCha20-Poly1305 and the
    /// [`encryption_keys`](crate::SessionLayer::encryption_keys) of the layer. Reading a value that
    /// was altered, or that belongs to another session or field, is an error.
    ///
    /// # Panics
    ///
    /// The feature `encrypt` is not enabled.
    #[track_caller]
    pub const fn encrypt(mut self) -> Self {
        if !cfg!(feature = "encrypt") {
            panic!("the feature `encrypt` of `ruts` is not enabled");
        }
        self.encrypt = true;
        self
    }

    #[track_caller]
    const fn checked(self) -> Self {
        if let (Some(ttl), CachePolicy::MaxAge(hot)) = (self.ttl, self.cache_policy) {
            assert!(hot.as_millis() <= ttl.as_millis(), "`hot` is longer than `ttl`");
        }
        self
    }

    /// Returns the stored name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the lifetime that a write gives the value. `None` means that of the session.
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

    /// Returns whether the field is read only by name.
    pub const fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Returns whether the field can only be taken.
    pub const fn is_once(&self) -> bool {
        self.once
    }

    /// Returns whether the first read of a request fetches the field with the others of its schema.
    ///
    /// A field is left out if it is lazy, can only be taken, or would keep a cache from answering
    /// for the others.
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
        self.encrypt
    }

    /// Returns whether it is the field of the signed-in principal.
    pub const fn is_principal(&self) -> bool {
        self.principal.is_some()
    }

    /// Returns the principal that a stored value of this field names.
    pub(crate) fn principal_key(
        &self,
        layer: &str,
        stored: &[u8],
    ) -> Result<Option<PrincipalKey>, CodecError> {
        match self.principal {
            Some(PrincipalOf(principal)) => principal(self, layer, stored),
            None => Ok(None),
        }
    }
}

fn principal_of<T: FieldValue>(
    field: &FieldSpec,
    layer: &str,
    stored: &[u8],
) -> Result<Option<PrincipalKey>, CodecError> {
    let value: Option<T> = codec::decode(stored, field.version(), codec::fingerprint::<T>)?;
    value.map(|value| key_of(layer, field.name(), &value)).transpose()
}

/// Returns whether a text can be the stored name of a field.
///
/// It has 1 to 128 bytes, no zero byte, and no leading `~`, which is reserved for stores.
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
