//! A [`Client`] that checks every session cookie and every log line. Used by all tests over HTTP.

use std::future::Future;

use axum::{
    Router,
    http::{HeaderName, Method, Request, StatusCode, header},
};
use cookie::{Cookie, SameSite};
use ruts::testing::{Client, Reply};

use crate::log;

/// Creates a client without cookies, on the host `shop.example`.
///
/// The client panics if a reply sets a session cookie that violates RFC 6265bis or the defaults of
/// ruts. It also panics if a log line of this process, at any level, contains the secret of such a
/// cookie.
pub fn new_client(app: Router) -> Client {
    new_client_on("shop.example", app)
}

/// Creates a [client](new_client) on the given host.
pub fn new_client_on(host: &'static str, app: Router) -> Client {
    log::search_for_leaks();
    let client = Client::new(app).with_header(header::HOST, host);
    client.on_reply(move |reply| check(host, reply))
}

/// Short names for common requests of tests.
pub trait ClientExt {
    /// Returns the value of the session cookie under its default name.
    fn token(&self) -> Option<String>;

    /// Requests a page, checks that the status is 200, and returns the body.
    fn text(&self, path: &str) -> impl Future<Output = String> + Send;

    /// Requests a page with headers.
    fn get_with(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> impl Future<Output = Reply> + Send;

    /// Sends an empty form with headers.
    fn post_with(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> impl Future<Output = Reply> + Send;
}

impl ClientExt for Client {
    fn token(&self) -> Option<String> {
        self.cookie("__Host-id")
    }

    async fn text(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {reply:?}");
        reply.text()
    }

    async fn get_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Reply {
        self.send(request(Method::GET, path, headers)).await
    }

    async fn post_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Reply {
        self.send(request(Method::POST, path, headers)).await
    }
}

fn request(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Request<String> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(HeaderName::from_static(name), *value);
    }
    request.body(String::new()).unwrap()
}

fn check(host: &str, reply: &Reply) {
    for cookie in reply.set_cookies().iter().filter(|cookie| cookie.name() != "unrelated") {
        check_cookie(host, cookie, reply);
    }
    if let Some(token) = reply.headers.get("session-token") {
        log::add_secret(token.to_str().unwrap());
    }
    log::assert_no_leak();
}

/// Checks the attributes of a session cookie (OWASP ASVS 5.0, 3.3; NIST SP 800-63B-4, 5.1.1).
fn check_cookie(host: &str, cookie: &Cookie<'_>, reply: &Reply) {
    if !cookie.value().is_empty() {
        log::add_secret(cookie.value());
        assert!(
            !reply.text().contains(cookie.value()),
            "the body should not show the value of {cookie}"
        );
    }
    assert_eq!(cookie.http_only(), Some(true), "{cookie}");
    assert!(cookie.name().len() + cookie.value().len() <= 4096, "{cookie}");
    assert_eq!(
        reply.headers[header::CACHE_CONTROL],
        "no-store",
        "a cache should not be allowed to store {cookie}"
    );
    let is_local = host.to_ascii_lowercase().starts_with("localhost");
    if cookie.name().starts_with("dev-") || is_local {
        assert!(cookie.name().starts_with("dev-") && cookie.secure() != Some(true), "{cookie}");
        return;
    }
    assert_eq!(cookie.secure(), Some(true), "{cookie}");
    assert!(matches!(cookie.same_site(), Some(SameSite::Lax | SameSite::Strict)), "{cookie}");
    let is_host_only = cookie.domain().is_none() && cookie.path() == Some("/");
    let prefix = if is_host_only { "__Host-" } else { "__Secure-" };
    assert!(cookie.name().starts_with(prefix), "{cookie}");
}
