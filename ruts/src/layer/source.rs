use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    cookie::{Presented, SessionCookie},
    session::CookieAction,
    token::Token,
};

/// Where a request carries its token. Nowhere else is it looked for (OWASP ASVS 5.0, 14.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenSource {
    /// In the cookie.
    #[default]
    Cookie,
    /// In the header `Authorization: Bearer`, for clients that are no browsers. A new token comes in the
    /// response's header `Session-Token`, which is empty once the session has ended. The token is what the
    /// cookie would hold without a signature or encryption.
    Header,
    /// In the header, if the request has an `Authorization` of the kind `Bearer`; else in the cookie. The
    /// answer goes the same way.
    Both,
}

/// The header of a response that carries a token to a client without cookies.
const SESSION_TOKEN: HeaderName = HeaderName::from_static("session-token");

/// The way on which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Cookie,
    Header,
}

impl TokenSource {
    /// What a request presents, and on which way.
    pub(super) fn read(self, cookie: &SessionCookie, headers: &HeaderMap) -> (Presented, Way) {
        match (self, bearer(headers)) {
            (Self::Cookie, _) | (Self::Both, None) => (cookie.read(headers), Way::Cookie),
            (Self::Header, None) => (Presented::default(), Way::Header),
            (Self::Header | Self::Both, Some(token)) => {
                let token = Token::parse(token);
                (Presented { any: true, token, ..Presented::default() }, Way::Header)
            }
        }
    }
}

/// What stands behind `Bearer`, in any case, as schemes are compared.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

impl Way {
    /// The header that tells the client, if there is something to tell.
    pub(super) fn header(
        self,
        cookie: &SessionCookie,
        action: &CookieAction,
    ) -> Option<(HeaderName, HeaderValue)> {
        match (self, action) {
            (_, CookieAction::Keep) => None,
            (Self::Cookie, CookieAction::Set(token)) => {
                Some((header::SET_COOKIE, cookie.set(token)?))
            }
            (Self::Cookie, CookieAction::Clear) => Some((header::SET_COOKIE, cookie.clear()?)),
            (Self::Header, CookieAction::Set(token)) => {
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
    fn only_bearer_is_a_bearer() {
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
