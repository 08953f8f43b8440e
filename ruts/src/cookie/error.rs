/// Why [`CookieOptions`](crate::CookieOptions) make no safe cookie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name has a character that RFC 6265bis does not allow, or none at all.
    #[error("`{0}` cannot be the name of a cookie")]
    Name(String),
    /// The name begins with a prefix whose conditions the other options do not meet.
    #[error("the name `{name}` needs {needs}")]
    Prefix {
        /// The name.
        name: String,
        /// What the prefix asks for.
        needs: &'static str,
    },
    /// The path does not begin with `/`, or holds `;` or a control character.
    #[error("`{0}` cannot be the path of a cookie")]
    Path(String),
    /// The domain is empty or holds a character that no host name has.
    #[error("`{0}` cannot be the domain of a cookie")]
    Domain(String),
    /// Scripts must not read the token (OWASP ASVS 5.0, 3.3.4).
    #[error("a session cookie is always HttpOnly: remove `.http_only(false)`")]
    HttpOnly,
    /// The token must not travel in the clear (OWASP ASVS 5.0, 3.3.1).
    #[error(
        "a session cookie is always Secure: remove `.secure(false)`; \
         for plain http on localhost there is `SessionLayer::development()`"
    )]
    Secure,
    /// A lifetime of zero would remove the cookie.
    #[error(
        "`max_age` must be longer than zero; leave it out for a cookie that ends with the browser"
    )]
    MaxAge,
    /// Browsers drop a cookie whose name and value exceed 4096 bytes together.
    #[error("name and value come to {bytes} bytes together, above the 4096 that browsers keep")]
    TooLong {
        /// How long they are.
        bytes: usize,
    },
}
