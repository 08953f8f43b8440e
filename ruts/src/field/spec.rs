use crate::{
    codec::Codec,
    ttl::{CachePolicy, Ttl},
};

/// Everything that is known of a field besides the type of its values.
///
/// Built by `#[session]`, or by hand for a [`Field`](crate::Field): a chain of constant functions, so that a
/// contradiction is a compile error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpec {
    name: &'static str,
    ttl: Option<Ttl>,
    hot: CachePolicy,
    codec: Codec,
    version: u16,
    lazy: bool,
    once: bool,
    rotate: bool,
    principal: bool,
    encrypt: bool,
}

impl FieldSpec {
    /// A field stored as `name` that lives as long as its session.
    ///
    /// # Panics
    ///
    /// `name` is no [field name](is_field_name); in a constant, this is a compile error.
    pub const fn new(name: &'static str) -> Self {
        assert!(
            is_field_name(name),
            "a field's stored name has 1 to 128 bytes, no zero byte and no `~` in front"
        );
        Self {
            name,
            ttl: None,
            hot: CachePolicy::Auto,
            codec: Codec::DEFAULT,
            version: 1,
            lazy: false,
            once: false,
            rotate: false,
            principal: false,
            encrypt: false,
        }
    }

    /// Every write gives the value this long to live.
    ///
    /// # Panics
    ///
    /// The field may be hot for longer than that.
    pub const fn with_ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = Some(ttl);
        self.checked()
    }

    /// How long a value may stay in the cache tier of a layered store.
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
    /// That is longer than the field's own lifetime.
    pub const fn with_hot(mut self, hot: CachePolicy) -> Self {
        self.hot = hot;
        self.checked()
    }

    /// The codec of new values.
    ///
    /// # Panics
    ///
    /// The codec's feature is not enabled.
    pub const fn with_codec(mut self, codec: Codec) -> Self {
        assert!(codec.is_enabled(), "this codec's feature of `ruts` is not enabled");
        self.codec = codec;
        self
    }

    /// The version of the field's type. A stored value of another version reads as absent.
    pub const fn with_version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// Fetched only when named, not with the rest of the schema.
    pub const fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Never fetched ahead: only taken.
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Every change of it replaces the session's secret in the same round trip.
    pub const fn rotate(mut self) -> Self {
        self.rotate = true;
        self
    }

    /// Says who is signed in: [`rotate`](Self::rotate), and a write of it through a
    /// [`Field::principal`](crate::Field::principal) signs in.
    pub const fn principal(mut self) -> Self {
        self.principal = true;
        self.rotate()
    }

    /// Encrypted at rest with the layer's
    /// [`encryption_keys`](crate::SessionLayer::encryption_keys) (XChaCha20-Poly1305), in every tier. What
    /// was altered, or stood in another session or field, is an error when it is read.
    ///
    /// # Panics
    ///
    /// The feature `encrypt` is not enabled.
    pub const fn encrypt(mut self) -> Self {
        if !cfg!(feature = "encrypt") {
            panic!("the feature `encrypt` of `ruts` is not enabled");
        }
        self.encrypt = true;
        self
    }

    const fn checked(self) -> Self {
        if let (Some(ttl), CachePolicy::For(hot)) = (self.ttl, self.hot) {
            assert!(hot.as_millis() <= ttl.as_millis(), "`hot` is longer than `ttl`");
        }
        self
    }

    /// The name under which the value is stored.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The lifetime that a write gives the value; `None` means the session's.
    pub const fn ttl(&self) -> Option<Ttl> {
        self.ttl
    }

    /// The value's place in the cache tier.
    pub const fn hot(&self) -> CachePolicy {
        self.hot
    }

    /// The codec of new values.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The version of the field's type.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// Whether the field is fetched only when named.
    pub const fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Whether the field can only be taken.
    pub const fn is_once(&self) -> bool {
        self.once
    }

    /// Whether the first read of a request fetches the field along with others of its schema. Not what
    /// is large, cannot be read, or would keep a cache from answering for the others.
    pub(crate) const fn is_eager(&self) -> bool {
        !self.lazy && !self.once && !matches!(self.hot, CachePolicy::Never | CachePolicy::Checked)
    }

    /// Whether a change of the field replaces the session's secret.
    pub const fn is_rotating(&self) -> bool {
        self.rotate
    }

    /// Whether the field is encrypted at rest.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypt
    }

    /// Whether the field says who is signed in.
    pub const fn is_principal(&self) -> bool {
        self.principal
    }
}

/// Whether a text can be the stored name of a field: 1 to 128 bytes, none of them zero, not beginning
/// with `~`, which stores keep for their own.
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
