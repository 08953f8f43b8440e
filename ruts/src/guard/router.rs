//! [`require()`]: returns a tower layer that applies a guard to every route of a router.
//!
//! Called by applications. Knows extractors in general, and nothing of sessions.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum_core::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::Request;
use tower_layer::Layer;
use tower_service::Service;

/// Returns a layer that passes on only the requests that a guard accepts.
///
/// The layer covers only the routes that were added before it. Add it inside the
/// [`SessionLayer`](crate::SessionLayer).
///
/// ```
/// use axum::{Router, routing::get};
/// use ruts::{SessionLayer, guard::{Aal, require}, session, store::memory::MemoryStore};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// let admin: Router = Router::new()
///     .route("/orders", get(|| async { "orders" }))
///     .layer(require::<Aal<Shop, 2>>());
/// let app = Router::new()
///     .route("/", get(|| async { "welcome" }))
///     .nest("/admin", admin)
///     .layer(SessionLayer::new(MemoryStore::new()));
/// # drop(app);
/// ```
pub fn require<G>() -> Require<G> {
    Require(PhantomData)
}

/// A layer that passes on only the requests that a guard accepts. Made by [`require()`].
pub struct Require<G>(PhantomData<fn() -> G>);

/// A service that passes on only the requests that a guard accepts. Made by [`require()`].
pub struct RequireService<S, G> {
    inner: S,
    guard: PhantomData<fn() -> G>,
}

impl<S, G> Layer<S> for Require<G> {
    type Service = RequireService<S, G>;

    fn layer(&self, inner: S) -> RequireService<S, G> {
        RequireService { inner, guard: PhantomData }
    }
}

impl<S, G, B> Service<Request<B>> for RequireService<S, G>
where
    S: Service<Request<B>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    G: FromRequestParts<()>,
    B: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Only `self.inner` is known to be ready. So it gets this request, and the clone takes its
        // place for the next one.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let rejection = G::from_request_parts(&mut parts, &()).await.err();
            match rejection.map(IntoResponse::into_response) {
                None => inner.call(Request::from_parts(parts, body)).await,
                Some(response) => Ok(response),
            }
        })
    }
}

impl<G> Clone for Require<G> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<S: Clone, G> Clone for RequireService<S, G> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), guard: PhantomData }
    }
}

impl<G> fmt::Debug for Require<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Require")
    }
}

impl<S: fmt::Debug, G> fmt::Debug for RequireService<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
