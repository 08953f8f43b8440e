//! [`OldCookie`]: reads the cookie of the old library. The functions of this file read and write
//! any cookie by its name, such as the ruts session cookie.
//!
//! Used by `lift` and by applications. Knows headers, and nothing about sessions.

use std::fmt;

use cookie::Cookie;
use http::{HeaderMap, HeaderValue, header};

/// The cookie of the old library: its name, and how it carries the id of a session.
///
/// Path and domain have to be those that the old library sets. Otherwise the browser ignores the
/// removal of the cookie.
#[derive(Clone)]
pub struct OldCookie {
    name: String,
    path: String,
    domain: Option<String>,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Plain,
    #[cfg(feature = "signed")]
    Signed(Box<cookie::Key>),
    #[cfg(feature = "private")]
    Private(Box<cookie::Key>),
    Custom(fn(&str, &HeaderMap) -> Option<String>),
}

impl OldCookie {
    /// Creates a cookie with the path `/`, whose value is the id of the session.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), path: "/".to_owned(), domain: None, form: Form::Plain }
    }

    /// Sets the path. Defaults to `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the domain. None by default.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Expects a cookie that the crate `cookie` has signed with this key, as in tower-sessions and
    /// ruts 0.13. A cookie with a different signature is ignored.
    #[cfg(feature = "signed")]
    #[must_use]
    pub fn signed(mut self, key: cookie::Key) -> Self {
        self.form = Form::Signed(Box::new(key));
        self
    }

    /// Expects a cookie that the crate `cookie` has encrypted with this key, as in tower-sessions.
    #[cfg(feature = "private")]
    #[must_use]
    pub fn private(mut self, key: cookie::Key) -> Self {
        self.form = Form::Private(Box::new(key));
        self
    }

    /// Reads the cookie with a function. `read` gets the value of the cookie and all headers, and
    /// returns the id of the session. If the cookie is signed, `read` has to check the signature.
    #[must_use]
    pub fn read_with(mut self, read: fn(&str, &HeaderMap) -> Option<String>) -> Self {
        self.form = Form::Custom(read);
        self
    }

    /// Returns the id of the old session.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Option<String> {
        let encoded = value(headers, &self.name)?;
        let cookie = Cookie::parse_encoded(format!("{}={encoded}", self.name)).ok()?.into_owned();
        let id = match &self.form {
            Form::Plain => cookie.value().to_owned(),
            Form::Custom(read) => read(cookie.value(), headers)?,
            #[cfg(feature = "signed")]
            Form::Signed(key) => {
                let jar = cookie::CookieJar::new();
                jar.signed(key).verify(cookie)?.value().to_owned()
            }
            #[cfg(feature = "private")]
            Form::Private(key) => {
                let jar = cookie::CookieJar::new();
                jar.private(key).decrypt(cookie)?.value().to_owned()
            }
        };
        Some(id).filter(|id| !id.is_empty())
    }

    /// Removes the cookie, with a `Set-Cookie` header in the headers of a response.
    pub(crate) fn clear(&self, headers: &mut HeaderMap) {
        let mut cookie = Cookie::build((&*self.name, "")).path(&*self.path);
        if let Some(domain) = &self.domain {
            cookie = cookie.domain(&**domain);
        }
        // The prefixes `__Host-` and `__Secure-`, which old cookies may have, require `Secure`.
        let mut cookie = cookie.secure(self.name.starts_with("__")).http_only(true).build();
        cookie.make_removal();
        if let Ok(text) = HeaderValue::try_from(cookie.to_string()) {
            headers.append(header::SET_COOKIE, text);
        }
    }
}

/// Shows no key.
impl fmt::Debug for OldCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldCookie")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// Returns the cookies of all `Cookie` headers, as they were sent. A browser also sends cookies
/// with other characters than ASCII.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let headers = headers.get_all(header::COOKIE).into_iter();
    let cookies = headers.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    cookies.map(<[u8]>::trim_ascii).filter(|cookie| !cookie.is_empty())
}

/// Returns the value of a cookie, if the cookie has this name.
fn value_of<'a>(cookie: &'a [u8], name: &str) -> Option<&'a [u8]> {
    cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Returns the value of a cookie of the request, as it was sent. If several cookies have the name,
/// the old libraries read the last of them.
pub(crate) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = cookies(headers).filter_map(|cookie| value_of(cookie, name)).last()?;
    std::str::from_utf8(value).ok()
}

/// Returns the cookies of the request that have a different name.
fn others<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    cookies(headers).filter(|cookie| value_of(cookie, name).is_none()).collect()
}

/// Sets a cookie of the request to the value in a `Set-Cookie` header.
pub(crate) fn replace(headers: &mut HeaderMap, name: &str, set_cookie: &HeaderValue) {
    let own = set_cookie.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let mut all = others(headers, name);
    all.push(own.trim_ascii());
    // The parts come from valid headers, so the joined value is valid.
    if let Ok(all) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, all);
    }
}

/// Removes a cookie from the request.
pub(crate) fn remove(headers: &mut HeaderMap, name: &str) {
    match HeaderValue::from_bytes(&others(headers, name).join(&b"; "[..])) {
        Ok(others) if !others.is_empty() => drop(headers.insert(header::COOKIE, others)),
        _ => drop(headers.remove(header::COOKIE)),
    }
}

/// Adds a `Set-Cookie` header to a response, which no cache may store then.
pub(crate) fn add_set_cookie(headers: &mut HeaderMap, set_cookie: HeaderValue) {
    headers.append(header::SET_COOKIE, set_cookie);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// A cookie that a response sets.
pub(crate) enum SetCookie<'a> {
    /// The response removes the cookie.
    Removal,
    /// The response sets the cookie.
    Value(&'a HeaderValue),
}

/// Returns the last `Set-Cookie` header for a cookie of this name.
pub(crate) fn set_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<SetCookie<'a>> {
    let of_name = |header: &'a HeaderValue| {
        let value = header.to_str().ok()?.strip_prefix(name)?.strip_prefix('=')?;
        Some(match value.is_empty() || value.starts_with(';') {
            true => SetCookie::Removal,
            false => SetCookie::Value(header),
        })
    };
    headers.get_all(header::SET_COOKIE).into_iter().rev().find_map(of_name)
}
