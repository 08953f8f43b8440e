//! [`LiftLayer`]: the tower layer of a lift, and its service.
//!
//! Used by applications. Leaves the decisions about a request to `lift`.

use std::{
    fmt,
    future::Future,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, StatusCode, header};
use ruts::{Session, SessionLayer, session::LayerName, store::IntoStore};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    claim::Claims,
    cookies::OldCookie,
    error::Error,
    lift::{Departure, DynLift, Lift, Rollout},
    old::{OldSession, OldSessions},
    requests::BoxFuture,
    sessions::Sessions,
};

/// Layer that lifts sessions of another library into ruts. It wraps the session layer:
///
/// ```
/// use std::{collections::HashMap, sync::Arc};
/// use axum::{Router, routing::get};
/// use ruts::{Session, SessionLayer, session, store::memory::MemoryStore};
/// use ruts_lift::{BoxError, Error, LiftLayer, OldCookie, OldSession, OldSessions};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
///     #[field(default)]
///     cart: Vec<String>,
/// }
///
/// /// Runs inside the session layer, with the values that the old library has written.
/// async fn lift(old: OldSession, session: Session) -> Result<(), Error> {
///     let shop = Shop::try_from(session)?;
///     if let Some(cart) = old.changed::<Vec<String>>("cart")? {
///         shop.set_cart(&cart).await?;
///     }
///     if let Some(user) = old.changed::<u64>("user")? {
///         shop.set_user(&user).await?;
///     }
///     Ok(())
/// }
///
/// fn app(old: impl OldSessions) -> Router {
///     let store = Arc::new(MemoryStore::new());
///     let sessions = SessionLayer::new(&store);
///     let lift = LiftLayer::during_rollout(&sessions, &store, OldCookie::new("id"), old, lift);
///     Router::new().route("/", get(|| async { "hello" })).layer(sessions).layer(lift)
/// }
/// ```
///
/// # Round trips
///
/// - During the rollout, for a request with a session: one round trip to each store, and a second
///   one to the ruts store if a user is signed in.
/// - During the rollout, for a request with neither an old cookie nor a session cookie: none.
/// - After the rollout: none without an old cookie.
/// - During a lift: about 13.
///
/// # Errors
///
/// If a lift fails and a retry may succeed, the response has the status 503. The next request
/// retries. If a retry cannot succeed, the request continues without the old session. An event at
/// level `ERROR` reports the cause. [`Error`] tells the two apart.
///
/// # Cancel safety
///
/// If a request is dropped during a lift, the next request repeats the lift after ten seconds.
///
/// # Security
///
/// An old session that has not been lifted is not in any ruts session list, so a revocation does
/// not reach it. So before the lift function signs a user in, it has to compare the stamp of the
/// old session with the stamp of the user. Otherwise it lifts sessions from before a change of the
/// password. An example of a stamp is the `auth_hash` of axum-login.
///
/// An attacker can plant the cookie of an old session of their own. The old cookie opens only a
/// session that the lift has started, or has signed its first user in to, and only until a sign-in,
/// a step-up or a sign-out in ruts. This event also ends the old session that the session was
/// lifted from. If the event does not reach the old session, the response is a 503, and the next
/// request of the session ends the old session. Until then, the old cookie of a signed-in user can
/// be lifted into a session of its own.
#[derive(Clone)]
pub struct LiftLayer {
    lift: Arc<dyn DynLift>,
}

impl LiftLayer {
    /// Lifts sessions while programs with the old library still serve requests of the same clients.
    ///
    /// The client keeps its old cookie, so that a request to an old program works as before. Writes
    /// of an old program reach ruts with the next request to a new program. A sign-out on either
    /// side ends both sessions.
    ///
    /// `store` has to be the store of the session layer. `lift` writes the values that the
    /// application needs. It is called again when values have changed, and for a trial if a user is
    /// signed in already. If `lift` writes nothing, the old session is not lifted.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`SessionLayer::cookie_name`].
    #[track_caller]
    pub fn during_rollout<L, F, R>(
        sessions: &SessionLayer<L>,
        store: impl IntoStore,
        cookie: OldCookie,
        old: impl OldSessions,
        lift: F,
    ) -> Self
    where
        L: LayerName,
        F: Fn(OldSession, Session) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self::new(sessions, store, cookie, old, lift, Rollout::Running)
    }

    /// Lifts sessions after the last program with the old library has stopped. The old session and
    /// its cookie are removed when all values are lifted.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`SessionLayer::cookie_name`].
    #[track_caller]
    pub fn after_rollout<L, F, R>(
        sessions: &SessionLayer<L>,
        store: impl IntoStore,
        cookie: OldCookie,
        old: impl OldSessions,
        lift: F,
    ) -> Self
    where
        L: LayerName,
        F: Fn(OldSession, Session) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self::new(sessions, store, cookie, old, lift, Rollout::Over)
    }

    #[track_caller]
    fn new<L, F, R>(
        sessions: &SessionLayer<L>,
        store: impl IntoStore,
        cookie: OldCookie,
        old: impl OldSessions,
        lift: F,
        rollout: Rollout,
    ) -> Self
    where
        L: LayerName,
        F: Fn(OldSession, Session) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let claims = Claims::new(store.into_store(), L::NAME);
        let sessions = Sessions { name: sessions.cookie_name(), layer: sessions.clone() };
        Self { lift: Arc::new(Lift { sessions, claims, cookie, old, lift, rollout }) }
    }
}

impl<S> Layer<S> for LiftLayer {
    type Service = LiftService<S>;

    fn layer(&self, inner: S) -> LiftService<S> {
        LiftService { inner, lift: Arc::clone(&self.lift) }
    }
}

impl fmt::Debug for LiftLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiftLayer").finish_non_exhaustive()
    }
}

/// Service that lifts the old session of each request. Created by [`LiftLayer`].
#[derive(Clone)]
pub struct LiftService<S> {
    inner: S,
    lift: Arc<dyn DynLift>,
}

impl<S, B, R> Service<Request<B>> for LiftService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Only the service that `poll_ready` was called on is ready. So this call uses that
        // service, and puts the clone in its place.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let lift = Arc::clone(&self.lift);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let mut departure = Departure::default();
            if let Err(error) = lift.arrive(&mut parts, &mut departure).await {
                let cause: &dyn std::error::Error = &error;
                tracing::error!(error = cause, "an old session could not be lifted");
                return Ok(unavailable(departure.headers_of_failure()));
            }
            let mut response = inner.call(Request::from_parts(parts, body)).await?;
            if let Err(error) = lift.depart(departure, response.headers_mut()).await {
                let cause: &dyn std::error::Error = &error;
                tracing::error!(
                    error = cause,
                    "a sign-in or sign-out did not reach the old session"
                );
                return Ok(unavailable(mem::take(response.headers_mut())));
            }
            Ok(response)
        })
    }
}

/// Returns the response to a request that cannot be completed. It has no body.
fn unavailable<R: Default>(mut headers: HeaderMap) -> Response<R> {
    for name in
        [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ETAG]
    {
        headers.remove(name);
    }
    let mut response = Response::new(R::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    *response.headers_mut() = headers;
    response
}

impl<S: fmt::Debug> fmt::Debug for LiftService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiftService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
