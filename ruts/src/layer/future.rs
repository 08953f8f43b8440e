use std::{
    fmt,
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
        session: Answered,
        cookie: Arc<SessionCookie>,
    }
}

/// A session that hands out no more cookies once the response is there or will never be.
struct Answered(Session);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.seal();
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, session: Session, cookie: Arc<SessionCookie>) -> Self {
        Self { inner, session: Answered(session), cookie }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let cookie = match this.session.0.seal() {
            Verdict::Keep => None,
            Verdict::Set(token) => this.cookie.set(&token),
            Verdict::Clear => this.cookie.clear(),
        };
        let mut response = result?;
        if let Some(cookie) = cookie {
            write(response.headers_mut(), cookie);
        }
        Poll::Ready(Ok(response))
    }
}

/// A response with a token in it must not be kept by any cache (OWASP ASVS 5.0, 14.3.2).
fn write(headers: &mut HeaderMap, cookie: HeaderValue) {
    headers.append(header::SET_COOKIE, cookie);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("session", &self.session.0).finish_non_exhaustive()
    }
}
