use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{ResponseFuture, future::Answer, loopback::is_loopback};
use crate::{
    cookie::Presented,
    event,
    session::{Closed, Policy, Session, SessionName},
    store::ErasedStore,
};

/// A service whose requests carry a session: made by [`SessionLayer`](crate::SessionLayer).
pub struct SessionService<S, L> {
    inner: S,
    store: Arc<dyn ErasedStore>,
    policy: Arc<Policy>,
    answer: Arc<Answer>,
    development: bool,
    name: PhantomData<fn() -> L>,
}

impl<S, L> SessionService<S, L> {
    pub(super) fn new(
        inner: S,
        store: Arc<dyn ErasedStore>,
        policy: Arc<Policy>,
        answer: Arc<Answer>,
        development: bool,
    ) -> Self {
        Self { inner, store, policy, answer, development, name: PhantomData }
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
        let refused = self.development && !is_loopback(&request);
        let Answer { cookie, source, .. } = &*self.answer;
        let (presented, way) = source.read(cookie, request.headers());
        let presented = if refused { Presented::default() } else { presented };
        if presented.several {
            event::several_cookies();
        }
        let tokens = (presented.token, presented.other);
        let (store, policy) = (Arc::clone(&self.store), Arc::clone(&self.policy));
        let closed = refused.then_some(Closed::NotLoopback);
        let watch = policy.clients.as_ref();
        let client = watch.map(|watch| (watch.describe)(request.headers(), request.extensions()));
        let session = Session::start(store, policy, presented.any, tokens, client, closed);
        session.clone().into_extensions::<L>(request.extensions_mut());
        let inner = self.inner.call(request);
        ResponseFuture::new(inner, session, Arc::clone(&self.answer), way)
    }
}

impl<S: Clone, L> Clone for SessionService<S, L> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            store: Arc::clone(&self.store),
            policy: Arc::clone(&self.policy),
            answer: Arc::clone(&self.answer),
            development: self.development,
            name: PhantomData,
        }
    }
}

impl<S: fmt::Debug, L> fmt::Debug for SessionService<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
