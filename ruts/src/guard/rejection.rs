//! [`GuardRejection`]: the response to a request that a guard refuses: 401, or a redirect.
//!
//! Returned by `level` and `user`. Knows the sign-in page of the layer through the session.

use axum_core::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};

use crate::{error::Error, session::handle::Session};

/// The rejection of a guard: an error, or a redirect to the sign-in page.
#[derive(Debug)]
pub struct GuardRejection {
    error: Error,
    page: Option<HeaderValue>,
}

impl GuardRejection {
    pub(super) fn new(error: Error, session: &Session, parts: &Parts) -> Self {
        let page = session.sign_in_page().filter(|_| asks_for_a_page(parts));
        Self { error, page: page.and_then(|(page, target)| location(page, target)) }
    }

    /// Returns the reason for the rejection.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

/// The guard could not get the session, and a sign-in would not help. So the response is not a redirect.
impl From<Error> for GuardRejection {
    fn from(error: Error) -> Self {
        Self { error, page: None }
    }
}

/// Returns whether a browser seems to ask for a page: a `GET` or `HEAD` that accepts HTML. Only
/// then does a redirect help.
fn asks_for_a_page(parts: &Parts) -> bool {
    let accept = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    matches!(parts.method, Method::GET | Method::HEAD)
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Returns the address of the sign-in page, with the page to return to as `next`.
fn location(page: &str, target: Option<&str>) -> Option<HeaderValue> {
    let Some(target) = target else { return HeaderValue::from_str(page).ok() };
    let separator = if page.contains('?') { '&' } else { '?' };
    let next: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
    HeaderValue::try_from(format!("{page}{separator}next={next}")).ok()
}

impl IntoResponse for GuardRejection {
    fn into_response(self) -> Response {
        match (self.error, self.page) {
            (Error::SignInRequired | Error::StepUpRequired { .. }, Some(page)) => {
                (StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response()
            }
            (error, _) => error.into_response(),
        }
    }
}
