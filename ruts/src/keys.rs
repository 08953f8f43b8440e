//! Secrets of the deployment, and what is derived from them.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use ::cookie::Key;
#[cfg(feature = "encrypt")]
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
#[cfg(feature = "encrypt")]
use sha2::{Digest, Sha256};

/// A key cannot be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is too short to be secret.
    #[error("a secret for keys has {bytes} bytes, and needs 32 at least")]
    TooShort {
        /// How long it is.
        bytes: usize,
    },
    /// There is none at all.
    #[error("one key is needed at least")]
    None,
}

/// The keys that sign or encrypt cookies, or encrypt values: the first is used for new ones, all of them
/// for those that are there.
///
/// To change keys, put the new one in front, and leave the old one out once nothing lives that it made.
/// Cookies and values may share a ring: what is used for the one says nothing of the other.
/// Clones are one ring, so that [`replace`](Self::replace) reaches a layer that is at work: when a vault
/// has new secrets (OWASP ASVS 5.0, 13.3.1).
///
/// ```
/// use ruts::{KeyError, KeyRing, SessionLayer, store::memory::MemoryStore};
///
/// let ring = KeyRing::new(["32 bytes at least, from your vault", "the one that was used before it..."])?;
/// # #[cfg(feature = "encrypt")]
/// let layer = SessionLayer::new(MemoryStore::new()).encryption_keys(&ring);
///
/// ring.replace(["a new one that has come from the vault", "32 bytes at least, from your vault"])?;
/// assert_eq!(KeyRing::new(["password"]).err(), Some(KeyError::TooShort { bytes: 8 }));
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing(Arc<RwLock<Vec<RingKey>>>);

/// One of the keys of a ring, in its two uses.
pub(crate) struct RingKey {
    #[cfg(any(feature = "signed", feature = "private"))]
    pub(crate) cookies: Key,
    #[cfg(feature = "encrypt")]
    pub(crate) values: ValueKey,
}

/// A key for values, and the name by which they know it.
#[cfg(feature = "encrypt")]
pub(crate) struct ValueKey {
    pub(crate) id: [u8; 4],
    cipher: XChaCha20Poly1305,
}

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
    pub(crate) fn with_first<T>(&self, work: impl FnOnce(&RingKey) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).first().map(work)
    }

    /// What the first key that can makes of it.
    pub(crate) fn with_any<T>(&self, work: impl FnMut(&RingKey) -> Option<T>) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().find_map(work)
    }
}

fn derive<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Vec<RingKey>, KeyError> {
    let key = |secret: S| match secret.as_ref() {
        short if short.len() < 32 => Err(KeyError::TooShort { bytes: short.len() }),
        long => Ok(RingKey::from(Key::derive_from(long))),
    };
    let keys: Vec<RingKey> = secrets.into_iter().map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
}

impl From<Key> for RingKey {
    fn from(key: Key) -> Self {
        Self {
            #[cfg(feature = "encrypt")]
            values: ValueKey::of(&key),
            #[cfg(any(feature = "signed", feature = "private"))]
            cookies: key,
        }
    }
}

#[cfg(feature = "encrypt")]
impl ValueKey {
    /// Derived from the whole of a uniform key of fixed length, so a hash with a purpose is enough.
    fn of(key: &Key) -> Self {
        let derived = Sha256::new_with_prefix("ruts values").chain_update(key.master()).finalize();
        let digest = Sha256::new_with_prefix("ruts key id").chain_update(derived).finalize();
        let mut id = [0; 4];
        id.copy_from_slice(&digest[..4]);
        Self { id, cipher: XChaCha20Poly1305::new(&derived) }
    }

    pub(crate) fn encrypt(&self, nonce: &[u8; 24], msg: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        self.cipher.encrypt(nonce.into(), Payload { msg, aad }).ok()
    }

    pub(crate) fn decrypt(&self, nonce: &[u8; 24], msg: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        self.cipher.decrypt(nonce.into(), Payload { msg, aad }).ok()
    }
}

/// A ring of a key that was made by hand.
impl From<Key> for KeyRing {
    fn from(key: Key) -> Self {
        Self(Arc::new(RwLock::new(vec![key.into()])))
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
