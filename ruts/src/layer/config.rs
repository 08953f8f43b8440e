//! [`SessionLayer`]: the tower layer, and the builder methods for sessions and their cookie.
//!
//! Built by applications. Passes its settings to `session::SessionConfig`, `cookie` and `service`.
//! Does not handle requests.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderValue};
use tower_layer::Layer;

use super::{
    development::allowed_name,
    future::LayerState,
    lifetimes::{AAL1, AAL2, AAL3, Level, Lifetimes},
    service::SessionService,
    token_source::TokenSource,
};
use crate::{
    client::{ClientChangeAction, ClientFingerprint, ClientWatch},
    codec::Codec,
    cookie::{SessionCookie, options::CookieOptions},
    crypto::field_cipher::FieldCipher,
    event,
    local_path::is_local_path,
    session::{
        DefaultLayer, LayerIdentity, LayerName, SessionConfig, SessionContext, TypedSession,
        Unreadable,
    },
    store::{DynStore, IntoStore, OnLimit, SessionLimit},
    ttl::Ttl,
};

const DAY: u64 = 24 * 60 * 60;

/// Default and maximum of the grace period of a former secret.
const GRACE: Duration = Duration::from_secs(30);
const LONGEST_GRACE: Duration = Duration::from_secs(60 * 60);

/// Gives every request a session, and adds the cookie to responses that have to set it.
///
/// The layer wraps any tower service, and reads and writes its own cookie. It does not need a
/// `CookieManagerLayer` of tower-cookies, and works inside or outside one. With the feature
/// `tower-cookies`, a layer inside a `CookieManagerLayer` reads its cookie from the jar and writes
/// it to the jar. So other layers see the cookie in `Cookies`, and can replace it.
///
/// A response sets the cookie only if the client's copy is out of date. Such a response has
/// `Cache-Control: no-store`.
///
/// By default a session ends after 7 days without activity. It also ends 30 days after its start or
/// its latest sign-in. Both limits are within AAL1 of NIST SP 800-63B-4.
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
pub struct SessionLayer<L = DefaultLayer> {
    store: Arc<dyn DynStore>,
    config: SessionConfig,
    options: CookieOptions,
    source: TokenSource,
    clear: Vec<ClearSiteData>,
    level: Option<&'static Level>,
    /// Hosts of development mode besides the loopback names. `None` outside development mode.
    development: Option<Arc<[String]>>,
    /// Shared by all clones of the layer.
    identity: Arc<LayerIdentity>,
    name: PhantomData<fn() -> L>,
}

/// A kind of data that a browser can be asked to clear after its session has ended (OWASP ASVS 5.0,
/// 14.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClearSiteData {
    /// Cached responses of this origin.
    Cache,
    /// All cookies of the registrable domain, including the cookies of its other hosts.
    Cookies,
    /// Local storage, databases and service workers of this origin.
    Storage,
}

impl SessionLayer {
    /// Creates a layer that keeps sessions in `store`: a [`Store`](crate::store::Store), or an
    /// [`Arc`] of one.
    pub fn new(store: impl IntoStore) -> Self {
        Self {
            store: store.into_store(),
            config: SessionConfig {
                layer: "",
                idle: Some(Ttl::from_secs(7 * DAY)),
                absolute: Some(Ttl::from_secs(30 * DAY)),
                renew_every: None,
                renewal_grace: GRACE,
                cookie_life: None,
                limit: None,
                sign_in_page: None,
                codec: Codec::DEFAULT_BY_NAME,
                clients: None,
                cipher: FieldCipher::default(),
                unreadable: Unreadable::Error,
            },
            options: CookieOptions::build(),
            source: TokenSource::Cookie,
            clear: Vec::new(),
            level: None,
            development: None,
            identity: Arc::new(LayerIdentity::new()),
            name: PhantomData,
        }
    }
}

impl<L: LayerName> SessionLayer<L> {
    /// Names the layer. A named layer gives a request a second session with a separate cookie, in
    /// addition to the session of the unnamed layer. Layers may share a store, because no layer
    /// accepts the tokens of another layer.
    pub fn named<M: LayerName>(self) -> SessionLayer<M> {
        const { assert!(!M::NAME.is_empty(), "`LayerName::NAME` must not be empty") };
        SessionLayer {
            store: self.store,
            config: self.config,
            options: self.options,
            source: self.source,
            clear: self.clear,
            level: self.level,
            development: self.development,
            identity: Arc::new(LayerIdentity::new()),
            name: PhantomData,
        }
    }

    /// Returns the same layer over another store, for a companion crate that tries out what a
    /// handler does.
    #[doc(hidden)]
    #[must_use]
    pub fn with_store(&self, store: impl IntoStore) -> Self {
        Self { store: store.into_store(), identity: Arc::new(LayerIdentity::new()), ..self.clone() }
    }

    /// Sets the options of the cookie.
    ///
    /// # Panics
    ///
    /// Panics if the options contradict each other, or make an unsafe cookie.
    /// [`CookieOptions::check`] finds such options without a panic.
    #[must_use]
    #[track_caller]
    pub fn with_cookie_options(mut self, options: CookieOptions) -> Self {
        if let Err(error) = options.check() {
            panic!("unusable `CookieOptions`: {error}");
        }
        self.options = options;
        self
    }

    /// Returns the name of the cookie with its prefix, for example for an OpenAPI document or the
    /// rules of a proxy.
    ///
    /// ```
    /// use ruts::{CookieOptions, SessionLayer, store::memory::MemoryStore};
    ///
    /// let layer = SessionLayer::new(MemoryStore::new());
    /// assert_eq!(layer.cookie_name(), "__Host-id");
    /// let layer = layer.with_cookie_options(CookieOptions::build().name("shop").path("/shop"));
    /// assert_eq!(layer.cookie_name(), "__Secure-shop");
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `L::NAME` cannot be part of a cookie's name.
    #[track_caller]
    pub fn cookie_name(&self) -> String {
        self.cookie().name().to_owned()
    }

    #[track_caller]
    fn cookie(&self) -> SessionCookie {
        match SessionCookie::new(&self.options, L::NAME, self.development.is_some()) {
            Ok(cookie) => cookie,
            // The options were checked, so only the name of the layer can be the cause.
            Err(error) => panic!("unusable `LayerName::NAME`: {error}"),
        }
    }

    /// Sets where requests carry their token. By default they carry it in the cookie.
    #[must_use]
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.source = source;
        self
    }

    /// Sends the header `Clear-Site-Data` when a request has ended its session, so that the browser
    /// clears data of the site. By default, the header is not sent.
    ///
    /// ```
    /// use ruts::{SessionLayer, layer::ClearSiteData, store::memory::MemoryStore};
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

    /// Declares the fields of a schema before its first use.
    ///
    /// A layer learns the fields of a schema when a handler first extracts it. Until then, methods
    /// that name a field, such as [`Session::remove`](crate::Session::remove), do not know how the
    /// field is declared. So a removal of the principal field does not sign out. Call this method
    /// if handlers use declared fields by name, or if several layers share a store.
    ///
    /// ```
    /// use ruts::{SessionLayer, session, store::memory::MemoryStore};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(principal)]
    ///     user: u64,
    /// }
    ///
    /// let layer = SessionLayer::new(MemoryStore::new()).schema::<Shop>();
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if another schema of the layer declares a field of the same stored name differently.
    #[must_use]
    #[track_caller]
    pub fn schema<T: TypedSession<Layer = L>>(self) -> Self {
        if let Err(conflict) = self.identity.schemas.register(T::SCHEMA, T::SHAPES) {
            panic!("{conflict}");
        }
        self
    }

    /// Ends a session after `timeout` without activity. A use moves the deadline only if an eighth
    /// of `timeout` has passed since the deadline was last moved. So most reads do not write to the
    /// store.
    ///
    /// A use never moves the deadline back. If a deploy shortens the timeout, a session that is in
    /// use keeps its deadline until the new timeout leads to a later one.
    ///
    /// # Panics
    ///
    /// Panics if `timeout` is zero or above 100 years.
    #[must_use]
    #[track_caller]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle = Some(Ttl::from_duration(timeout));
        self
    }

    /// Ends a session when `timeout` has passed since its start or its latest sign-in, even if it
    /// is in use. If a deploy shortens the timeout, earlier sessions keep their deadlines.
    ///
    /// # Panics
    ///
    /// Panics if `timeout` is zero or above 100 years.
    #[must_use]
    #[track_caller]
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.config.absolute = Some(Ttl::from_duration(timeout));
        self
    }

    /// Replaces the secret of a session when the secret has reached this age. Each renewal costs
    /// one round trip. A request that only sets or takes fields does not know the age, so the next
    /// request that reads a field renews the secret.
    ///
    /// The former secret stays valid until the client has used the new secret, and for a [grace
    /// period](Self::renewal_grace) after that. In the grace period a request with the former
    /// secret can read and write fields and end the session. It cannot replace the secret, change
    /// the principal or move a deadline. A later use of the former secret is a sign of a stale or
    /// stolen copy, and is logged at `WARN`.
    ///
    /// # Panics
    ///
    /// Panics if `age` is zero or above 100 years.
    #[must_use]
    #[track_caller]
    pub fn renew_every(mut self, age: Duration) -> Self {
        self.config.renew_every = Some(Ttl::from_duration(age));
        self
    }

    /// Sets how long the former secret stays valid after the first use of the new secret: 30
    /// seconds by default. A time below one second counts as one second, and a time above one hour
    /// as one hour. Secrets are renewed by [`renew_every`](Self::renew_every), and whenever a
    /// cookie with a lifetime is extended.
    #[must_use]
    pub fn renewal_grace(mut self, grace: Duration) -> Self {
        self.config.renewal_grace = grace.clamp(Duration::from_secs(1), LONGEST_GRACE);
        self
    }

    /// Limits the live sessions of a principal (OWASP ASVS 5.0, 7.1.2). Sessions of guests do not
    /// count.
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
    /// Panics if `sessions` is zero.
    #[must_use]
    #[track_caller]
    pub fn max_sessions(mut self, sessions: u32, on_limit: OnLimit) -> Self {
        assert!(sessions > 0, "`max_sessions` must be at least 1");
        self.config.limit = Some(SessionLimit::new(sessions, on_limit));
        self
    }

    /// Sets the sign-in page, a path of this site. If a browser asks for a page or submits a form
    /// without a sufficient sign-in, the guards of `ruts::guard` redirect it to the sign-in page.
    /// The parameter `next` of the redirect holds the requested page, or the page of the form, for
    /// `ruts::guard::Next`. Requests that do not accept HTML get a 401. If no sign-in page is set,
    /// browsers get a 401, too.
    ///
    /// Do not put the layer inside `Router::nest`. There it would see paths without the prefix, so
    /// `next` would lack the prefix.
    ///
    /// # Panics
    ///
    /// Panics if `path` does not begin with exactly one slash, or contains a backslash or a
    /// character that a header cannot contain.
    #[must_use]
    #[track_caller]
    pub fn sign_in_page(mut self, path: &str) -> Self {
        let is_header = HeaderValue::from_str(path).is_ok();
        assert!(
            is_header && is_local_path(path),
            "the sign-in page has to be a path of this site, such as `/sign-in`"
        );
        self.config.sign_in_page = Some(path.to_owned());
        self
    }

    /// Compares the client of a request with the client of the sign-in, if the request uses its
    /// session (NIST SP 800-63B-4, 5.3). `describe` returns the properties of a client. If some
    /// properties differ, `judge` gets their names, and returns the reaction.
    ///
    /// A difference is only a signal, because a thief of a cookie can send the same headers. A
    /// request that writes before it reads needs one more round trip.
    ///
    /// ```
    /// use ruts::{
    ///     SessionLayer,
    ///     client::{ClientChangeAction, ClientFingerprint},
    ///     http::header,
    ///     store::memory::MemoryStore,
    /// };
    ///
    /// let layer = SessionLayer::new(MemoryStore::new()).watch_clients(
    ///     |headers, _extensions| {
    ///         let header = |name| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    ///         ClientFingerprint::new()
    ///             .with("agent", header(header::USER_AGENT))
    ///             .with("language", header(header::ACCEPT_LANGUAGE))
    ///     },
    ///     |changed| match changed.len() {
    ///         0 | 1 => ClientChangeAction::StepUp,
    ///         _ => ClientChangeAction::End,
    ///     },
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

    /// Bounds the lifetimes by authentication assurance level 1 of NIST SP 800-63B-4: at most 30
    /// days.
    ///
    /// A level sets upper bounds. [`idle_timeout`](Self::idle_timeout) and
    /// [`absolute_timeout`](Self::absolute_timeout) can only shorten the lifetimes of a level,
    /// whether they are called before or after the method of the level.
    #[must_use]
    pub fn aal1(self) -> Self {
        self.within(&AAL1)
    }

    /// Bounds the lifetimes by authentication assurance level 2: at most 24 hours, and one hour
    /// without activity.
    #[must_use]
    pub fn aal2(self) -> Self {
        self.within(&AAL2)
    }

    /// Bounds the lifetimes by authentication assurance level 3: at most 12 hours, and 15 minutes
    /// without activity.
    #[must_use]
    pub fn aal3(self) -> Self {
        self.within(&AAL3)
    }

    fn within(mut self, level: &'static Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Returns the settings with all bounds applied: the bounds of the level and of the cookie.
    fn resolved(&self) -> SessionConfig {
        let mut config = self.config.clone();
        let level = self.level;
        config.cookie_life = self.options.lifetime();
        // A use of the session extends the cookie. Without a use the cookie expires, so the session
        // may expire, too.
        let bounds = [level.and_then(|level| level.idle), config.idle, config.cookie_life];
        config.idle = bounds.into_iter().flatten().min();
        let bounds = [level.map(|level| level.absolute), config.absolute];
        config.absolute = bounds.into_iter().flatten().min();
        config
    }

    /// Describes the lifetimes of sessions and their level of NIST SP 800-63B-4 as text, for the
    /// documentation that OWASP ASVS 5.0 (7.1.1) requires.
    ///
    /// ```
    /// use ruts::{SessionLayer, store::memory::MemoryStore};
    ///
    /// let text = SessionLayer::new(MemoryStore::new()).aal2().describe();
    /// assert!(text.contains("after 1 hour without use"));
    /// assert!(text.contains("within AAL2"));
    /// ```
    pub fn describe(&self) -> String {
        let config = self.resolved();
        let SessionConfig { idle, absolute, limit, cookie_life: cookie, .. } = config;
        let renewal = config.renew_every.map(|every| (every, config.renewal_grace));
        Lifetimes { idle, absolute, cookie, renewal, limit }.to_string()
    }

    /// Sets the keys for fields marked `encrypt`. The first key encrypts. A value is decrypted with
    /// the key that it names. Without keys, writing such a field fails with
    /// [`Error::Encode`](crate::Error::Encode).
    ///
    /// ```
    /// use ruts::{SessionLayer, crypto::{KeyError, KeyRing}, session, store::memory::MemoryStore};
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
    /// # Ok::<(), KeyError>(())
    /// ```
    #[cfg(feature = "encrypt")]
    #[must_use]
    pub fn encryption_keys(mut self, keys: impl Into<crate::crypto::KeyRing>) -> Self {
        self.config.cipher.keys = Some(keys.into());
        self
    }

    /// Sets the codec of values that are set by name. A declared field uses the codec of its spec.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.config.codec = codec;
        self
    }

    /// Sets the result of reading a stored value that does not fit the type of its field:
    /// [`Unreadable::Error`] by default.
    ///
    /// With [`Unreadable::Absent`], a user may lose a cart instead of seeing an error. These values
    /// still cause an error:
    ///
    /// - a value of a newer version,
    /// - a value that cannot be decrypted,
    /// - an unencrypted value of a field that requires encryption.
    ///
    /// ```
    /// use ruts::{SessionLayer, session::Unreadable, store::memory::MemoryStore};
    ///
    /// let layer = SessionLayer::new(MemoryStore::new()).unreadable(Unreadable::Absent);
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn unreadable(mut self, unreadable: Unreadable) -> Self {
        self.config.unreadable = unreadable;
        self
    }

    /// Switches to development mode, in which the cookie works over plain http.
    ///
    /// The cookie has a different name and no `Secure`, and `SameSite=Lax` in place of `None`. It
    /// has a `Domain` only if the host in the request belongs to the configured domain. Only
    /// requests for a loopback name (`localhost`, `127.0.0.1`, `[::1]`) have sessions. A request
    /// that asks for a different host, or comes through a proxy or from another site, has no
    /// session. Its cookies are ignored, and its writes fail with
    /// [`Error::NotLoopback`](crate::Error::NotLoopback). An event at `WARN` names the reason, so
    /// the mode cannot reach production unnoticed. A proxy is not recognised if it asks for a
    /// loopback name and adds none of the usual headers.
    #[must_use]
    pub fn development(self) -> Self {
        self.development_on([] as [&str; 0])
    }

    /// Switches to [development mode](Self::development), and allows more hosts, such as the name
    /// of a container or an address in the local network. A scheme and a port are ignored.
    ///
    /// ```
    /// use ruts::{SessionLayer, store::memory::MemoryStore};
    ///
    /// let layer = SessionLayer::new(MemoryStore::new()).development_on(["web", "192.168.1.5"]);
    /// # drop(layer);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if a host is neither a name nor an address, for example if it has a wildcard.
    #[must_use]
    #[track_caller]
    pub fn development_on<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        let mut names = Vec::new();
        for host in hosts {
            let host = host.into();
            match allowed_name(&host) {
                Some(name) => names.push(name),
                None => {
                    panic!("`development_on` needs the name or the address of a host, not {host:?}")
                }
            }
        }
        let hosts: Arc<[String]> = names.into();
        tracing::warn!(
            more_hosts = ?hosts,
            "session cookies are in development mode: plain http, on loopback names and `more_hosts`"
        );
        self.development = Some(hosts);
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

impl<S, L: LayerName> Layer<S> for SessionLayer<L> {
    type Service = SessionService<S, L>;

    #[track_caller]
    fn layer(&self, inner: S) -> SessionService<S, L> {
        event::layer_applied();
        let cookie = self.cookie();
        let config = SessionConfig { layer: L::NAME, ..self.resolved() };
        let context = Arc::new(SessionContext {
            store: Arc::clone(&self.store),
            config,
            layer: Arc::clone(&self.identity),
            settings: format!("{self:?}"),
            cookie: self.source.reads_cookie().then(|| cookie.name().to_owned()),
            reads_header: self.source.reads_header(),
        });
        let other = cookie.without_domain().filter(|_| self.development.is_some());
        let state = |cookie| LayerState {
            context: Arc::clone(&context),
            development: self.development.clone(),
            cookie,
            source: self.source,
            clear: directives(self.clear.iter()),
            clear_and_begin: directives(
                self.clear.iter().filter(|what| **what != ClearSiteData::Cookies),
            ),
        };
        SessionService::new(inner, state(cookie), other.map(state))
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
            level: self.level,
            development: self.development.clone(),
            identity: Arc::clone(&self.identity),
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
            .field("clear", &self.clear)
            .field("level", &self.level.map(|level| level.name))
            .field("development", &self.development)
            .finish()
    }
}
