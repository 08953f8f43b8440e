//! [`Assurance`] of a sign-in, and [`PrincipalKey`], by which stores list sessions.
//!
//! To sign a user in, see [`Entry::sign_in`](crate::Entry::sign_in).

// Used by stores, the session and guards. Knows nothing about users or credentials.

use std::fmt;

use sha2::{Digest, Sha256};

/// Key by which stores list the sessions of a principal.
///
/// The key is a digest of the name of the layer, the name of the `principal` field, and the value
/// of the field as JSON. It does not depend on the stored bytes. So a new codec does not change the
/// key, and a new version changes it only if the JSON differs.
///
/// The key grants no access. But an attacker could check guesses of the value against it, so
/// `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalKey([u8; 32]);

impl PrincipalKey {
    /// Computes the key of a value that is given as JSON.
    pub(crate) fn digest(layer: &str, field: &str, value: &[u8]) -> Self {
        let mut digest = Sha256::new();
        // Each part is preceded by its length, so that no two inputs yield the same bytes.
        for part in [layer.as_bytes(), field.as_bytes(), value] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// Turns the key of a value into the key under which stores list the [index entries] of that
    /// value.
    ///
    /// [index entries]: crate::field::FieldSpec::index
    pub(crate) fn of_index(&self) -> Self {
        // No field has an empty name, so no principal has such a key.
        Self::digest("ruts.index", "", &self.0)
    }

    /// Creates the key with these bytes, for a store that reads it back.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrincipalKey(..)")
    }
}

/// Strength of an authentication, by the assurance levels of NIST SP 800-63B-4.
///
/// Levels can be compared: a stronger one is greater.
///
/// ```
/// use std::time::Duration;
/// use ruts::{Error, Session, auth::Assurance};
///
/// async fn change_password(session: Session) -> Result<(), Error> {
///     session.require(Assurance::Aal2, Some(Duration::from_secs(300))).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Assurance {
    /// The user is recognised by the cookie of an earlier sign-in. This recognition is not an
    /// authentication (SP 800-63B-4, 5.1).
    Remembered,
    /// One factor.
    Aal1,
    /// Two factors.
    Aal2,
    /// Two factors, one of them a hardware key that resists phishing.
    Aal3,
}

impl Assurance {
    /// Returns the number of the level. [`Remembered`](Self::Remembered) is 0.
    pub const fn level(self) -> u8 {
        match self {
            Self::Remembered => 0,
            Self::Aal1 => 1,
            Self::Aal2 => 2,
            Self::Aal3 => 3,
        }
    }

    /// Returns the assurance of a level, for a store that reads it back. `None` above 3.
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
    fn keys_of_different_values_differ() {
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
