//! Who a session belongs to, as a store knows it, and how sure one was of that.

use std::fmt;

use sha2::{Digest, Sha256};

/// Who is signed in, as stores and indexes know it: a digest of the value of a `principal` field, of the
/// field's name, and of the layer's.
///
/// It is made of the value, not of its bytes in storage, so another codec or version of the field finds
/// the same sessions. It names somebody and opens nothing, but who knows the values can try them out:
/// `Debug` shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalKey([u8; 32]);

impl PrincipalKey {
    /// The key of a value, written as JSON.
    pub(crate) fn digest(layer: &str, field: &str, value: &[u8]) -> Self {
        let mut digest = Sha256::new();
        // Each with its length, so that no two come to the same bytes.
        for part in [layer.as_bytes(), field.as_bytes(), value] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// The key with these bytes, for a store that reads it back.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrincipalKey(..)")
    }
}

/// How sure one was of who signed in, after the authentication assurance levels of NIST SP 800-63B-4.
///
/// The later, the surer, so that they can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Assurance {
    /// Recognised by a cookie of an earlier sign-in, which is no authentication (5.1).
    Remembered,
    /// One factor.
    Aal1,
    /// Two factors.
    Aal2,
    /// Two factors, one of them a key in hardware that resists phishing.
    Aal3,
}

impl Assurance {
    /// The number of the level; 0 is [`Remembered`](Self::Remembered).
    pub const fn level(self) -> u8 {
        match self {
            Self::Remembered => 0,
            Self::Aal1 => 1,
            Self::Aal2 => 2,
            Self::Aal3 => 3,
        }
    }

    /// The assurance of that level, for a store that reads it back.
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::Remembered),
            1 => Some(Self::Aal1),
            2 => Some(Self::Aal2),
            3 => Some(Self::Aal3),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_things_differ() {
        let keys = [
            PrincipalKey::digest("", "user", b"7"),
            PrincipalKey::digest("", "user", b"8"),
            PrincipalKey::digest("", "use", b"r7"),
            PrincipalKey::digest("u", "ser", b"7"),
            PrincipalKey::digest("user", "", b"7"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other != key));
        }
        assert_eq!(format!("{:?}", keys[0]), "PrincipalKey(..)");
    }

    #[test]
    fn levels_are_in_order() {
        for level in 0..4 {
            let assurance = Assurance::from_level(level).unwrap();
            assert_eq!(assurance.level(), level);
            assert!(Assurance::from_level(level + 1).is_none_or(|next| next > assurance));
        }
    }
}
