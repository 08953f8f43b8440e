//! [`CookieCodec`]: encodes a token as a cookie value and decodes it, plain, signed or encrypted.
//!
//! Called by `session_cookie`. Knows nothing about attributes or headers.

#[cfg(any(feature = "signed", feature = "private"))]
use crate::event;
#[cfg(any(feature = "signed", feature = "private"))]
use crate::token::TOKEN_LEN;
use crate::token::{LONG_TOKEN_LEN, Token};

/// Returns the length of a signed token: an HMAC-SHA256, which has 44 characters in base64, then
/// the token.
const fn signed(token: usize) -> usize {
    44 + token
}

/// Returns the length of an encrypted token: a nonce of 12 bytes, the token and a tag of 16 bytes,
/// in base64.
const fn encrypted(token: usize) -> usize {
    (12 + token + 16).div_ceil(3) * 4
}

/// Form of a token in the cookie.
#[derive(Debug, Clone)]
pub(super) enum CookieCodec {
    Plain,
    #[cfg(feature = "signed")]
    Signed(crate::crypto::KeyRing),
    #[cfg(feature = "private")]
    Encrypted(crate::crypto::KeyRing),
}

impl CookieCodec {
    /// Maximum length of a value.
    pub(super) const MAX_LEN: usize = max(signed(LONG_TOKEN_LEN), encrypted(LONG_TOKEN_LEN));

    /// Returns the token in a cookie value. `None` if the value has a different form, or no key
    /// accepts it.
    #[cfg_attr(not(any(feature = "signed", feature = "private")), allow(unused_variables))]
    pub(super) fn decode(&self, name: &str, value: &[u8]) -> Option<Token> {
        match self {
            Self::Plain => Token::parse(value),
            #[cfg(feature = "signed")]
            Self::Signed(ring) if is_length_of(value, signed) => {
                let cookie = cookie(name, std::str::from_utf8(value).ok()?);
                counted(ring.with_any(|key| {
                    let jar = ::cookie::CookieJar::new();
                    Token::parse(
                        jar.signed(&key.cookies).verify(cookie.clone())?.value().as_bytes(),
                    )
                }))
            }
            #[cfg(feature = "private")]
            Self::Encrypted(ring) if is_length_of(value, encrypted) => {
                let cookie = cookie(name, std::str::from_utf8(value).ok()?);
                counted(ring.with_any(|key| {
                    let jar = ::cookie::CookieJar::new();
                    Token::parse(
                        jar.private(&key.cookies).decrypt(cookie.clone())?.value().as_bytes(),
                    )
                }))
            }
            #[cfg(any(feature = "signed", feature = "private"))]
            _ => None,
        }
    }

    /// Encodes a token as a cookie value.
    #[cfg_attr(not(any(feature = "signed", feature = "private")), allow(unused_variables))]
    pub(super) fn encode(&self, name: &str, token: &Token) -> Option<String> {
        match self {
            Self::Plain => Some(token.expose()),
            #[cfg(feature = "signed")]
            Self::Signed(ring) => ring.with_first(|key| {
                let mut jar = ::cookie::CookieJar::new();
                jar.signed_mut(&key.cookies).add(cookie(name, &token.expose()));
                jar.get(name).map(|cookie| cookie.value().to_owned())
            })?,
            #[cfg(feature = "private")]
            Self::Encrypted(ring) => ring.with_first(|key| {
                let mut jar = ::cookie::CookieJar::new();
                jar.private_mut(&key.cookies).add(cookie(name, &token.expose()));
                jar.get(name).map(|cookie| cookie.value().to_owned())
            })?,
        }
    }
}

/// Counts a token by the key that has accepted it.
#[cfg(any(feature = "signed", feature = "private"))]
fn counted(found: Option<(Token, bool)>) -> Option<Token> {
    let (token, by_first) = found?;
    event::cookie_read(by_first);
    Some(token)
}

/// Returns whether a value has the length of a token in this form. A value of a different length is
/// not tried with any key.
#[cfg(any(feature = "signed", feature = "private"))]
fn is_length_of(value: &[u8], form: fn(usize) -> usize) -> bool {
    [TOKEN_LEN, LONG_TOKEN_LEN].map(form).contains(&value.len())
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

#[cfg(any(feature = "signed", feature = "private"))]
fn cookie(name: &str, value: &str) -> ::cookie::Cookie<'static> {
    ::cookie::Cookie::new(name.to_owned(), value.to_owned())
}
