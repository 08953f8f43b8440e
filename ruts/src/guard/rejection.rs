//! [`GuardRejection`]: the response to a request that a guard refuses: 401, or a redirect.
//!
//! Returned by `level` and `user`. Knows the sign-in page of the layer through the session.

use axum_core::response::{IntoResponse, Response};
use http::{
    HeaderValue, Method, StatusCode, Uri,
    header::{self, HeaderName},
    request::Parts,
};

use crate::{error::Error, event, local_path::is_local_path, session::handle::Session};

/// The rejection of a guard: an error, or a redirect to the sign-in page.
#[derive(Debug)]
pub struct GuardRejection {
    error: Error,
    page: Option<HeaderValue>,
}

impl GuardRejection {
    pub(super) fn new(error: Error, session: &Session, parts: &Parts) -> Self {
        let page = session.sign_in_page().filter(|_| is_navigation(parts));
        let page = page.filter(|(page, target)| {
            let is_guarded = target.is_some_and(|target| path(target) == path(page));
            if is_guarded {
                event::sign_in_page_guarded(page);
            }
            // A redirect to the same page would lead in a circle.
            !is_guarded
        });
        let location = |(page, target)| match parts.method {
            Method::GET | Method::HEAD => location(page, target),
            // A redirect to the target itself would be a `GET`.
            _ => location(page, page_of_form(parts).as_deref()),
        };
        Self { error, page: page.and_then(location) }
    }

    /// Returns the reason for the rejection.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

/// The guard could not get the session, and a sign-in would not help. So the response is not a
/// redirect.
impl From<Error> for GuardRejection {
    fn from(error: Error) -> Self {
        Self { error, page: None }
    }
}

/// Returns whether a browser seems to show the response as a page. Only then does a redirect help.
fn is_navigation(parts: &Parts) -> bool {
    text(parts, header::ACCEPT).is_some_and(|accept| accept.contains("text/html"))
}

/// Returns the page of this site with the form that the browser has submitted, if `Referer` names
/// it.
fn page_of_form(parts: &Parts) -> Option<String> {
    let referer: Uri = text(parts, header::REFERER)?.parse().ok()?;
    let host = text(parts, header::HOST).or_else(|| Some(parts.uri.authority()?.as_str()));
    let page = referer.path_and_query()?.as_str();
    (referer.authority()?.as_str() == host? && is_local_path(page)).then(|| page.to_owned())
}

fn path(page: &str) -> &str {
    page.split_once('?').map_or(page, |(path, _)| path)
}

fn text(parts: &Parts, name: HeaderName) -> Option<&str> {
    parts.headers.get(name)?.to_str().ok()
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
