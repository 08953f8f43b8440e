//! [`require()`] and [`require_with_state()`]: return a tower layer that applies a guard to every
//! route of a router.
//!
//! Called by applications. Knows extractors in general, and nothing about sessions.

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
    require_with_state(())
}

/// Returns a layer like that of [`require()`], for a guard that needs the state of the application,
/// such as [`CurrentUser`](super::CurrentUser).
///
/// ```
/// use axum::{Router, routing::get};
/// use ruts::{
///     SessionLayer,
///     field::{Field, Principal},
///     guard::{CurrentUser, require_with_state},
///     session,
///     session::LoadUser,
///     store::memory::MemoryStore,
/// };
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// #[derive(Clone)]
/// struct Accounts;
///
/// impl LoadUser for Accounts {
///     type Schema = Shop;
///     type Id = u64;
///     type User = String;
///     type Error = std::io::Error;
///
///     const PRINCIPAL: Field<u64, Principal> = Shop::USER;
///
///     async fn load(&self, id: u64) -> Result<Option<String>, std::io::Error> {
///         Ok(Some(format!("user {id}")))
///     }
/// }
///
/// let app: Router = Router::new()
///     .route("/account", get(|| async { "account" }))
///     .layer(require_with_state::<CurrentUser<Accounts>, _>(Accounts))
///     .layer(SessionLayer::new(MemoryStore::new()));
/// # drop(app);
/// ```
pub fn require_with_state<G, St>(state: St) -> Require<G, St> {
    Require { state, guard: PhantomData }
}

/// A layer that passes on only the requests that a guard accepts. Made by [`require()`] and
/// [`require_with_state()`].
pub struct Require<G, St = ()> {
    state: St,
    guard: PhantomData<fn() -> G>,
}

/// A service that passes on only the requests that a guard accepts. Made by [`require()`] and
/// [`require_with_state()`].
pub struct RequireService<S, G, St = ()> {
    inner: S,
    state: St,
    guard: PhantomData<fn() -> G>,
}

impl<S, G, St: Clone> Layer<S> for Require<G, St> {
    type Service = RequireService<S, G, St>;

    fn layer(&self, inner: S) -> RequireService<S, G, St> {
        RequireService { inner, state: self.state.clone(), guard: PhantomData }
    }
}

impl<S, G, St, B> Service<Request<B>> for RequireService<S, G, St>
where
    S: Service<Request<B>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    G: FromRequestParts<St>,
    St: Clone + Send + Sync + 'static,
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
        let state = self.state.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let rejection = G::from_request_parts(&mut parts, &state).await.err();
            match rejection.map(IntoResponse::into_response) {
                None => inner.call(Request::from_parts(parts, body)).await,
                Some(response) => Ok(response),
            }
        })
    }
}

impl<G, St: Clone> Clone for Require<G, St> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), guard: PhantomData }
    }
}

impl<S: Clone, G, St: Clone> Clone for RequireService<S, G, St> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), state: self.state.clone(), guard: PhantomData }
    }
}

impl<G, St> fmt::Debug for Require<G, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Require")
    }
}

impl<S: fmt::Debug, G, St> fmt::Debug for RequireService<S, G, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
