//! [`SessionId`], which may be logged, and [`SecretHash`], which a store keeps instead of the
//! secret.
//!
//! A token is a session id and a secret. The id names the session. The secret proves the right to
//! use it. The public interface cannot make a token from chosen bytes (OWASP ASVS 5.0, 7.2.2 and
//! 7.2.3).

// Used everywhere. Knows the attributes of a token, such as the lifetime of the cookie
// (`CookieLife`), because the secret hash covers them. Knows nothing about cookie headers, sessions
// or stores.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Lengths of an id, a secret and its attributes as text: 16, 32 and 4 bytes in base64.
const ID_LEN: usize = 22;
const SECRET_LEN: usize = 43;
const ATTRIBUTES_LEN: usize = 6;

/// The bit of the attributes that marks a [successor](Secret::is_successor).
const SUCCESSOR: u32 = 1 << 31;
/// The other bits of the attributes for [`CookieLife::Default`]. No lifetime has so many seconds.
const DEFAULT_LIFE: u32 = SUCCESSOR - 1;

/// Length of a token as text: id, a dot, secret.
pub(crate) const TOKEN_LEN: usize = ID_LEN + 1 + SECRET_LEN;
/// Length of a token with attributes: id, a dot, secret, a dot, attributes.
pub(crate) const LONG_TOKEN_LEN: usize = TOKEN_LEN + 1 + ATTRIBUTES_LEN;

/// The random generator of the operating system failed.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct RandomError(#[source] getrandom::Error);

/// Returns random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(RandomError)?;
    Ok(bytes)
}

/// Public identifier of a session: 128 unpredictable bits that never change.
///
/// It grants no access, so it may appear in logs, lists of devices and storage keys. As text it has
/// 22 characters of URL-safe base64.
///
/// ```
/// use ruts::token::{ParseSessionIdError, SessionId};
///
/// let id: SessionId = "AAECAwQFBgcICQoLDA0ODw".parse()?;
/// assert_eq!(id.as_bytes()[15], 15);
/// assert_eq!(id.to_string(), "AAECAwQFBgcICQoLDA0ODw");
/// # Ok::<(), ParseSessionIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    pub(crate) fn random() -> Result<Self, RandomError> {
        random().map(Self)
    }

    /// Returns the id of the session that a sign-in creates in place of a former one. `number`
    /// counts the attempts. If the response is lost, the client presents the same token again. Then
    /// its next attempt finds the session that this attempt has created.
    pub(crate) fn of_attempt(former: &Self, principal: &[u8; 32], number: u8) -> Self {
        let hash = Sha256::new_with_prefix("ruts sign-in")
            .chain_update(former.0)
            .chain_update(principal)
            .chain_update([number])
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(bytes)
    }

    /// Returns the id of a successor. A page view starts a successor in place of a former session.
    /// `number` counts the successors.
    pub(crate) fn of_successor(former: &Self, number: u8) -> Self {
        // No principal has this key, because a principal key is a hash.
        Self::of_attempt(former, &[0; 32], number)
    }

    /// Creates the id with these bytes, for a store that reads its keys back.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; ID_LEN];
        f.pad(encode(&self.0, &mut text))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// The error for a string that is not a [`SessionId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session id: expected 22 characters of URL-safe base64")]
#[non_exhaustive]
pub struct ParseSessionIdError;

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode(text.as_bytes()).map(Self).ok_or(ParseSessionIdError)
    }
}

/// Serialises as text, for paths and forms.
impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// SHA-256 of a secret, the layer name and the attributes of the token, such as the lifetime of the
/// cookie. A store keeps only this hash of the secret.
///
/// Comparing two hashes takes constant time. `Debug` does not show the hash.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Creates the hash with these bytes, for a store that reads it back.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// How long a client keeps the cookie of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CookieLife {
    /// For as long as the cookie options set.
    #[default]
    Default,
    /// Until the browser is closed.
    Browser,
    /// For this number of seconds: the sign-in is remembered.
    Remembered(NonZeroU32),
}

impl CookieLife {
    /// Maximum age that browsers grant a cookie (RFC 6265bis, 5.5).
    pub(crate) const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

    /// Returns how long the sign-in is remembered. `None` if it is not.
    pub(crate) fn remembered(self) -> Option<Duration> {
        match self {
            Self::Remembered(seconds) => Some(Duration::from_secs(seconds.get().into())),
            Self::Default | Self::Browser => None,
        }
    }

    /// Returns the lifetime as the lower 31 bits of the attributes.
    pub(crate) fn to_bits(self) -> u32 {
        match self {
            Self::Default => DEFAULT_LIFE,
            Self::Browser => 0,
            Self::Remembered(seconds) => seconds.get().min(DEFAULT_LIFE - 1),
        }
    }

    /// Reads the lower 31 of these bits.
    pub(crate) fn from_bits(bits: u32) -> Self {
        match NonZeroU32::new(bits & DEFAULT_LIFE) {
            None => Self::Browser,
            Some(seconds) if seconds.get() == DEFAULT_LIFE => Self::Default,
            Some(seconds) => Self::Remembered(seconds),
        }
    }
}

/// 256 random bits that only the client keeps, and two attributes: the lifetime of its cookie, and
/// whether the session is a successor. Does not implement `Debug`, `Display` or `Serialize`, so
/// that the secret is not leaked by accident.
///
/// The hash covers the attributes, so the client cannot change them. A request reads the attributes
/// from its token, without asking the store.
#[derive(Clone)]
pub(crate) struct Secret {
    bytes: [u8; 32],
    life: CookieLife,
    is_successor: bool,
}

impl Secret {
    pub(crate) fn random(life: CookieLife) -> Result<Self, RandomError> {
        Ok(Self { bytes: random()?, life, is_successor: false })
    }

    pub(crate) fn life(&self) -> CookieLife {
        self.life
    }

    /// Returns the same secret for a cookie with a different lifetime. Its hash differs.
    pub(crate) fn with_life(&self, life: CookieLife) -> Self {
        Self { life, ..self.clone() }
    }

    /// Returns whether the session is a successor: the request that started it had presented a
    /// token that was replaced or revoked. Such a session may have a field with that token.
    pub(crate) fn is_successor(&self) -> bool {
        self.is_successor
    }

    /// Sets whether the session is a successor. The hash differs.
    pub(crate) fn with_successor(self, is_successor: bool) -> Self {
        Self { is_successor, ..self }
    }

    /// Returns the attributes as a token carries them. `None` for the default attributes.
    fn attributes(&self) -> Option<[u8; 4]> {
        let successor = if self.is_successor { SUCCESSOR } else { 0 };
        match (self.life, self.is_successor) {
            (CookieLife::Default, false) => None,
            (life, _) => Some((life.to_bits() | successor).to_be_bytes()),
        }
    }

    /// Returns the hash for the store. The hash covers the name of the layer, so that no other
    /// layer with the same store accepts the token. A zero byte separates the name from the
    /// attributes. The separator is unambiguous as long as no layer name contains a zero byte.
    pub(crate) fn hash(&self, layer: &str) -> SecretHash {
        let hash = Sha256::new_with_prefix(self.bytes).chain_update(layer);
        let hash = match self.attributes() {
            None => hash,
            Some(attributes) => hash.chain_update([0]).chain_update(attributes),
        };
        SecretHash(hash.finalize().into())
    }
}

/// A token as the client presents it: `id.secret`, or `id.secret.attributes`.
pub(crate) struct Token {
    pub(crate) id: SessionId,
    pub(crate) secret: Secret,
}

impl Token {
    /// Reads a token from untrusted bytes. `None` unless they are in canonical form. If no token
    /// has the length of the bytes, they are not decoded.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (text, attributes) = match text.len() {
            TOKEN_LEN => (text, DEFAULT_LIFE),
            LONG_TOKEN_LEN if text[TOKEN_LEN] == b'.' => {
                let attributes = u32::from_be_bytes(decode(&text[TOKEN_LEN + 1..])?);
                // The default attributes are refused here, because they belong to the short form of
                // a token.
                (&text[..TOKEN_LEN], Some(attributes).filter(|bits| *bits != DEFAULT_LIFE)?)
            }
            _ => return None,
        };
        if text[ID_LEN] != b'.' {
            return None;
        }
        Some(Self {
            id: SessionId(decode(&text[..ID_LEN])?),
            secret: Secret {
                bytes: decode(&text[ID_LEN + 1..])?,
                life: CookieLife::from_bits(attributes),
                is_successor: attributes & SUCCESSOR != 0,
            },
        })
    }

    /// Returns whether two tokens of one request are equal. The secrets are compared in constant
    /// time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
            && self.secret.attributes() == other.secret.attributes()
            && bool::from(self.secret.bytes.ct_eq(&other.secret.bytes))
    }

    /// Returns the text for the client. No other function reveals a secret.
    pub(crate) fn expose(&self) -> String {
        let (mut id, mut secret) = ([0; ID_LEN], [0; SECRET_LEN]);
        let (id, secret) = (encode(&self.id.0, &mut id), encode(&self.secret.bytes, &mut secret));
        match self.secret.attributes() {
            None => [id, ".", secret].concat(),
            Some(attributes) => {
                [id, ".", secret, ".", encode(&attributes, &mut [0; ATTRIBUTES_LEN])].concat()
            }
        }
    }
}

fn encode<'a>(bytes: &[u8], text: &'a mut [u8]) -> &'a str {
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, text);
    debug_assert_eq!(written, Ok(text.len()));
    std::str::from_utf8(text).unwrap_or_default()
}

fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn token(life: CookieLife) -> Token {
        Token { id: SessionId::random().unwrap(), secret: Secret::random(life).unwrap() }
    }

    fn attributes() -> impl Iterator<Item = (CookieLife, bool)> + Clone {
        let remembered = |seconds| CookieLife::Remembered(NonZeroU32::new(seconds).unwrap());
        let longest = u32::try_from(CookieLife::LONGEST.as_secs()).unwrap();
        let lives = [CookieLife::Default, CookieLife::Browser, remembered(1), remembered(longest)];
        lives.into_iter().flat_map(|life| [(life, false), (life, true)])
    }

    #[test]
    fn a_token_round_trips() {
        for (life, is_successor) in attributes() {
            let Token { id, secret } = token(life);
            let token = Token { id, secret: secret.with_successor(is_successor) };
            let text = token.expose();
            let read = Token::parse(text.as_bytes()).unwrap();
            assert_eq!(read.id, token.id);
            assert_eq!(read.secret.life(), life);
            assert_eq!(read.secret.is_successor(), is_successor);
            assert!(read.secret.hash("") == token.secret.hash(""));
            assert!(read.secret.hash("staff") != token.secret.hash(""));
        }
    }

    #[test]
    fn the_attributes_are_part_of_the_hash() {
        let secret = token(CookieLife::Default).secret;
        let hash =
            |(life, is_successor)| secret.with_life(life).with_successor(is_successor).hash("");
        let hashes: Vec<SecretHash> = attributes().map(hash).collect();
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[at + 1..].contains(hash));
        }
    }

    // proves: ASVS-7.2.3 ASVS-11.5.1 NIST-5.1.2 CS-2
    #[test]
    fn secrets_are_256_bits_distinct_and_balanced() {
        let mut seen = HashSet::new();
        let mut ones = 0_u64;
        for _ in 0..1_000_000 {
            let bytes = Secret::random(CookieLife::Default).unwrap().bytes;
            ones += bytes.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
            assert!(seen.insert(bytes));
        }
        let share = ones as f64 / (1_000_000.0 * 256.0);
        assert!((0.4995..0.5005).contains(&share), "{share}");
    }

    #[test]
    fn only_one_spelling_is_accepted() {
        let secret = Secret { bytes: [0; 32], life: CookieLife::Default, is_successor: false };
        let token = Token { id: SessionId([0; 16]), secret };
        let text = token.expose();
        assert!(Token::parse(text.as_bytes()).is_some());
        // The last character has unused bits. A decoder that ignores them accepts aliases.
        for last in ['B', '=', '.', ' '] {
            let alias = format!("{}{last}", &text[..TOKEN_LEN - 1]);
            assert!(Token::parse(alias.as_bytes()).is_none(), "{alias}");
        }
        assert!(Token::parse(text.replace('.', "-").as_bytes()).is_none());
        let default = encode(&DEFAULT_LIFE.to_be_bytes(), &mut [0; ATTRIBUTES_LEN]).to_owned();
        assert!(Token::parse(format!("{text}.{default}").as_bytes()).is_none());
        assert!(Token::parse(format!("{text}A").as_bytes()).is_none());
    }

    // proves: ASVS-3.3.4
    #[test]
    fn debug_shows_no_hash() {
        assert_eq!(format!("{:?}", SecretHash([7; 32])), "SecretHash(..)");
    }

    proptest! {
        // proves: CS-7
        #[test]
        fn hostile_text_never_panics(text in proptest::collection::vec(any::<u8>(), 0..140)) {
            if let Some(token) = Token::parse(&text) {
                prop_assert_eq!(token.expose().into_bytes(), text);
            }
        }

        #[test]
        fn a_token_is_canonical_or_refused(
            text in "[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}(\\.[A-Za-z0-9_-]{6})?"
        ) {
            if let Some(token) = Token::parse(text.as_bytes()) {
                prop_assert_eq!(token.expose(), text);
            }
        }
    }
}
