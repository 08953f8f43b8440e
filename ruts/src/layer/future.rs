//! [`ResponseFuture`]: runs the handler, then renews the secret if that is due, closes the response
//! and writes the cookie.
//!
//! Returned by `service`. Knows cookies and headers, and nothing about stores.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use pin_project_lite::pin_project;

use super::token_source::{TokenPlace, TokenSource};
use crate::{
    cookie::SessionCookie,
    session::{CookieAction, Renewal, SessionContext, handle::Session},
};

pin_project! {
    /// The response of a [`SessionService`](super::SessionService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F>
    where
        F: Future,
    {
        #[pin]
        inner: F,
        // The result of `inner`, kept while the secret is renewed.
        renewing: Option<(Renewal, F::Output)>,
        // `None` if an outer layer of this name serves the request.
        session: Option<CloseOnDrop>,
        state: Arc<LayerState>,
        place: TokenPlace,
    }
}

/// Closes the response of a session when the future is dropped. If the future has not returned a
/// response, the token is discarded: see `Request::abandon`.
struct CloseOnDrop(Session);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.abandon(self.0.close_response());
    }
}

impl<F: Future> ResponseFuture<F> {
    /// Creates the future of a request that already has a session, from an outer layer of the same
    /// name.
    pub(super) fn transparent(inner: F, state: Arc<LayerState>, place: TokenPlace) -> Self {
        Self { inner, renewing: None, session: None, state, place }
    }

    pub(super) fn new(
        inner: F,
        session: Session,
        state: Arc<LayerState>,
        place: TokenPlace,
    ) -> Self {
        Self { inner, renewing: None, session: Some(CloseOnDrop(session)), state, place }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(CloseOnDrop(session)) = this.session.as_ref() else {
            return this.inner.poll(cx);
        };
        let result = match this.renewing.as_mut() {
            None => {
                let result = ready!(session.enter(|| this.inner.poll(cx)));
                match session.renewal().filter(|_| result.is_ok()) {
                    None => result,
                    // The renewal is the last step of a request. If it came earlier, the token of a
                    // slow response could overwrite the cookie of a newer sign-in.
                    Some(mut renewal) => {
                        if renewal.as_mut().poll(cx).is_pending() {
                            *this.renewing = Some((renewal, result));
                            return Poll::Pending;
                        }
                        result
                    }
                }
            }
            Some((renewal, _)) => {
                ready!(renewal.as_mut().poll(cx));
                match this.renewing.take() {
                    Some((_, result)) => result,
                    None => return Poll::Pending,
                }
            }
        };
        Poll::Ready(this.state.finish(session, this.place, result))
    }
}

/// The parts of a layer that its requests share.
pub(super) struct LayerState {
    pub(super) context: Arc<SessionContext>,
    /// Hosts of development mode besides the loopback names. `None` outside development mode.
    pub(super) development: Option<Arc<[String]>>,
    pub(super) cookie: SessionCookie,
    pub(super) source: TokenSource,
    /// Value of `Clear-Site-Data` for a request that has ended its session.
    pub(super) clear: Option<HeaderValue>,
    /// `clear` without `cookies`, for a response that also sets the cookie of a new session.
    pub(super) clear_and_begin: Option<HeaderValue>,
}

impl LayerState {
    /// Closes the response, and writes the cookie. If the service has failed, discards the token.
    fn finish<R, E>(
        &self,
        session: &Session,
        place: &TokenPlace,
        result: Result<Response<R>, E>,
    ) -> Result<Response<R>, E> {
        let cookie = session.close_response();
        match result {
            Ok(mut response) => {
                self.answer(place, &cookie, session, response.headers_mut());
                Ok(response)
            }
            Err(error) => {
                session.abandon(cookie);
                Err(error)
            }
        }
    }

    /// Writes the cookie, and headers for HTTP caches: no cache may keep a response with a token
    /// (OWASP ASVS 5.0, 14.3.2).
    fn answer(
        &self,
        place: &TokenPlace,
        cookie: &CookieAction,
        session: &Session,
        headers: &mut HeaderMap,
    ) {
        // No cache may serve a page that depends on the session to a different client.
        if session.may_affect_response() {
            headers.append(header::VARY, self.source.request_headers());
        }
        if !place.answer(&self.cookie, cookie, headers) {
            return;
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let clear = match cookie {
            CookieAction::Clear => &self.clear,
            CookieAction::Set { .. } if session.has_ended() => &self.clear_and_begin,
            CookieAction::Set { .. } | CookieAction::Keep => return,
        };
        if let Some(clear) = clear {
            // The header is a list, to which the handler or another layer may have added.
            headers.append(CLEAR_SITE_DATA, clear.clone());
        }
    }
}

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

impl<F: Future> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("session", &self.session.as_ref().map(|closing| &closing.0))
            .finish_non_exhaustive()
    }
}
