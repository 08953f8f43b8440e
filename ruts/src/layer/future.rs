use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use pin_project_lite::pin_project;

use super::source::{TokenSource, Way};
use crate::{
    cookie::SessionCookie,
    session::{CookieAction, Session, SessionContext},
};

pin_project! {
    /// The response of a [`SessionService`](super::SessionService), to come.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        session: Answered,
        site: Arc<Site>,
        way: Way,
    }
}

/// A session that hands out no more cookies once the response is there or will never be; in the latter
/// case, nobody has the secret that was to be handed out.
struct Answered(Session);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.abandon(self.0.seal());
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, session: Session, site: Arc<Site>, way: Way) -> Self {
        Self { inner, session: Answered(session), site, way }
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
        let cookie = this.session.0.seal();
        let mut response = match result {
            Ok(response) => response,
            Err(error) => {
                this.session.0.abandon(cookie);
                return Poll::Ready(Err(error));
            }
        };
        let has_ended = this.session.0.has_ended();
        this.site.answer(*this.way, &cookie, has_ended, response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

/// What all requests that go through a layer have in common: one allocation, so that they count one reference
/// to it, not one to each part, while others do.
pub(super) struct Site {
    pub(super) context: Arc<SessionContext>,
    pub(super) development: bool,
    pub(super) cookie: SessionCookie,
    pub(super) source: TokenSource,
    /// What a client is told to clear when its session has ended.
    pub(super) clear: Option<HeaderValue>,
    /// The same, if another one has begun: its cookie stays.
    pub(super) clear_and_begin: Option<HeaderValue>,
}

impl Site {
    /// A response with a token in it must not be kept by any cache (OWASP ASVS 5.0, 14.3.2).
    fn answer(&self, way: Way, cookie: &CookieAction, has_ended: bool, headers: &mut HeaderMap) {
        let Some((name, value)) = way.header(&self.cookie, cookie) else { return };
        headers.append(name, value);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let clear = match cookie {
            CookieAction::Clear => &self.clear,
            CookieAction::Set(_) if has_ended => &self.clear_and_begin,
            CookieAction::Set(_) | CookieAction::Keep => return,
        };
        if let Some(clear) = clear {
            headers.insert(CLEAR_SITE_DATA, clear.clone());
        }
    }
}

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("session", &self.session.0).finish_non_exhaustive()
    }
}
