use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use cookie::Cookie;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower_service::Service;

type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Asks an application without a network, and keeps its cookies as a browser does over https.
///
/// Clones are tabs: they share the cookies. Redirections are not followed. A cookie whose prefix promises
/// what its attributes do not keep is refused (RFC 6265bis, 5.7); `Path` and `Domain` do not matter, since
/// there is one host.
///
/// ```
/// use axum::{Router, routing::get};
/// use ruts::{SessionLayer, Session, store::memory::MemoryStore, testing::Client};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let visit = |session: Session| async move { session.set("visited", &true, None, None).await };
/// let app: Router = Router::new().route("/", get(visit)).layer(SessionLayer::new(MemoryStore::new()));
/// let client = Client::new(app);
/// client.get("/").await;
/// assert!(client.cookie("__Host-id").is_some());
/// assert!(client.stranger().cookie("__Host-id").is_none());
/// # });
/// ```
#[derive(Clone)]
pub struct Client {
    app: Arc<dyn Fn(Request<Full<Bytes>>) -> Answer + Send + Sync>,
    jar: Arc<Mutex<BTreeMap<String, String>>>,
    headers: HeaderMap,
}

/// What a client got.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The cookies that it sets or removes.
    ///
    /// # Panics
    ///
    /// A `Set-Cookie` cannot be read.
    pub fn set_cookies(&self) -> Vec<Cookie<'static>> {
        let headers = self.headers.get_all(header::SET_COOKIE).iter();
        let cookie = |header: &HeaderValue| {
            let text = header.to_str().expect("a `Set-Cookie` is printable").to_owned();
            Cookie::parse(text).expect("a `Set-Cookie` holds a cookie")
        };
        headers.map(cookie).collect()
    }
}

impl Client {
    /// A client without cookies, on the host `app.example`.
    pub fn new<S, R>(app: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: fmt::Debug,
        S::Future: Send,
        R: Body<Data: Send, Error: fmt::Debug> + Send + 'static,
    {
        let ask = move |request| -> Answer { Box::pin(ask(app.clone(), request)) };
        let headers = [(header::HOST, HeaderValue::from_static("app.example"))];
        Self { app: Arc::new(ask), jar: Arc::default(), headers: headers.into_iter().collect() }
    }

    /// The same client, which sends this header with every request, in place of one of that name: another
    /// `Host`, an `Origin`.
    ///
    /// # Panics
    ///
    /// `value` is none for a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("the value of a header");
        self.headers.insert(name, value);
        self
    }

    /// Somebody else's client, with a copy of the cookies: a thief, or a slow tab.
    #[must_use]
    pub fn steal(&self) -> Self {
        let jar = Arc::new(Mutex::new(self.jar().clone()));
        Self { jar, ..self.clone() }
    }

    /// Another client without cookies.
    #[must_use]
    pub fn stranger(&self) -> Self {
        Self { jar: Arc::default(), ..self.clone() }
    }

    /// The same cookies with another application, such as the one that was started again.
    #[must_use]
    pub fn after_a_restart(self, other: &Self) -> Self {
        Self { app: Arc::clone(&other.app), ..self }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    /// The names of all cookies.
    pub fn cookies(&self) -> Vec<String> {
        self.jar().keys().cloned().collect()
    }

    /// Puts a cookie into the jar, as an attacker would.
    pub fn plant(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    /// Removes a cookie from the jar.
    pub fn forget(&self, name: &str) {
        self.jar().remove(name);
    }

    /// Asks for a page.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub async fn get(&self, path: &str) -> Reply {
        self.send(request(Method::GET, path, "")).await
    }

    /// Sends a form, encoded as `name=value&..`.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub async fn post(&self, path: &str, form: &str) -> Reply {
        self.send(request(Method::POST, path, form)).await
    }

    /// Sends a request with the client's headers and cookies.
    ///
    /// # Panics
    ///
    /// The application failed, or sent a body that cannot be read to its end.
    pub async fn send(&self, request: Request<String>) -> Reply {
        let mut request = request.map(|body| Full::from(Bytes::from(body)));
        for (name, value) in &self.headers {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        let cookies: Vec<String> =
            self.jar().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::try_from(cookies.join("; ")))
        {
            request.headers_mut().append(header::COOKIE, value);
        }
        let reply = (self.app)(request).await;
        for cookie in reply.set_cookies() {
            self.keep(&cookie);
        }
        reply
    }

    fn keep(&self, cookie: &Cookie<'_>) {
        let name = cookie.name().to_ascii_lowercase();
        let is_secure = cookie.secure() == Some(true);
        let is_host = is_secure && cookie.path() == Some("/") && cookie.domain().is_none();
        if name.starts_with("__host-") && !is_host || name.starts_with("__secure-") && !is_secure {
            return;
        }
        let is_removed = cookie.max_age().is_some_and(|age| !age.is_positive());
        match is_removed {
            true => self.forget(cookie.name()),
            false => self.plant(cookie.name(), cookie.value()),
        }
    }

    fn jar(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(method: Method, path: &str, form: &str) -> Request<String> {
    let mut request = Request::new(form.to_owned());
    *request.uri_mut() = path.parse().expect("a path of the application");
    if method == Method::POST {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
    }
    *request.method_mut() = method;
    request
}

async fn ask<S, R>(mut app: S, request: Request<Full<Bytes>>) -> Reply
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: fmt::Debug,
    R: Body<Error: fmt::Debug>,
{
    poll_fn(|cx| app.poll_ready(cx)).await.expect("the application is ready");
    let response = app.call(request).await.expect("the application answers");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the body comes to its end").to_bytes();
    Reply { status: parts.status, headers: parts.headers, body }
}

/// Shows the names of the cookies only.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("cookies", &self.cookies()).finish()
    }
}
