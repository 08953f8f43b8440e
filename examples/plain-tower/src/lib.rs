//! A visit counter as a plain tower service, without a web framework.

use std::convert::Infallible;

use http_body_util::Full;
use ruts::{
    Error, SessionLayer,
    http::{Request, Response, StatusCode},
    session,
    session::TypedSession,
    store::memory::MemoryStore,
};
use tower::{Layer, Service, service_fn};

type Page = Response<Full<&'static [u8]>>;

/// A visitor.
#[session]
pub struct Visitor {
    /// Number of visits.
    #[field(default)]
    visits: u64,
}

/// Returns the service in its session layer. It ignores request bodies, so their type does not
/// matter.
pub fn service<B: Send + 'static>()
-> impl Service<Request<B>, Response = Page, Error = Infallible, Future: Send> + Clone {
    let sessions = SessionLayer::new(MemoryStore::new()).development();
    sessions.layer(service_fn(answer::<B>))
}

async fn answer<B>(request: Request<B>) -> Result<Page, Infallible> {
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

fn page(status: StatusCode, body: &'static [u8]) -> Page {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
