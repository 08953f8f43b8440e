use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use cookie::{Cookie, SameSite};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::log;

/// A browser with one app: keeps its cookies, and refuses those that break the rules.
///
/// Clones are tabs: they share the cookies. Every `Set-Cookie` that passes through must keep to RFC
/// 6265bis and to what ruts promises of its defaults, and no secret that it carries may be logged by
/// anybody, at any level.
#[derive(Clone)]
pub struct Browser {
    app: Router,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
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
        Self { app, cookies: Arc::default(), host: "shop.example" }
    }

    /// The same browser on another host name.
    pub fn on_host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// Somebody else's browser, with a copy of the cookies: a thief, or a slow tab.
    pub fn steal(&self) -> Self {
        let cookies = self.cookies.lock().unwrap().clone();
        Self { cookies: Arc::new(Mutex::new(cookies)), ..self.clone() }
    }

    /// Another browser without cookies.
    pub fn stranger(&self) -> Self {
        Self { cookies: Arc::default(), ..self.clone() }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    /// The value of the session cookie under its default name.
    pub fn token(&self) -> Option<String> {
        self.cookie("__Host-id")
    }

    /// Puts a cookie into the jar, as an attacker would.
    pub fn plant(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// Asks for a page.
    pub async fn get(&self, path: &str) -> Page {
        self.request(Method::GET, path, "").await
    }

    /// Asks for a page that must come.
    pub async fn text(&self, path: &str) -> String {
        let page = self.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {page:?}");
        page.body
    }

    /// Sends a form. Redirections are not followed.
    pub async fn post(&self, path: &str, form: &'static str) -> Page {
        self.request(Method::POST, path, form).await
    }

    /// Asks for a page with headers of its own.
    pub async fn get_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Page {
        self.request_with(Method::GET, path, "", headers).await
    }

    /// Sends a form with headers of its own.
    pub async fn post_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Page {
        self.request_with(Method::POST, path, "", headers).await
    }

    /// The same browser after the app was started again.
    pub fn after_a_restart(self, app: Router) -> Self {
        Self { app, ..self }
    }

    async fn request(&self, method: Method, path: &str, form: &'static str) -> Page {
        self.request_with(method, path, form, &[]).await
    }

    async fn request_with(
        &self,
        method: Method,
        path: &str,
        form: &'static str,
        headers: &[(&'static str, &str)],
    ) -> Page {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.host)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let cookies: Vec<String> = {
            let cookies = self.cookies.lock().unwrap();
            cookies.iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let request = request.body(Body::from(form)).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let page = Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        for set in page.set_cookies() {
            self.keep(set, &page);
        }
        if let Some(token) = page.headers.get("session-token") {
            log::is_secret(token.to_str().unwrap());
        }
        log::nothing_leaked();
        page
    }

    fn keep(&self, set: &str, page: &Page) {
        let cookie = Cookie::parse(set).unwrap();
        if cookie.name() != "unrelated" {
            self.check(&cookie, page);
            if !cookie.value().is_empty() {
                log::is_secret(cookie.value());
                assert!(!page.body.contains(cookie.value()), "the value travels in {cookie} only");
            }
        }
        let mut cookies = self.cookies.lock().unwrap();
        let removed = cookie.max_age().is_some_and(|age| age.is_zero());
        match removed {
            true => drop(cookies.remove(cookie.name())),
            false => drop(cookies.insert(cookie.name().to_owned(), cookie.value().to_owned())),
        }
    }

    /// What every session cookie must be (OWASP ASVS 5.0, 3.3; NIST SP 800-63B-4, 5.1.1).
    fn check(&self, cookie: &Cookie<'_>, page: &Page) {
        assert_eq!(cookie.http_only(), Some(true), "{cookie}");
        assert!(cookie.name().len() + cookie.value().len() <= 4096, "{cookie}");
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store", "a cache could keep {cookie}");
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
