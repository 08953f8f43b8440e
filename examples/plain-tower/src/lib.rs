//! A visit counter as a plain tower service: no web framework, the same sessions.

use std::convert::Infallible;

use http_body_util::Full;
use ruts::{
    Error, SessionLayer, TypedSession,
    http::{Request, Response, StatusCode},
    session,
    store::memory::MemoryStore,
};
use tower::{Layer, Service, service_fn};

/// Who visits.
#[session]
pub struct Visitor {
    /// How often.
    #[field(default)]
    visits: u64,
}

/// The service, with its sessions. Any body will do: it is not looked at.
pub fn service<B: Send + 'static>()
-> impl Service<Request<B>, Response = Response<Full<&'static [u8]>>, Error = Infallible, Future: Send>
+ Clone {
    let sessions = SessionLayer::new(MemoryStore::new()).development();
    sessions.layer(service_fn(answer::<B>))
}

async fn answer<B>(request: Request<B>) -> Result<Response<Full<&'static [u8]>>, Infallible> {
    let visitor = Visitor::from_extensions(request.extensions());
    let visits = async { visitor?.visits().update(count).await };
    Ok(match visits.await {
        Ok(1) => page(StatusCode::OK, b"welcome\n"),
        Ok(_) => page(StatusCode::OK, b"welcome back\n"),
        Err(Error::Store(_)) => page(StatusCode::SERVICE_UNAVAILABLE, b""),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, b""),
    })
}

fn count(visits: &mut u64) -> u64 {
    *visits += 1;
    *visits
}

fn page(status: StatusCode, body: &'static [u8]) -> Response<Full<&'static [u8]>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
