use std::{borrow::Cow, fmt, time::Duration};

use super::{CookieError, SameSite, seal::Seal};
use crate::ttl::Ttl;

/// The longest life that browsers grant a cookie (RFC 6265bis, 5.5).
const LONGEST: u64 = 400 * 24 * 60 * 60;

/// How the session's cookie is named and who gets it.
///
/// The defaults are the strict ones: a session cookie (it ends with the browser, NIST SP
/// 800-63B-4, 5.1), `HttpOnly`, `Secure`, `SameSite=Lax`, `Path=/`, no `Domain`. The name gets the
/// strongest prefix that the options allow (RFC 6265bis, 4.1.3): `__Host-` as it stands,
/// `__Secure-` with a domain or a path.
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
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) path: Cow<'static, str>,
    pub(super) domain: Option<Cow<'static, str>>,
    pub(super) same_site: SameSite,
    pub(super) partitioned: bool,
    pub(super) max_age: Option<u64>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) seal: Seal,
}

impl CookieOptions {
    /// The defaults, to be changed by the methods below.
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
            seal: Seal::Plain,
        }
    }

    /// The name, to which the strongest possible prefix is added. `id` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The path below which the browser sends it. Anything but `/` costs the `__Host-` prefix.
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Send it to this domain and all its subdomains. It costs the `__Host-` prefix.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Whether requests from other sites carry it. With [`SameSite::None`] the app needs a defence
    /// of its own against cross-site requests.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Keep a separate copy under each top-level site (CHIPS). For embedded apps, with
    /// [`SameSite::None`].
    #[must_use]
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Let the cookie outlive the browser: `seconds` from when it is set, at most 400 days.
    ///
    /// The session itself ends by then too, whatever the layer's absolute timeout.
    #[must_use]
    pub fn max_age(mut self, seconds: u64) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// Always on. `false` is refused by [`check`](Self::check); for plain http on localhost there
    /// is [`SessionLayer::development`](crate::SessionLayer::development).
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Always on. `false` is refused by [`check`](Self::check).
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sign the cookie: a token that this key did not sign is not even looked up.
    #[cfg(feature = "signed")]
    #[must_use]
    pub fn signing_key(self, key: cookie::Key) -> Self {
        self.signing_keys(key)
    }

    /// Sign the cookie with the first of these keys. A token that none of them signed is not even looked
    /// up, unless it comes in a [header](crate::TokenSource), which is not signed.
    #[cfg(feature = "signed")]
    #[must_use]
    pub fn signing_keys(mut self, keys: impl Into<crate::KeyRing>) -> Self {
        self.seal = Seal::Signed(keys.into());
        self
    }

    /// Encrypt the cookie, and sign it along with its name, with the first of these keys (AES-256-GCM).
    /// What none of them encrypted is not even looked up. In place of [signing](Self::signing_keys).
    #[cfg(feature = "private")]
    #[must_use]
    pub fn encryption_keys(mut self, keys: impl Into<crate::KeyRing>) -> Self {
        self.seal = Seal::Encrypted(keys.into());
        self
    }

    /// How long the client keeps the cookie, if it outlives the browser.
    pub(crate) fn lifetime(&self) -> Option<Ttl> {
        Ttl::new(Duration::from_secs(self.max_age?.min(LONGEST))).ok()
    }

    /// Whether the options make a safe cookie; [`SessionLayer::with_cookie_options`] panics
    /// otherwise. For options that come from a configuration file.
    ///
    /// # Errors
    ///
    /// The first contradiction found.
    ///
    /// [`SessionLayer::with_cookie_options`]: crate::SessionLayer::with_cookie_options
    pub fn check(&self) -> Result<(), CookieError> {
        super::SessionCookie::new(self, "", false).map(drop)
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
            .finish_non_exhaustive()
    }
}
