//! A browser as small as it can be.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use tower::ServiceExt;

/// An app and the cookie of one visitor.
#[derive(Clone)]
pub(crate) struct Visitor {
    app: Router,
    cookie: String,
}

impl Visitor {
    pub(crate) fn new(app: &Router) -> Self {
        Self { app: app.clone(), cookie: String::new() }
    }

    /// The same visitor at another process.
    pub(crate) fn at(&self, app: &Router) -> Self {
        Self { app: app.clone(), cookie: self.cookie.clone() }
    }

    /// Asks for a page, and keeps its cookie. The body is the number of what was found.
    pub(crate) async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let mut request = Request::builder().uri(path).header(header::HOST, "localhost");
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = self.app.clone().oneshot(request).await.expect("an answer");
        for set in response.headers().get_all(header::SET_COOKIE) {
            let text = set.to_str().expect("a cookie is text").to_owned();
            let cookie = cookie::Cookie::parse(text).expect("a cookie");
            let is_removed = cookie.value().is_empty();
            self.cookie = if is_removed { String::new() } else { cookie.stripped().to_string() };
        }
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Asks for a page that must come.
    pub(crate) async fn text(&mut self, path: &str) -> String {
        let (status, body) = self.get(path).await;
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }
}
