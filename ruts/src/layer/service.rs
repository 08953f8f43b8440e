use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{ResponseFuture, future::Site, loopback::is_loopback};
use crate::{
    cookie::Presented,
    event,
    session::{ResponseClosed, Session, SessionName},
};

/// A service whose requests carry a session: made by [`SessionLayer`](crate::SessionLayer).
pub struct SessionService<S, L> {
    inner: S,
    site: Arc<Site>,
    name: PhantomData<fn() -> L>,
}

impl<S, L> SessionService<S, L> {
    pub(super) fn new(inner: S, site: Site) -> Self {
        Self { inner, site: Arc::new(site), name: PhantomData }
    }
}

impl<S, L, B, R> Service<Request<B>> for SessionService<S, L>
where
    S: Service<Request<B>, Response = Response<R>>,
    L: SessionName,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Site { context, cookie, source, development, .. } = &*self.site;
        let refused = *development && !is_loopback(&request);
        let (presented, way) = source.read(cookie, request.headers());
        let presented = if refused { Presented::default() } else { presented };
        if presented.several {
            event::several_cookies();
        }
        let tokens = (presented.token, presented.other);
        let closed = refused.then_some(ResponseClosed::NotLoopback);
        let watch = context.config.clients.as_ref();
        let client = watch.map(|watch| (watch.describe)(request.headers(), request.extensions()));
        let session = Session::start(Arc::clone(context), presented.any, tokens, client, closed);
        session.clone().into_extensions::<L>(request.extensions_mut());
        let inner = self.inner.call(request);
        ResponseFuture::new(inner, session, Arc::clone(&self.site), way)
    }
}

impl<S: Clone, L> Clone for SessionService<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), site: Arc::clone(&self.site), name: PhantomData }
    }
}

impl<S: fmt::Debug, L> fmt::Debug for SessionService<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
