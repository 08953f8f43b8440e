//! [`FormerToken`]: a refused token that a session stores until its sign-in.
//!
//! Used by `inherited` and `transfer`. Knows the stored form, and makes no store call.
//!
//! If the response to a sign-in is lost, the client presents its former token again. A page view
//! that writes then starts a new session, the *successor*, and its cookie replaces the former token
//! in the browser. But the next sign-in has to find the session of the lost sign-in. So the
//! successor stores the former token in the field [`FORMER`]. An attribute of the successor's token
//! marks it, so that a sign-in to any other session does not have to read this field.

use bytes::{Buf, BufMut, Bytes};

use super::state::RefusedToken;
use crate::{
    codec,
    token::{CookieLife, SecretHash, SessionId},
};

/// Name of the field that holds the former tokens.
pub(super) const FORMER: &str = "ruts.former";

/// Maximum number of tokens in the field [`FORMER`].
const MAX_TOKENS: usize = 8;

/// Length of a stored token in bytes: the id, the hash of the secret, and the lifetime of the
/// cookie.
const LEN: usize = 16 + 32 + 4;

/// A refused token that a sign-in presents to the store again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FormerToken {
    pub(super) id: SessionId,
    pub(super) secret: SecretHash,
    pub(super) cookie_life: CookieLife,
}

impl FormerToken {
    /// Returns the value of the field [`FORMER`] for a new session whose request presented these
    /// tokens. `None` unless a token was replaced or revoked: a sign-in takes nothing over from the
    /// sessions of other tokens.
    pub(super) fn encode(refused: &[RefusedToken]) -> Option<Bytes> {
        let mut out = Vec::new();
        for token in refused.iter().filter(|token| token.reason.may_be_lost()).take(MAX_TOKENS) {
            out.put_slice(token.id.as_bytes());
            out.put_slice(token.secret.as_bytes());
            out.put_u32(token.cookie_life.to_bits());
        }
        (!out.is_empty()).then(|| codec::wrap_own(&out))
    }

    /// Returns the tokens in a value of the field [`FORMER`]. Returns none if a later release wrote
    /// the value in a different form: a sign-in must not fail because of this field.
    pub(super) fn decode(stored: &[u8]) -> Vec<Self> {
        let tokens = codec::unwrap_own(stored).unwrap_or_default();
        let decode = |mut token: &[u8]| {
            let (mut id, mut secret) = ([0; 16], [0; 32]);
            token.try_copy_to_slice(&mut id).ok()?;
            token.try_copy_to_slice(&mut secret).ok()?;
            let cookie_life = CookieLife::from_bits(token.try_get_u32().ok()?);
            let (id, secret) = (SessionId::from_bytes(id), SecretHash::from_bytes(secret));
            Some(Self { id, secret, cookie_life })
        };
        tokens.chunks(LEN).filter_map(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use tokio::time::Instant;

    use super::*;
    use crate::{store::Refused, token::Secret};

    #[test]
    fn former_tokens_round_trip() {
        let remembered = CookieLife::Remembered(NonZeroU32::new(90).unwrap());
        let lives = [CookieLife::Default, CookieLife::Browser, remembered];
        let former = lives.map(|cookie_life| FormerToken {
            id: SessionId::random().unwrap(),
            secret: Secret::random(cookie_life).unwrap().hash(""),
            cookie_life,
        });
        let refuse = |token: FormerToken, reason| {
            RefusedToken::new(token.id, token.secret, token.cookie_life, reason, Instant::now())
        };
        let ago = Duration::ZERO;
        let [first, second, third] = former;
        let refused = [
            refuse(first, Refused::Replaced { ago }),
            refuse(second, Refused::Deleted { ago }),
            refuse(third, Refused::Revoked),
        ];
        let stored = FormerToken::encode(&refused).unwrap();
        assert_eq!(FormerToken::decode(&stored), [first, third]);
        assert!(FormerToken::encode(&refused[1..2]).is_none());
        assert_eq!(FormerToken::decode(&stored[..stored.len() - 1]), [first]);
        assert_eq!(FormerToken::decode(b""), []);
        let many = vec![refused[0]; 10];
        assert_eq!(FormerToken::decode(&FormerToken::encode(&many).unwrap()).len(), MAX_TOKENS);
    }
}
