use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use ::cookie::Key;

/// A key for cookies cannot be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is too short to be secret.
    #[error("a secret for cookies has {bytes} bytes, and needs 32 at least")]
    TooShort {
        /// How long it is.
        bytes: usize,
    },
    /// There is none at all.
    #[error("cookies need one key at least")]
    None,
}

/// The keys that sign or encrypt cookies: the first is used for new ones, all of them for those that
/// clients have.
///
/// To change keys, put the new one in front, and leave the old one out once no cookie lives that it made.
/// Clones are one ring, so that [`replace`](Self::replace) reaches a layer that is at work: when a vault
/// has new secrets (OWASP ASVS 5.0, 13.3.1).
///
/// ```
/// use ruts::{CookieOptions, cookie::{KeyError, KeyRing}};
///
/// let ring = KeyRing::new(["32 bytes at least, from your vault", "the one that was used before it..."])?;
/// let options = CookieOptions::build().signing_keys(&ring);
/// assert_eq!(options.check(), Ok(()));
///
/// ring.replace(["a new one that has come from the vault", "32 bytes at least, from your vault"])?;
/// assert_eq!(KeyRing::new(["password"]).err(), Some(KeyError::TooShort { bytes: 8 }));
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing(Arc<RwLock<Vec<Key>>>);

impl KeyRing {
    /// A ring of keys that are derived from these secrets.
    ///
    /// # Errors
    ///
    /// There is none, or one has less than 32 bytes.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, KeyError> {
        Ok(Self(Arc::new(RwLock::new(derive(secrets)?))))
    }

    /// Puts other keys in the place of those that are there, in all clones.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and then nothing is changed.
    pub fn replace<S: AsRef<[u8]>>(
        &self,
        secrets: impl IntoIterator<Item = S>,
    ) -> Result<(), KeyError> {
        let keys = derive(secrets)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// What the first key makes of it.
    pub(super) fn with_first<T>(&self, work: impl FnOnce(&Key) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).first().map(work)
    }

    /// What the first key that can makes of it.
    pub(super) fn with_any<T>(&self, work: impl FnMut(&Key) -> Option<T>) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().find_map(work)
    }
}

fn derive<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Vec<Key>, KeyError> {
    let key = |secret: S| match secret.as_ref() {
        short if short.len() < 32 => Err(KeyError::TooShort { bytes: short.len() }),
        long => Ok(Key::derive_from(long)),
    };
    let keys: Vec<Key> = secrets.into_iter().map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
}

/// A ring of a key that was made by hand.
impl From<Key> for KeyRing {
    fn from(key: Key) -> Self {
        Self(Arc::new(RwLock::new(vec![key])))
    }
}

impl From<&Self> for KeyRing {
    fn from(ring: &Self) -> Self {
        ring.clone()
    }
}

/// Shows no key.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("KeyRing").field("keys", &keys).finish()
    }
}
