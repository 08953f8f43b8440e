//! [`in_session`]: sends internal requests through the session layer.
//!
//! Used by `lift`. Only the layer knows how its cookie is named, signed and encrypted. So code that
//! needs the session of a request runs inside the layer, and the layer makes the cookie.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, request::Parts};
use ruts::{Session, SessionLayer, layer::Companion, session::LayerName};
use tower_layer::Layer;
use tower_service::Service;

/// A boxed future.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs `job` with the session of a request. Returns its result and the headers of the layer's
/// response.
///
/// The layer sees the headers and extensions of the request, so that checks of the client work.
pub(crate) async fn in_session<'a, L, T, F>(
    layer: &SessionLayer<L>,
    parts: &Parts,
    job: F,
) -> Result<(T, HeaderMap), ruts::Error>
where
    L: LayerName,
    T: Send + 'a,
    F: FnOnce(Session) -> BoxFuture<'a, T> + Send + 'a,
{
    run(layer, with(parts, Companion::Acts), job).await
}

/// Runs `job`, which only reads, before the request of the client. So the internal request is not
/// logged, and does not count as activity.
pub(crate) async fn look_at_session<'a, L, T, F>(
    layer: &SessionLayer<L>,
    parts: &Parts,
    job: F,
) -> Result<T, ruts::Error>
where
    L: LayerName,
    T: Send + 'a,
    F: FnOnce(Session) -> BoxFuture<'a, T> + Send + 'a,
{
    run(layer, with(parts, Companion::Looks), job).await.map(|(output, _)| output)
}

fn with(parts: &Parts, companion: Companion) -> Parts {
    let mut parts = parts.clone();
    parts.extensions.insert(companion);
    parts
}

async fn run<'a, L, T, F>(
    layer: &SessionLayer<L>,
    parts: Parts,
    job: F,
) -> Result<(T, HeaderMap), ruts::Error>
where
    L: LayerName,
    T: Send + 'a,
    F: FnOnce(Session) -> BoxFuture<'a, T> + Send + 'a,
{
    let mut service = layer.layer(Job::<F, L> { job: Some(job), layer: PhantomData });
    let Ok(()) = poll_fn(|cx| Service::<Request<()>>::poll_ready(&mut service, cx)).await;
    let Ok(response) = service.call(Request::from_parts(parts, ())).await;
    let (parts, output) = response.into_parts();
    Ok((output?, parts.headers))
}

/// The inner service of the layer, for one request.
struct Job<F, L> {
    job: Option<F>,
    layer: PhantomData<fn() -> L>,
}

impl<'a, F, T, L> Service<Request<()>> for Job<F, L>
where
    L: LayerName,
    T: Send + 'a,
    F: FnOnce(Session) -> BoxFuture<'a, T>,
{
    type Response = Response<Result<T, ruts::Error>>;
    type Error = Infallible;
    type Future = BoxFuture<'a, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let session = Session::from_extensions_of::<L>(request.extensions());
        let job = session.map(|session| self.job.take().map(|job| job(session)));
        Box::pin(async move {
            Ok(Response::new(match job {
                Ok(Some(job)) => Ok(job.await),
                Ok(None) => unreachable!("the service should be called only once"),
                Err(error) => Err(error),
            }))
        })
    }
}
