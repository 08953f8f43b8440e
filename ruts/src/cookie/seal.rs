use super::options::CookieOptions;
use crate::token::{TOKEN_TEXT, Token};

/// A signature is a SHA-256 in base64, in front of the value.
const SIGNATURE: usize = 44;
/// Twelve bytes of a nonce, the value and sixteen bytes of a tag, in base64.
const ENCRYPTED: usize = (12 + TOKEN_TEXT + 16).div_ceil(3) * 4;

/// How a token stands in its cookie.
#[derive(Clone)]
pub(super) enum Seal {
    Plain,
    #[cfg(feature = "signed")]
    Signed(crate::KeyRing),
    #[cfg(feature = "private")]
    Encrypted(crate::KeyRing),
}

impl Seal {
    /// The length of the longest value.
    pub(super) const MOST: usize =
        if TOKEN_TEXT + SIGNATURE > ENCRYPTED { TOKEN_TEXT + SIGNATURE } else { ENCRYPTED };

    pub(super) fn of(options: &CookieOptions) -> Self {
        options.seal.clone()
    }

    /// The token of a value that is what it has to be.
    #[cfg_attr(not(any(feature = "signed", feature = "private")), allow(unused_variables))]
    pub(super) fn open(&self, name: &str, value: &[u8]) -> Option<Token> {
        match self {
            Self::Plain => Token::parse(value),
            #[cfg(feature = "signed")]
            Self::Signed(ring) if value.len() == TOKEN_TEXT + SIGNATURE => {
                let cookie = cookie(name, std::str::from_utf8(value).ok()?);
                ring.with_any(|key| {
                    let jar = ::cookie::CookieJar::new();
                    Token::parse(
                        jar.signed(&key.cookies).verify(cookie.clone())?.value().as_bytes(),
                    )
                })
            }
            #[cfg(feature = "private")]
            Self::Encrypted(ring) if value.len() == ENCRYPTED => {
                let cookie = cookie(name, std::str::from_utf8(value).ok()?);
                ring.with_any(|key| {
                    let jar = ::cookie::CookieJar::new();
                    Token::parse(
                        jar.private(&key.cookies).decrypt(cookie.clone())?.value().as_bytes(),
                    )
                })
            }
            #[cfg(any(feature = "signed", feature = "private"))]
            _ => None,
        }
    }

    /// The value that a token stands in.
    #[cfg_attr(not(any(feature = "signed", feature = "private")), allow(unused_variables))]
    pub(super) fn close(&self, name: &str, token: &Token) -> Option<String> {
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

#[cfg(any(feature = "signed", feature = "private"))]
fn cookie(name: &str, value: &str) -> ::cookie::Cookie<'static> {
    ::cookie::Cookie::new(name.to_owned(), value.to_owned())
}
