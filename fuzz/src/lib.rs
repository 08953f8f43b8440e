//! What the targets share.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response};
use ruts::Session;
use tower_service::Service;

/// Hands out the session of a request.
#[derive(Clone)]
pub struct Take;

impl Service<Request<()>> for Take {
    type Response = Response<Session>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Session>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let session = Session::from_extensions(request.extensions()).expect("the layer is there");
        ready(Ok(Response::new(session)))
    }
}
