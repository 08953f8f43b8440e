//! A minimal browser: it sends requests and keeps one cookie.
//!
//! Used by every measurement. Does not know the stacks.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use tower::ServiceExt;

/// A visitor of an app, with a cookie.
#[derive(Clone)]
pub(crate) struct Visitor {
    router: Router,
    cookie: String,
}

impl Visitor {
    pub(crate) fn new(router: &Router) -> Self {
        Self { router: router.clone(), cookie: String::new() }
    }

    /// Returns the same visitor at another process.
    pub(crate) fn at(&self, router: &Router) -> Self {
        Self { router: router.clone(), cookie: self.cookie.clone() }
    }

    /// Sends a request and keeps the cookie. Returns status and body.
    pub(crate) async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let mut request = Request::builder().uri(path).header(header::HOST, "localhost");
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        let request = request.body(Body::empty()).expect("the path should be valid");
        let response =
            self.router.clone().oneshot(request).await.expect("a router should not fail");
        for set in response.headers().get_all(header::SET_COOKIE) {
            let text = set.to_str().expect("the cookie should be text").to_owned();
            let cookie = cookie::Cookie::parse(text).expect("the cookie should be valid");
            let is_removed = cookie.value().is_empty();
            self.cookie = if is_removed { String::new() } else { cookie.stripped().to_string() };
        }
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .expect("the body should have at most 1 MiB");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends a request that must succeed. Returns the body.
    pub(crate) async fn text(&mut self, path: &str) -> String {
        let (status, body) = self.get(path).await;
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }
}
