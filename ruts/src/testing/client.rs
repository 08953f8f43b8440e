//! A [`Client`] that keeps cookies like a browser, for tests of applications.
//!
//! Called by `security`, `act` and tests of applications. Knows HTTP, cookies and a clock, and
//! nothing about sessions.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower_service::Service;

use crate::{
    layer::token_source::SESSION_TOKEN,
    store::memory::{Clock, ManualClock},
};

/// Header that shows whether a request comes from a page of another site.
pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Check = Arc<dyn Fn(&Reply) + Send + Sync>;

/// Calls an application without a network, and keeps its cookies like a browser over HTTPS.
///
/// Clones share the cookies, like tabs of one browser. Redirects are not followed. A cookie is
/// refused if its attributes do not match its prefix (RFC 6265bis, 5.7). Apart from that, `Path`
/// and `Domain` are ignored: the client has one host, and sends its cookies to every path.
///
/// A cookie lives as long as `Max-Age` or else `Expires` says, by the clock of
/// [`with_clock`](Self::with_clock). A cookie without both lives until [`close`](Self::close).
///
/// A client of an application with [`TokenSource::Header`](crate::layer::TokenSource::Header) keeps
/// the token of the response header `Session-Token`. It sends the token as `Authorization: Bearer`,
/// unless a request has that header already.
///
/// A request with the header `Sec-Fetch-Site: cross-site` comes from a page of another site. It
/// does not carry `SameSite=Strict` cookies. It carries a `SameSite=Lax` cookie only if its method
/// is safe, such as the `GET` of a link (RFC 6265bis, 5.6.7.1).
///
/// ```
/// use axum::{Router, routing::get};
/// use ruts::{SessionLayer, Session, store::memory::MemoryStore, testing::Client};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let visit = |session: Session| async move { session.set("visited", &true, None, None).await };
/// let layer = SessionLayer::new(MemoryStore::new());
/// let app: Router = Router::new().route("/", get(visit)).layer(layer);
/// let client = Client::new(app);
/// client.get("/").await;
/// assert!(client.cookie("__Host-id").is_some());
/// assert!(client.stranger().cookie("__Host-id").is_none());
/// # });
/// ```
#[derive(Clone)]
pub struct Client {
    app: Arc<dyn Fn(Request<Full<Bytes>>) -> Answer + Send + Sync>,
    jar: Arc<Mutex<Jar>>,
    headers: HeaderMap,
    check: Option<Check>,
    clock: ManualClock,
}

/// The cookies and the token of a client.
#[derive(Clone, Default)]
struct Jar {
    cookies: BTreeMap<String, Kept>,
    /// Token of the last `Session-Token` header.
    token: Option<HeaderValue>,
}

/// A cookie in the jar of a client.
#[derive(Clone)]
struct Kept {
    value: String,
    same_site: Option<SameSite>,
    /// The time of the clock at which the cookie expires. `None` if it lives until the browser is
    /// closed.
    expires_at: Option<Duration>,
}

/// A response, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status of the response.
    pub status: StatusCode,
    /// All headers of the response.
    pub headers: HeaderMap,
    /// The whole body of the response.
    pub body: Bytes,
}

impl Reply {
    /// Returns the body as text. Bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the cookies that the response sets or removes.
    ///
    /// # Panics
    ///
    /// Panics if a `Set-Cookie` header is malformed.
    #[track_caller]
    pub fn set_cookies(&self) -> Vec<Cookie<'static>> {
        let headers = self.headers.get_all(header::SET_COOKIE).iter();
        let cookie = |header: &HeaderValue| {
            let text = header.to_str().expect("`Set-Cookie` should be printable ASCII").to_owned();
            Cookie::parse(text).expect("`Set-Cookie` should be well-formed")
        };
        headers.map(cookie).collect()
    }
}

impl Client {
    /// Creates a client without cookies, on the host `app.example`.
    pub fn new<S, R>(app: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: fmt::Debug,
        S::Future: Send,
        R: Body<Data: Send, Error: fmt::Debug> + Send + 'static,
    {
        let app = move |request| -> Answer { Box::pin(call(app.clone(), request)) };
        let host = (header::HOST, HeaderValue::from_static("app.example"));
        Self {
            app: Arc::new(app),
            jar: Arc::default(),
            headers: [host].into_iter().collect(),
            check: None,
            clock: ManualClock::new(),
        }
    }

    /// Makes cookies expire by this clock. A test usually gives the same clock to its
    /// [`MemoryStore`](crate::store::memory::MemoryStore). By default, the time of a client stands
    /// still.
    #[must_use]
    pub fn with_clock(mut self, clock: &ManualClock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Adds a header, such as `Host` or `Origin`, to every request that does not have that header.
    /// A later call with the same name replaces the value.
    ///
    /// # Panics
    ///
    /// Panics if `value` is not a valid header value.
    #[must_use]
    #[track_caller]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("the header value should be valid");
        self.headers.insert(name, value);
        self
    }

    /// Runs `check` on every reply before it is returned, for rules that all replies must follow.
    #[must_use]
    pub fn on_reply(mut self, check: impl Fn(&Reply) + Send + Sync + 'static) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Returns a client with its own copy of the cookies: for example for a thief, or for a tab
    /// whose responses are late.
    #[must_use]
    pub fn steal(&self) -> Self {
        let jar = Arc::new(Mutex::new(self.jar().clone()));
        Self { jar, ..self.clone() }
    }

    /// Returns a client without cookies.
    #[must_use]
    pub fn stranger(&self) -> Self {
        Self { jar: Arc::default(), ..self.clone() }
    }

    /// Returns a client with the cookies of this one and the application of `other`, such as the
    /// same application after a restart.
    #[must_use]
    pub fn after_a_restart(self, other: &Self) -> Self {
        Self { app: Arc::clone(&other.app), ..self }
    }

    /// Returns the value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().cookies.get(name).map(|kept| kept.value.clone())
    }

    /// Returns the names of all cookies.
    pub fn cookies(&self) -> Vec<String> {
        self.jar().cookies.keys().cloned().collect()
    }

    /// Adds a cookie without attributes, as an attacker could.
    pub fn plant(&self, name: &str, value: &str) {
        let kept = Kept { value: value.to_owned(), same_site: None, expires_at: None };
        self.jar().cookies.insert(name.to_owned(), kept);
    }

    /// Removes a cookie.
    pub fn forget(&self, name: &str) {
        self.jar().cookies.remove(name);
    }

    /// Removes the cookies that have neither `Max-Age` nor `Expires`, as a browser does when it is
    /// closed.
    pub fn close(&self) {
        self.jar().cookies.retain(|_, kept| kept.expires_at.is_some());
    }

    /// Requests a page.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`send`](Self::send).
    pub async fn get(&self, path: &str) -> Reply {
        self.send(request(Method::GET, path, "")).await
    }

    /// Sends a form, encoded as `name=value&..`.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`send`](Self::send).
    pub async fn post(&self, path: &str, form: &str) -> Reply {
        self.send(request(Method::POST, path, form)).await
    }

    /// Sends a request with the client's headers and cookies.
    ///
    /// # Panics
    ///
    /// Panics if the application fails, or the body of its response cannot be read to the end.
    pub async fn send(&self, request: Request<String>) -> Reply {
        let mut request = request.map(|body| Full::from(Bytes::from(body)));
        for (name, value) in &self.headers {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        let site = request.headers().get(SEC_FETCH_SITE);
        let is_cross_site = site.is_some_and(|site| site == "cross-site");
        let is_sent = |kept: &Kept| match kept.same_site {
            Some(SameSite::Strict) => !is_cross_site,
            Some(SameSite::Lax) => !is_cross_site || request.method().is_safe(),
            Some(SameSite::None) | None => true,
        };
        let cookies: Vec<String> = (self.jar().cookies.iter())
            .filter(|(_, kept)| is_sent(kept))
            .map(|(name, kept)| format!("{name}={}", kept.value))
            .collect();
        if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::try_from(cookies.join("; ")))
        {
            request.headers_mut().append(header::COOKIE, value);
        }
        if let Some(token) = self.jar().token.clone() {
            request.headers_mut().entry(header::AUTHORIZATION).or_insert(token);
        }
        let reply = (self.app)(request).await;
        for cookie in reply.set_cookies() {
            self.store(&cookie);
        }
        if let Some(token) = reply.headers.get(SESSION_TOKEN) {
            let bearer = HeaderValue::from_bytes(&[b"Bearer ", token.as_bytes()].concat());
            self.jar().token = bearer.ok().filter(|_| !token.is_empty());
        }
        if let Some(check) = &self.check {
            check(&reply);
        }
        reply
    }

    fn store(&self, cookie: &Cookie<'_>) {
        let name = cookie.name().to_ascii_lowercase();
        let is_secure = cookie.secure() == Some(true);
        let is_host = is_secure && cookie.path() == Some("/") && cookie.domain().is_none();
        if name.starts_with("__host-") && !is_host || name.starts_with("__secure-") && !is_secure {
            return;
        }
        let kept = Kept {
            value: cookie.value().to_owned(),
            same_site: cookie.same_site(),
            expires_at: lifetime(cookie).map(|life| self.clock.now().saturating_add(life)),
        };
        self.jar().cookies.insert(cookie.name().to_owned(), kept);
    }

    /// Returns the jar, without expired cookies.
    fn jar(&self) -> MutexGuard<'_, Jar> {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        jar.cookies.retain(|_, kept| kept.expires_at.is_none_or(|at| at > now));
        jar
    }
}

/// Returns the remaining lifetime of a cookie: zero if the cookie has expired or is a removal.
/// `None` if it has no `Max-Age` and no `Expires`. `Max-Age` wins over `Expires` (RFC 6265bis,
/// 5.7).
fn lifetime(cookie: &Cookie<'_>) -> Option<Duration> {
    let expires = || {
        let at = SystemTime::from(cookie.expires_datetime()?);
        Some(at.duration_since(SystemTime::now()).unwrap_or_default())
    };
    let max_age = cookie.max_age().map(|age| age.try_into().unwrap_or_default());
    max_age.or_else(expires)
}

fn request(method: Method, path: &str, form: &str) -> Request<String> {
    let mut request = Request::new(form.to_owned());
    *request.uri_mut() = path.parse().expect("the path should be a valid URI");
    if method == Method::POST {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
    }
    *request.method_mut() = method;
    request
}

async fn call<S, R>(mut app: S, request: Request<Full<Bytes>>) -> Reply
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: fmt::Debug,
    R: Body<Error: fmt::Debug>,
{
    poll_fn(|cx| app.poll_ready(cx)).await.expect("the application should be ready");
    let response = app.call(request).await.expect("the application should return a response");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the body should be readable").to_bytes();
    Reply { status: parts.status, headers: parts.headers, body }
}

/// Shows only the names of the cookies.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("cookies", &self.cookies()).finish()
    }
}
