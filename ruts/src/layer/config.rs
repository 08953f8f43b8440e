use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderValue};
use tower_layer::Layer;

use super::{
    SessionService, TokenSource,
    future::Site,
    lifetimes::{AAL1, AAL2, AAL3, Level, Lifetimes},
};
use crate::{
    codec::Codec,
    cookie::{SessionCookie, options::CookieOptions},
    sealing::FieldCipher,
    session::{
        ClientChangeAction, ClientFingerprint, ClientWatch, Renewal, SessionConfig, SessionContext,
        SessionName, Unnamed,
    },
    store::{DynStore, IntoStore, OnLimit, SessionLimit},
    ttl::Ttl,
};

const DAY: u64 = 24 * 60 * 60;

/// For how long a renewed secret's predecessor opens the session, once the new one was used.
const GRACE: Duration = Duration::from_secs(30);
const LONGEST_GRACE: Duration = Duration::from_secs(60 * 60);

/// Gives every request a session, and every response the cookie it needs.
///
/// It works around any tower service, reads and writes its own cookie, and does not need
/// `CookieManagerLayer`; where that one is used for other cookies, either order is fine. The
/// cookie is set only when the client's copy is out of date, and then with `Cache-Control:
/// no-store`.
///
/// Unless told otherwise, sessions end after 7 days without use and after 30 days in any case
/// (within AAL1 of NIST SP 800-63B-4).
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use ruts::{SessionLayer, store::memory::MemoryStore};
///
/// let layer = SessionLayer::new(MemoryStore::new())
///     .idle_timeout(Duration::from_secs(60 * 60))
///     .absolute_timeout(Duration::from_secs(24 * 60 * 60));
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
/// # drop(app);
/// ```
pub struct SessionLayer<L = Unnamed> {
    store: Arc<dyn DynStore>,
    config: SessionConfig,
    options: CookieOptions,
    source: TokenSource,
    clear: Vec<ClearSiteData>,
    development: bool,
    name: PhantomData<fn() -> L>,
}

/// What a browser can be told to clear when somebody has signed out (OWASP ASVS 5.0, 14.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClearSiteData {
    /// What it has cached of this origin.
    Cache,
    /// All cookies of this registrable domain, also those of other sites below it.
    Cookies,
    /// Local storage, databases and service workers of this origin.
    Storage,
}

impl SessionLayer {
    /// A layer that keeps sessions in `store`: a [`Store`](crate::store::Store), or an [`Arc`] of
    /// one.
    pub fn new(store: impl IntoStore) -> Self {
        Self {
            store: store.into_store(),
            config: SessionConfig {
                layer: "",
                idle: Some(Ttl::from_secs(7 * DAY)),
                absolute: Some(Ttl::from_secs(30 * DAY)),
                renewal: None,
                limit: None,
                sign_in_page: None,
                codec: Codec::DEFAULT,
                clients: None,
                cipher: FieldCipher::default(),
            },
            options: CookieOptions::build(),
            source: TokenSource::Cookie,
            clear: Vec::new(),
            development: false,
            name: PhantomData,
        }
    }
}

impl<L: SessionName> SessionLayer<L> {
    /// The layer of another session beside the unnamed one, with a cookie of its own. The two may
    /// share a store: the token of one opens nothing in the other.
    pub fn named<M: SessionName>(self) -> SessionLayer<M> {
        const { assert!(!M::NAME.is_empty(), "a named session needs a `NAME`") };
        SessionLayer {
            store: self.store,
            config: self.config,
            options: self.options,
            source: self.source,
            clear: self.clear,
            development: self.development,
            name: PhantomData,
        }
    }

    /// The cookie to use.
    ///
    /// # Panics
    ///
    /// The options contradict themselves or make an unsafe cookie. [`CookieOptions::check`] says so
    /// beforehand.
    #[must_use]
    pub fn with_cookie_options(mut self, options: CookieOptions) -> Self {
        if let Err(error) = options.check() {
            panic!("unusable `CookieOptions`: {error}");
        }
        self.options = options;
        self
    }

    /// Where requests carry their token: in the cookie unless told otherwise.
    #[must_use]
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.source = source;
        self
    }

    /// Tells the browser to clear what it keeps of the site when its session has ended, by the header
    /// `Clear-Site-Data`. Nothing unless told otherwise.
    ///
    /// ```
    /// use ruts::{ClearSiteData, SessionLayer, store::memory::MemoryStore};
    ///
    /// let layer = SessionLayer::new(MemoryStore::new())
    ///     .clear_site_data(&[ClearSiteData::Cache, ClearSiteData::Storage]);
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn clear_site_data(mut self, what: &[ClearSiteData]) -> Self {
        self.clear = what.to_vec();
        self
    }

    /// End a session that was not used for this long. Uses count once an eighth of it has passed,
    /// so that most requests write nothing.
    ///
    /// # Panics
    ///
    /// `timeout` is zero or above 100 years.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle = Some(Ttl::require(timeout));
        self
    }

    /// End a session this long after its start, however much it is used.
    ///
    /// # Panics
    ///
    /// `timeout` is zero or above 100 years.
    #[must_use]
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.config.absolute = Some(Ttl::require(timeout));
        self
    }

    /// Replace a session's secret when it is this old, although nothing else has changed. No request
    /// fails for it: the former secret is good until the client has used the new one, and goes on
    /// reading and writing for a [grace](Self::renewal_grace), for requests that were sent before. One
    /// round trip each time.
    ///
    /// Whoever uses the former one after that has a stale copy, or a stolen one: an event at level
    /// `WARN` says so.
    ///
    /// # Panics
    ///
    /// `age` is zero or above 100 years.
    #[must_use]
    pub fn renew_every(mut self, age: Duration) -> Self {
        let grace = self.config.renewal.map_or(GRACE, |renewal| renewal.grace);
        self.config.renewal = Some(Renewal { every: Ttl::require(age), grace });
        self
    }

    /// For how long a renewed secret's predecessor goes on opening the session, once the new one was
    /// used: 30 seconds unless set, an hour at most. Without [`renew_every`](Self::renew_every) it has no
    /// effect.
    #[must_use]
    pub fn renewal_grace(mut self, grace: Duration) -> Self {
        if let Some(renewal) = &mut self.config.renewal {
            renewal.grace = grace.clamp(Duration::from_secs(1), LONGEST_GRACE);
        }
        self
    }

    /// How many live sessions somebody may have at a time, and what happens at a sign-in beyond (OWASP
    /// ASVS 5.0, 7.1.2). Sessions of nobody are not counted.
    ///
    /// ```
    /// use ruts::{SessionLayer, store::{OnLimit, memory::MemoryStore}};
    ///
    /// let layer = SessionLayer::new(MemoryStore::new()).max_sessions(3, OnLimit::EndOldest);
    /// assert!(layer.describe().contains("at most 3 sessions"));
    /// ```
    ///
    /// # Panics
    ///
    /// `sessions` is zero.
    #[must_use]
    pub fn max_sessions(mut self, sessions: u32, on_limit: OnLimit) -> Self {
        assert!(sessions > 0, "somebody who may have no session cannot sign in");
        self.config.limit = Some(SessionLimit { sessions, on_limit });
        self
    }

    /// Where the guards [`Fresh`](crate::Fresh) and [`Aal`](crate::Aal) send a browser that asks for a page
    /// without somebody being signed in well enough: a path of this site. Other requests, and all of them
    /// without a page, get a 401.
    ///
    /// # Panics
    ///
    /// `path` does not begin with one slash, or holds what a header cannot.
    #[must_use]
    pub fn sign_in_page(mut self, path: &str) -> Self {
        let is_local = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
        match HeaderValue::from_str(path) {
            Ok(path) if is_local => self.config.sign_in_page = Some(path),
            _ => panic!("the page to sign in needs a path of this site, such as `/sign-in`"),
        }
        self
    }

    /// Compares what clients show of themselves with what they showed when somebody signed in, once in each
    /// request that uses its session, and has the names of what has changed judged (NIST SP 800-63B-4, 5.3).
    /// It is a signal, no proof: whoever steals a cookie can send the same headers.
    ///
    /// A request that writes before it has read pays one round trip for it.
    ///
    /// ```
    /// use ruts::{ClientFingerprint, ClientChangeAction, SessionLayer, http::header, store::memory::MemoryStore};
    ///
    /// let layer = SessionLayer::new(MemoryStore::new()).watch_clients(
    ///     |headers, _extensions| {
    ///         let header = |name| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    ///         ClientFingerprint::new()
    ///             .with("agent", header(header::USER_AGENT))
    ///             .with("language", header(header::ACCEPT_LANGUAGE))
    ///     },
    ///     |changed| if changed.len() > 1 { ClientChangeAction::End } else { ClientChangeAction::StepUp },
    /// );
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn watch_clients(
        mut self,
        describe: impl Fn(&HeaderMap, &Extensions) -> ClientFingerprint + Send + Sync + 'static,
        judge: impl Fn(&[&'static str]) -> ClientChangeAction + Send + Sync + 'static,
    ) -> Self {
        let watch = ClientWatch { describe: Arc::new(describe), judge: Arc::new(judge) };
        self.config.clients = Some(watch);
        self
    }

    /// Lifetimes within authentication assurance level 1 of NIST SP 800-63B-4: at most 30 days, and no
    /// limit without use but the one that was set. [`idle_timeout`](Self::idle_timeout) and
    /// [`absolute_timeout`](Self::absolute_timeout) can shorten what these three set.
    #[must_use]
    pub fn aal1(self) -> Self {
        self.within(&AAL1)
    }

    /// Lifetimes within authentication assurance level 2: at most 24 hours, and an hour without use.
    #[must_use]
    pub fn aal2(self) -> Self {
        self.within(&AAL2)
    }

    /// Lifetimes within authentication assurance level 3: at most 12 hours, and 15 minutes without use.
    #[must_use]
    pub fn aal3(self) -> Self {
        self.within(&AAL3)
    }

    fn within(mut self, level: &Level) -> Self {
        self.config.idle = level.idle.or(self.config.idle);
        self.config.absolute = Some(level.absolute);
        self
    }

    /// The lifetimes of its sessions in words, for the documentation that OWASP ASVS 5.0 (7.1.1) asks
    /// for, with the level of NIST SP 800-63B-4 that they keep to.
    ///
    /// ```
    /// use ruts::{SessionLayer, store::memory::MemoryStore};
    ///
    /// let text = SessionLayer::new(MemoryStore::new()).aal2().describe();
    /// assert!(text.contains("after 1 hour without use"));
    /// assert!(text.contains("within AAL2"));
    /// ```
    pub fn describe(&self) -> String {
        let SessionConfig { idle, renewal, limit, .. } = self.config;
        let renewal = renewal.map(|renewal| (renewal.every, renewal.grace));
        Lifetimes { idle, absolute: self.absolute(), renewal, limit }.to_string()
    }

    /// A cookie that ends before the session ends the session too.
    fn absolute(&self) -> Option<Ttl> {
        self.config.absolute.into_iter().chain(self.options.lifetime()).min()
    }

    /// The keys for fields marked `encrypt`: values are encrypted with the first, and decrypted with the one
    /// that they name. Without keys, writing such a field is an [`Error::Encode`](crate::Error::Encode).
    ///
    /// ```
    /// use ruts::{KeyRing, SessionLayer, session, store::memory::MemoryStore};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(ttl = "1h", encrypt)]
    ///     address: String,
    /// }
    ///
    /// let ring = KeyRing::new([b"32 bytes at least, from your vault"])?;
    /// let layer = SessionLayer::new(MemoryStore::new()).encryption_keys(ring);
    /// # drop(layer);
    /// # Ok::<(), ruts::KeyError>(())
    /// ```
    #[cfg(feature = "encrypt")]
    #[must_use]
    pub fn encryption_keys(mut self, keys: impl Into<crate::KeyRing>) -> Self {
        self.config.cipher.keys = Some(keys.into());
        self
    }

    /// How values that are set by name are written. Typed fields name their own codec.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.config.codec = codec;
        self
    }

    /// Development mode: a cookie that works over plain http.
    ///
    /// It has another name and no `Secure`, and only clients that ask a loopback name (`localhost`,
    /// `127.0.0.1`, `[::1]`) have sessions. For others, and where a proxy or another site shows in
    /// the headers, cookies are ignored and writes fail with
    /// [`Error::NotLoopback`](crate::Error::NotLoopback), so that it does not go unnoticed into
    /// production. A proxy that hides behind a loopback name and tells nothing of itself is not
    /// recognised.
    #[must_use]
    pub fn development(mut self) -> Self {
        tracing::warn!("session cookies are in development mode: plain http, loopback only");
        self.development = true;
        self
    }
}

fn directives<'a>(what: impl Iterator<Item = &'a ClearSiteData>) -> Option<HeaderValue> {
    let directive = |what: &ClearSiteData| match what {
        ClearSiteData::Cache => "\"cache\"",
        ClearSiteData::Cookies => "\"cookies\"",
        ClearSiteData::Storage => "\"storage\"",
    };
    let directives: Vec<&str> = what.map(directive).collect();
    HeaderValue::try_from(directives.join(", ")).ok().filter(|_| !directives.is_empty())
}

impl<S, L: SessionName> Layer<S> for SessionLayer<L> {
    type Service = SessionService<S, L>;

    fn layer(&self, inner: S) -> SessionService<S, L> {
        let cookie = match SessionCookie::new(&self.options, L::NAME, self.development) {
            Ok(cookie) => cookie,
            // The options were checked: what is left to be wrong is the name.
            Err(error) => panic!("unusable `SessionName::NAME`: {error}"),
        };
        let mut config = self.config.clone();
        config.layer = L::NAME;
        config.absolute = self.absolute();
        let site = Site {
            context: Arc::new(SessionContext { store: Arc::clone(&self.store), config }),
            development: self.development,
            cookie,
            source: self.source,
            clear: directives(self.clear.iter()),
            clear_and_begin: directives(
                self.clear.iter().filter(|what| **what != ClearSiteData::Cookies),
            ),
        };
        SessionService::new(inner, site)
    }
}

impl<L> Clone for SessionLayer<L> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            config: self.config.clone(),
            options: self.options.clone(),
            source: self.source,
            clear: self.clear.clone(),
            development: self.development,
            name: PhantomData,
        }
    }
}

impl<L> fmt::Debug for SessionLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("store", &self.store.store_type().name)
            .field("config", &self.config)
            .field("cookie", &self.options)
            .field("source", &self.source)
            .field("development", &self.development)
            .finish()
    }
}
