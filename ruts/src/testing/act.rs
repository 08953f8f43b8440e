//! [`with_session`]: runs code with the session of a client, without a page of the application.
//!
//! Called by tests of applications. Knows the client, the layer and the typed session.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use super::client::Client;
use crate::{layer::config::SessionLayer, session::TypedSession};

/// Runs code with the session of a client, as in a request of that client. The code can sign the
/// client in without the application's form, prepare its cart, or check the fields that a page
/// wrote.
///
/// `layer` is the layer of the application, or a clone. The client keeps the cookies that result
/// from the code.
///
/// ```
/// use axum::{Router, routing::get};
/// use ruts::{
///     Error, SessionLayer, session,
///     store::memory::MemoryStore,
///     testing::{Client, with_session},
/// };
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// async fn account(shop: Shop) -> Result<String, Error> {
///     Ok(format!("{:?}", shop.user().await?))
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let layer = SessionLayer::new(MemoryStore::new());
/// let app: Router = Router::new().route("/account", get(account)).layer(layer.clone());
/// let client = Client::new(app);
/// let sign_in = |shop: Shop| async move { shop.set_user(&7).await };
/// with_session(&client, &layer, sign_in).await.expect("the user should be signed in");
/// assert_eq!(client.get("/account").await.text(), "Some(7)");
/// # });
/// ```
///
/// # Panics
///
/// Panics if the code panics.
pub async fn with_session<S, F, R>(
    client: &Client,
    layer: &SessionLayer<S::Layer>,
    act: impl FnOnce(S) -> F + Send + 'static,
) -> R
where
    S: TypedSession,
    F: Future<Output = R> + Send,
    R: Send + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let act = Mutex::new(Some(act));
    let answer = {
        let result = Arc::clone(&result);
        move |extensions: Extensions| -> Act {
            let act = act.lock().unwrap_or_else(PoisonError::into_inner).take();
            let result = Arc::clone(&result);
            Box::pin(async move {
                let session = S::from_extensions(&extensions)
                    .expect("the session should be usable in the layer");
                let done = act.expect("the handler should run only once")(session).await;
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            })
        }
    };
    let app = layer.layer(Handler(Arc::new(answer)));
    client.clone().after_a_restart(&Client::new(app)).get("/").await;
    let done = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    done.expect("the handler should have run")
}

type Act = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A service that runs the code with the extensions of its request.
#[derive(Clone)]
struct Handler(Arc<dyn Fn(Extensions) -> Act + Send + Sync>);

impl<B> Service<Request<B>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, _) = request.into_parts();
        let act = (self.0)(parts.extensions);
        Box::pin(async move {
            act.await;
            Ok(Response::default())
        })
    }
}
