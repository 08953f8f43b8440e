use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Response, header};
use pin_project_lite::pin_project;

use crate::{
    cookie::SessionCookie,
    session::{Session, Verdict},
};

pin_project! {
    /// The response of a [`SessionService`](super::SessionService), to come.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        session: Session,
        cookie: Arc<SessionCookie>,
        refuse: bool,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(
        inner: F,
        session: Session,
        cookie: Arc<SessionCookie>,
        refuse: bool,
    ) -> Self {
        Self { inner, session, cookie, refuse }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let cookie = match this.session.seal() {
            Verdict::Keep => None,
            Verdict::Set(token) => this.cookie.set(&token),
            Verdict::Clear => this.cookie.clear(),
        };
        match cookie {
            Some(_) if *this.refuse => {
                tracing::error!(
                    "development mode: no session cookie for a host that is not loopback"
                );
            }
            Some(cookie) => write(response.headers_mut(), cookie),
            None => {}
        }
        Poll::Ready(Ok(response))
    }
}

/// A response with a token in it must not be kept by any cache (OWASP ASVS 5.0, 14.3.2).
fn write(headers: &mut HeaderMap, cookie: HeaderValue) {
    headers.append(header::SET_COOKIE, cookie);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

impl<F> std::fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").field("session", &self.session).finish_non_exhaustive()
    }
}
