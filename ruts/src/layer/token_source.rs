//! [`TokenSource`]: reads the token of a request from a cookie or a header, and writes a new token
//! to the response.
//!
//! Used by `service` and `future`. Knows headers, and nothing about sessions.

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
#[cfg(feature = "tower-cookies")]
use tower_cookies::Cookies;

#[cfg(feature = "tower-cookies")]
use super::companion::Companion;
use crate::{
    cookie::{Presented, SessionCookie},
    event,
    session::CookieAction,
    token::Token,
};

/// The place where a request carries its token. The layer looks in no other place (OWASP ASVS 5.0,
/// 14.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenSource {
    /// In the cookie.
    #[default]
    Cookie,
    /// In the header `Authorization: Bearer`, for clients other than browsers. The response header
    /// `Session-Token` carries a new token, and is empty if the request has ended its session.
    /// Tokens in headers are neither signed nor encrypted. For scripts of other origins, the
    /// application has to list `session-token` in `Access-Control-Expose-Headers` (Fetch standard).
    Header,
    /// In the header if the request has `Authorization: Bearer`, otherwise in the cookie. The
    /// response carries a new token in the same way: in `Session-Token` or in the cookie.
    Both,
}

/// The response header with the token for a client without cookies.
pub(crate) const SESSION_TOKEN: HeaderName = HeaderName::from_static("session-token");

/// The place in which a request carried its token.
#[derive(Clone)]
pub(super) enum TokenPlace {
    Cookie,
    /// In a cookie that a `CookieManagerLayer` around the layer reads and writes.
    #[cfg(feature = "tower-cookies")]
    Jar(Cookies),
    Header,
}

impl TokenSource {
    /// Returns the presented tokens and their place.
    pub(super) fn read<B>(
        self,
        cookie: &SessionCookie,
        request: &Request<B>,
    ) -> (Presented, TokenPlace) {
        match (self, bearer(request.headers())) {
            (Self::Cookie, _) | (Self::Both, None) => read_cookies(cookie, request),
            (Self::Header, None) => (Presented::default(), TokenPlace::Header),
            (Self::Header | Self::Both, Some(token)) => {
                let token = Token::parse(token);
                (Presented { is_current: true, token, ..Presented::default() }, TokenPlace::Header)
            }
        }
    }

    pub(super) const fn reads_cookie(self) -> bool {
        matches!(self, Self::Cookie | Self::Both)
    }

    pub(super) const fn reads_header(self) -> bool {
        matches!(self, Self::Header | Self::Both)
    }

    /// Returns the names of the request headers that determine the session.
    pub(super) fn request_headers(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Cookie => "cookie",
            Self::Header => "authorization",
            Self::Both => "authorization, cookie",
        })
    }
}

fn read_cookies<B>(cookie: &SessionCookie, request: &Request<B>) -> (Presented, TokenPlace) {
    #[cfg(feature = "tower-cookies")]
    if let Some(jar) = request.extensions().get::<Cookies>()
        && request.extensions().get::<Companion>().is_none()
    {
        let held = jar.get(cookie.name()).map(|held| held.value().to_owned());
        let presented = cookie.read_with_jar(request.headers(), held.as_deref());
        return (presented, TokenPlace::Jar(jar.clone()));
    }
    (cookie.read(request.headers()), TokenPlace::Cookie)
}

/// Returns the text after the scheme `Bearer`. The case of the scheme does not matter.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

impl TokenPlace {
    /// Applies a cookie action to the headers of the response or to the jar. Returns whether the
    /// client gets a token or loses one.
    pub(super) fn answer(
        &self,
        cookie: &SessionCookie,
        action: &CookieAction,
        headers: &mut HeaderMap,
    ) -> bool {
        #[cfg(feature = "tower-cookies")]
        if let Self::Jar(jar) = self {
            return put(jar, cookie, action);
        }
        let Some((name, value)) = self.header(cookie, action) else { return false };
        if name == header::SET_COOKIE && sets(headers, cookie.name()) {
            event::cookie_set_twice(cookie.name());
        }
        headers.append(name, value);
        true
    }

    /// Returns the response header for a cookie action. `None` if there is nothing to do.
    fn header(
        &self,
        cookie: &SessionCookie,
        action: &CookieAction,
    ) -> Option<(HeaderName, HeaderValue)> {
        match (self, action) {
            (_, CookieAction::Keep) => None,
            (Self::Header, CookieAction::Set { token, .. }) => {
                let mut value = HeaderValue::try_from(token.expose()).ok()?;
                value.set_sensitive(true);
                Some((SESSION_TOKEN, value))
            }
            (Self::Header, CookieAction::Clear) => {
                Some((SESSION_TOKEN, HeaderValue::from_static("")))
            }
            (_, CookieAction::Set { token, longest, .. }) => {
                Some((header::SET_COOKIE, cookie.set(token, *longest)?))
            }
            (_, CookieAction::Clear) => Some((header::SET_COOKIE, cookie.clear()?)),
        }
    }
}

/// Returns whether the response already sets a cookie of this name, for example for another layer.
fn sets(headers: &HeaderMap, name: &str) -> bool {
    let mut cookies = headers.get_all(header::SET_COOKIE).iter();
    cookies.any(|cookie| {
        let value = cookie.as_bytes().strip_prefix(name.as_bytes());
        value.is_some_and(|value| value.starts_with(b"="))
    })
}

/// Applies a cookie action to a jar. Returns whether the jar was changed.
#[cfg(feature = "tower-cookies")]
fn put(jar: &Cookies, cookie: &SessionCookie, action: &CookieAction) -> bool {
    match action {
        CookieAction::Keep => return false,
        CookieAction::Set { token, longest, .. } => match cookie.with_token(token, *longest) {
            Some(cookie) => jar.add(cookie),
            None => return false,
        },
        // `Cookies::remove` sends a removal only for a cookie that came with the request.
        CookieAction::Clear if jar.get(cookie.name()).is_none() => jar.add(cookie.removal()),
        CookieAction::Clear => jar.remove(cookie.removal()),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bearer_scheme_carries_a_token() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic abc", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            assert_eq!(bearer(&headers), token.map(str::as_bytes));
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
