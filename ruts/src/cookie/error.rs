//! [`CookieError`]: the reason why cookie options are refused.
//!
//! Returned by `options` and `validate`. Knows nothing about tokens or headers.

/// The reason why [`CookieOptions`](crate::CookieOptions) do not make a safe cookie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty, or has a character that RFC 6265bis does not allow.
    #[error("`{0}` cannot be the name of a cookie: use ASCII letters, digits and `!#$%&'*+-.^_|~`")]
    Name(String),
    /// The name begins with a prefix whose conditions the other options do not meet, or with a
    /// misspelt prefix, such as `__host-`.
    #[error("the name `{name}` needs {needs}")]
    Prefix {
        /// The name.
        name: String,
        /// Requirement of the prefix.
        needs: &'static str,
    },
    /// The path does not begin with `/`, is too long, or holds a character that is not allowed.
    #[error(
        "`{0}` cannot be the path of a cookie: a path begins with `/` and has up to 1024 printable \
         ASCII characters except `;` and space"
    )]
    Path(String),
    /// The domain is empty, too long, or not a host name.
    #[error("`{0}` cannot be the domain of a cookie: write a host name, such as `shop.example`")]
    Domain(String),
    /// Scripts must not read the token (OWASP ASVS 5.0, 3.3.4).
    #[error("a session cookie is always HttpOnly: remove `.http_only(false)`")]
    HttpOnly,
    /// The token must not travel in the clear (OWASP ASVS 5.0, 3.3.1).
    #[error(
        "a session cookie is always Secure: remove `.secure(false)`; \
         use `SessionLayer::development()` for plain http on localhost"
    )]
    Secure,
    /// A maximum age of zero would remove the cookie.
    #[error(
        "`max_age` must be longer than zero; leave it out for a cookie that ends with the browser"
    )]
    MaxAge,
    /// Browsers drop a cookie whose name and value together exceed 4096 bytes.
    #[error(
        "the cookie name is too long: name and value together can reach {bytes} bytes, but browsers \
         accept at most 4096"
    )]
    TooLong {
        /// Maximum length of the name and a value together.
        bytes: usize,
    },
}
