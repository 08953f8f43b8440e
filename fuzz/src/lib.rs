//! [`ReturnSession`]: the service behind the session layer. Used by all fuzz targets.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response};
use ruts::Session;
use tower_service::Service;

/// Responds with the session of the request.
#[derive(Clone)]
pub struct ReturnSession;

impl Service<Request<()>> for ReturnSession {
    type Response = Response<Session>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Session>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let session = Session::from_extensions(request.extensions())
            .expect("the layer should have added a session");
        ready(Ok(Response::new(session)))
    }
}
