//! [`CookieOptions`]: the options of the session cookie, and their checks.
//!
//! Made by the application, read by the layer and `session_cookie`. Knows how long a cookie is
//! kept, and nothing about headers.

use std::{borrow::Cow, fmt, time::Duration};

use ::cookie::SameSite;

use super::{cookie_codec::CookieCodec, error::CookieError, validate};
use crate::{token::CookieLife, ttl::Ttl};

/// Name and attributes of the session cookie.
///
/// The defaults are strict: `HttpOnly`, `Secure`, `SameSite=Lax`, `Path=/`, no `Domain` and no
/// `Max-Age`, so that the cookie ends with the browser (NIST SP 800-63B-4, 5.1).
///
/// A name without a prefix gets one (RFC 6265bis, 4.1.3): `__Host-` by default, `__Secure-` with a
/// domain, or with a path that is not `/`.
///
/// ```
/// use ruts::{CookieOptions, cookie::SameSite};
///
/// let options = CookieOptions::build()
///     .name("shop") // becomes `__Host-shop`
///     .same_site(SameSite::Strict)
///     .max_age(7 * 24 * 60 * 60);
/// assert_eq!(options.check(), Ok(()));
/// ```
#[derive(Clone)]
pub struct CookieOptions {
    name: Option<Cow<'static, str>>,
    pub(super) path: Cow<'static, str>,
    pub(super) domain: Option<Cow<'static, str>>,
    pub(super) same_site: SameSite,
    pub(super) partitioned: bool,
    pub(super) max_age: Option<u64>,
    secure: bool,
    http_only: bool,
    pub(super) codec: CookieCodec,
}

impl CookieOptions {
    /// Creates the default options.
    pub fn build() -> Self {
        Self {
            name: None,
            path: Cow::Borrowed("/"),
            domain: None,
            same_site: SameSite::Lax,
            partitioned: false,
            max_age: None,
            secure: true,
            http_only: true,
            codec: CookieCodec::Plain,
        }
    }

    /// Sets the name. A name without a prefix gets one. The default is `id`, or `id-` and the name
    /// of the layer.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the path below which browsers send the cookie. Only `/` allows the prefix `__Host-`.
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Sends the cookie to this domain and all its subdomains. The prefix `__Host-` does not allow
    /// a domain.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets whether requests from other sites carry the cookie. With [`SameSite::None`] the
    /// application needs its own protection against cross-site requests.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Keeps a separate cookie under each top-level site (CHIPS): for embedded applications, with
    /// [`SameSite::None`].
    #[must_use]
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Keeps the cookie after the browser is closed, for `seconds` after it was set, at most 400
    /// days. Reading the session extends this time: after an eighth of it, a response sets the
    /// cookie again. A request that only sets or takes fields does not know the age of the cookie.
    /// An unused session ends no later than its cookie, even if the idle timeout of the layer is
    /// longer.
    ///
    /// A single sign-in can choose a different lifetime: see
    /// [`SignIn::remember`](crate::session::SignIn::remember).
    #[must_use]
    pub fn max_age(mut self, seconds: u64) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// Sets `Secure`. It is on by default, and [`check`](Self::check) refuses `false`. Plain http
    /// on localhost works with [`SessionLayer::development`](crate::SessionLayer::development).
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets `HttpOnly`. It is on by default, and [`check`](Self::check) refuses `false`.
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Signs the cookie with one key. See [`signing_keys`](Self::signing_keys).
    #[cfg(feature = "signed")]
    #[must_use]
    pub fn signing_key(self, key: cookie::Key) -> Self {
        self.signing_keys(key)
    }

    /// Signs the cookie with the first of these keys. A cookie that was signed with none of these
    /// keys is ignored without a store call. A token in a [header](crate::layer::TokenSource) is
    /// not signed.
    #[cfg(feature = "signed")]
    #[must_use]
    pub fn signing_keys(mut self, keys: impl Into<crate::crypto::KeyRing>) -> Self {
        self.codec = CookieCodec::Signed(keys.into());
        self
    }

    /// Encrypts the cookie, and authenticates its name, with the first of these keys (AES-256-GCM).
    /// A cookie that was encrypted with none of these keys is ignored without a store call.
    ///
    /// A cookie is either encrypted or [signed](Self::signing_keys): the option that is set last
    /// applies.
    #[cfg(feature = "private")]
    #[must_use]
    pub fn encryption_keys(mut self, keys: impl Into<crate::crypto::KeyRing>) -> Self {
        self.codec = CookieCodec::Encrypted(keys.into());
        self
    }

    /// Checks whether the options make a safe cookie. Use this method for options from a
    /// configuration file, for example. [`SessionLayer::with_cookie_options`] panics on unsafe
    /// options.
    ///
    /// # Errors
    ///
    /// The first problem that the check finds.
    ///
    /// [`SessionLayer::with_cookie_options`]: crate::SessionLayer::with_cookie_options
    pub fn check(&self) -> Result<(), CookieError> {
        self.checked_name("", false).map(drop)
    }

    /// Returns how long the client keeps the cookie. `None` if it ends with the browser.
    pub(crate) fn lifetime(&self) -> Option<Ttl> {
        Ttl::new(Duration::from_secs(self.max_age?).min(CookieLife::LONGEST)).ok()
    }

    /// Checks all options, and returns the name of the cookie of a layer.
    ///
    /// In development mode the name differs, so that the cookie is never mistaken for the
    /// production cookie.
    pub(super) fn checked_name(
        &self,
        layer: &str,
        development: bool,
    ) -> Result<String, CookieError> {
        self.check_attributes()?;
        let name = match &self.name {
            Some(name) => name.to_string(),
            None if layer.is_empty() => "id".to_owned(),
            None => format!("id-{layer}"),
        };
        validate::check_name(&name)?;
        let is_host_only = self.domain.is_none() && self.path == "/";
        let name = match development {
            true => format!("dev-{name}"),
            false => validate::prefixed(name, is_host_only)?,
        };
        match name.len() + CookieCodec::MAX_LEN {
            bytes if bytes > validate::MAX_BYTES => Err(CookieError::TooLong { bytes }),
            _ => Ok(name),
        }
    }

    fn check_attributes(&self) -> Result<(), CookieError> {
        if !self.http_only {
            return Err(CookieError::HttpOnly);
        }
        if !self.secure {
            return Err(CookieError::Secure);
        }
        if self.max_age == Some(0) {
            return Err(CookieError::MaxAge);
        }
        validate::check_path(&self.path)?;
        self.domain.as_deref().map_or(Ok(()), validate::check_domain)
    }
}

impl Default for CookieOptions {
    fn default() -> Self {
        Self::build()
    }
}

impl fmt::Debug for CookieOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieOptions")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("domain", &self.domain)
            .field("same_site", &self.same_site)
            .field("partitioned", &self.partitioned)
            .field("max_age", &self.max_age)
            .field("secure", &self.secure)
            .field("http_only", &self.http_only)
            .field("codec", &self.codec)
            .finish()
    }
}
