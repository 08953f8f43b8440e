//! [`SessionService`]: reads the token of a request, and adds a session to its extensions.
//!
//! Called by tower. Makes no store call. `future` handles the response.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(feature = "axum")]
use axum::extract::OriginalUri;
use http::{Request, Response, uri::PathAndQuery};
use tower_service::Service;

use super::{
    companion::Companion,
    development::{host, refusal},
    future::{LayerState, ResponseFuture},
};
use crate::{
    cookie::Presented,
    event,
    session::{Incoming, LayerName, ResponseClosed, SessionContext, handle::Session},
};

/// A service that gives its requests a session: made by [`SessionLayer`](crate::SessionLayer).
pub struct SessionService<S, L> {
    inner: S,
    state: Arc<LayerState>,
    /// The same state, but with a cookie without `Domain`. Development mode uses it for hosts that
    /// do not belong to the domain of the cookie.
    without_domain: Option<Arc<LayerState>>,
    name: PhantomData<fn() -> L>,
}

impl<S, L> SessionService<S, L> {
    pub(super) fn new(inner: S, state: LayerState, without_domain: Option<LayerState>) -> Self {
        let (state, without_domain) = (Arc::new(state), without_domain.map(Arc::new));
        Self { inner, state, without_domain, name: PhantomData }
    }

    fn state_for<B>(&self, request: &Request<B>) -> &Arc<LayerState> {
        let suits = |host| self.state.cookie.suits(host);
        match &self.without_domain {
            Some(without_domain) if !host(request).is_some_and(suits) => without_domain,
            _ => &self.state,
        }
    }
}

impl<S, L, B, R> Service<Request<B>> for SessionService<S, L>
where
    S: Service<Request<B>, Response = Response<R>>,
    L: LayerName,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let state = Arc::clone(self.state_for(&request));
        let LayerState { context, cookie, source, development, .. } = &*state;
        let (presented, place) = source.read(cookie, &request);
        if let Ok(outer) = Session::from_extensions_of::<L>(request.extensions()) {
            if !outer.is_of(context) {
                context.layer.conflict.call_once(log_conflict::<L>);
            }
            let inner = self.inner.call(request);
            return ResponseFuture::transparent(inner, state, place);
        }
        let refusal = development.as_ref().and_then(|hosts| refusal(&request, hosts));
        let is_look = request.extensions().get::<Companion>() == Some(&Companion::Looks);
        if let Some(reason) = refusal.as_ref().filter(|_| !is_look) {
            tracing::warn!(%reason, "development mode gives this request no session");
        }
        let presented = if refusal.is_some() { Presented::default() } else { presented };
        if presented.is_duplicated && !is_look {
            event::duplicate_cookies();
        }
        if presented.is_current && presented.token.is_none() && !is_look {
            event::unreadable_token();
        }
        let watch = context.config.clients.as_ref();
        let incoming = Incoming {
            has_cookie: presented.is_current,
            token: presented.token,
            others: presented.others,
            client: watch.map(|watch| (watch.describe)(request.headers(), request.extensions())),
            closed: refusal.map(|_| ResponseClosed::NotLoopback),
            target: target(context, &request),
            is_look,
        };
        if Session::shares_token_with_outer(request.extensions(), context) {
            context.layer.conflict.call_once(|| event::token_shared(L::NAME));
        }
        let session = Session::start(Arc::clone(context), incoming);
        session.clone().into_extensions(request.extensions_mut());
        let inner = self.inner.call(request);
        ResponseFuture::new(inner, session, state, place)
    }
}

/// Returns the page that the client asks for, to which it may return after a sign-in. `None` if the
/// layer has no sign-in page.
fn target<B>(context: &SessionContext, request: &Request<B>) -> Option<PathAndQuery> {
    context.config.sign_in_page.as_ref()?;
    // Inside `Router::nest`, the URI of the request lacks the beginning of the path.
    #[cfg(feature = "axum")]
    if let Some(OriginalUri(uri)) = request.extensions().get::<OriginalUri>() {
        return uri.path_and_query().cloned();
    }
    request.uri().path_and_query().cloned()
}

fn log_conflict<L: LayerName>() {
    tracing::error!(
        name = L::NAME,
        "two different session layers of one name are nested: the outer one serves the request. \
         Give one of them a name with `SessionLayer::named`, or use clones of one layer with the same settings"
    );
}

impl<S: Clone, L> Clone for SessionService<S, L> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            state: Arc::clone(&self.state),
            without_domain: self.without_domain.clone(),
            name: PhantomData,
        }
    }
}

impl<S: fmt::Debug, L> fmt::Debug for SessionService<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
