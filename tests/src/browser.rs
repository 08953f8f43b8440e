use axum::Router;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use cookie::{Cookie, SameSite};
use ruts::testing::{Client, Reply};

use crate::log;

/// A [`Client`] that trusts nobody.
///
/// Clones are tabs: they share the cookies. Every `Set-Cookie` that passes through must keep to RFC
/// 6265bis and to what ruts promises of its defaults, and no secret that it carries may be logged by
/// anybody, at any level.
#[derive(Clone)]
pub struct Browser {
    client: Client,
    host: &'static str,
}

/// What the browser got.
#[derive(Debug)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Page {
    /// The `Set-Cookie` headers.
    pub fn set_cookies(&self) -> Vec<&str> {
        let headers = self.headers.get_all(header::SET_COOKIE).iter();
        headers.map(|header| header.to_str().unwrap()).collect()
    }
}

impl Browser {
    /// A browser without cookies.
    pub fn new(app: Router) -> Self {
        log::search();
        Self { client: Client::new(app), host: "" }.on_host("shop.example")
    }

    /// The same browser on another host name.
    pub fn on_host(self, host: &'static str) -> Self {
        Self { client: self.client.with_header(header::HOST, host), host }
    }

    /// Somebody else's browser, with a copy of the cookies: a thief, or a slow tab.
    pub fn steal(&self) -> Self {
        Self { client: self.client.steal(), ..*self }
    }

    /// Another browser without cookies.
    pub fn stranger(&self) -> Self {
        Self { client: self.client.stranger(), ..*self }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.client.cookie(name)
    }

    /// The value of the session cookie under its default name.
    pub fn token(&self) -> Option<String> {
        self.cookie("__Host-id")
    }

    /// Puts a cookie into the jar, as an attacker would.
    pub fn plant(&self, name: &str, value: &str) {
        self.client.plant(name, value);
    }

    /// Asks for a page.
    pub async fn get(&self, path: &str) -> Page {
        self.get_with(path, &[]).await
    }

    /// Asks for a page that must come.
    pub async fn text(&self, path: &str) -> String {
        let page = self.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {page:?}");
        page.body
    }

    /// Sends a form. Redirections are not followed.
    pub async fn post(&self, path: &str, form: &'static str) -> Page {
        let kind = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(Method::POST, path, form, [kind].into_iter()).await
    }

    /// Asks for a page with headers of its own.
    pub async fn get_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Page {
        self.send(Method::GET, path, "", named(headers)).await
    }

    /// Sends an empty form with headers of its own.
    pub async fn post_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Page {
        self.send(Method::POST, path, "", named(headers)).await
    }

    /// The same browser after the app was started again.
    pub fn after_a_restart(self, app: Router) -> Self {
        Self { client: self.client.after_a_restart(&Client::new(app)), ..self }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        form: &str,
        headers: impl Iterator<Item = (HeaderName, &str)>,
    ) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let reply = self.client.send(request.body(form.to_owned()).unwrap()).await;
        for cookie in reply.set_cookies().iter().filter(|cookie| cookie.name() != "unrelated") {
            self.check(cookie, &reply);
        }
        if let Some(token) = reply.headers.get("session-token") {
            log::is_secret(token.to_str().unwrap());
        }
        log::nothing_leaked();
        let body = String::from_utf8(reply.body.to_vec()).unwrap();
        Page { status: reply.status, headers: reply.headers, body }
    }

    /// What every session cookie must be (OWASP ASVS 5.0, 3.3; NIST SP 800-63B-4, 5.1.1).
    fn check(&self, cookie: &Cookie<'_>, reply: &Reply) {
        if !cookie.value().is_empty() {
            log::is_secret(cookie.value());
            assert!(!reply.text().contains(cookie.value()), "the value travels in {cookie} only");
        }
        assert_eq!(cookie.http_only(), Some(true), "{cookie}");
        assert!(cookie.name().len() + cookie.value().len() <= 4096, "{cookie}");
        assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store", "a cache could keep {cookie}");
        if self.host.starts_with("localhost") {
            assert!(cookie.name().starts_with("dev-") && cookie.secure() != Some(true), "{cookie}");
            return;
        }
        assert_eq!(cookie.secure(), Some(true), "{cookie}");
        assert!(matches!(cookie.same_site(), Some(SameSite::Lax | SameSite::Strict)), "{cookie}");
        let host_only = cookie.domain().is_none() && cookie.path() == Some("/");
        let prefix = if host_only { "__Host-" } else { "__Secure-" };
        assert!(cookie.name().starts_with(prefix), "{cookie}");
    }
}

fn named<'a>(
    headers: &'a [(&'static str, &'a str)],
) -> impl Iterator<Item = (HeaderName, &'a str)> {
    headers.iter().map(|(name, value)| (HeaderName::from_static(name), *value))
}
