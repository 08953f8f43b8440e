//! Where a token comes from, and the response header that answers it: [`TokenSource`].

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    cookie::{Presented, SessionCookie},
    session::CookieAction,
    token::Token,
};

/// Where a request carries its token. No other place is searched (OWASP ASVS 5.0, 14.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenSource {
    /// In the cookie.
    #[default]
    Cookie,
    /// In the header `Authorization: Bearer`, for clients other than browsers. A new token comes in
    /// the response header `Session-Token`, which is empty once the session has ended. The token is
    /// the value of the cookie before it is signed or encrypted.
    Header,
    /// In the header, if the request has an `Authorization: Bearer`, otherwise in the cookie. The
    /// response uses the same place.
    Both,
}

/// The response header with the token for a client without cookies.
const SESSION_TOKEN: HeaderName = HeaderName::from_static("session-token");

/// The place in which a request carried its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenPlace {
    Cookie,
    Header,
}

impl TokenSource {
    /// Returns the presented tokens and their place.
    pub(super) fn read(
        self,
        cookie: &SessionCookie,
        headers: &HeaderMap,
    ) -> (Presented, TokenPlace) {
        match (self, bearer(headers)) {
            (Self::Cookie, _) | (Self::Both, None) => (cookie.read(headers), TokenPlace::Cookie),
            (Self::Header, None) => (Presented::default(), TokenPlace::Header),
            (Self::Header | Self::Both, Some(token)) => {
                let token = Token::parse(token);
                (Presented { is_present: true, token, ..Presented::default() }, TokenPlace::Header)
            }
        }
    }
}

/// Returns the text after `Bearer`. Schemes are compared without regard to case.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

impl TokenPlace {
    /// Returns the name of the request header that carries the token.
    pub(super) fn request_header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Cookie => "cookie",
            Self::Header => "authorization",
        })
    }

    /// Returns the response header that carries out an action.
    pub(super) fn header(
        self,
        cookie: &SessionCookie,
        action: &CookieAction,
    ) -> Option<(HeaderName, HeaderValue)> {
        match (self, action) {
            (_, CookieAction::Keep) => None,
            (Self::Cookie, CookieAction::Set { token, longest, .. }) => {
                Some((header::SET_COOKIE, cookie.set(token, *longest)?))
            }
            (Self::Cookie, CookieAction::Clear) => Some((header::SET_COOKIE, cookie.clear()?)),
            (Self::Header, CookieAction::Set { token, .. }) => {
                let mut value = HeaderValue::try_from(token.expose()).ok()?;
                value.set_sensitive(true);
                Some((SESSION_TOKEN, value))
            }
            (Self::Header, CookieAction::Clear) => {
                Some((SESSION_TOKEN, HeaderValue::from_static("")))
            }
        }
    }
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
