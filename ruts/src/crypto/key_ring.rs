//! [`KeyRing`]: keys that are derived from secrets of the deployment.
//!
//! Made by applications. Used by `cookie` and `field_cipher`, and passed on by the layer and
//! `SessionIndex`. Knows nothing about tokens or sessions.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// One key that signs or encrypts, for example for `CookieOptions::signing_key`: the same type as
/// in tower-cookies. For keys that rotate, use [`KeyRing`](crate::crypto::KeyRing).
pub use ::cookie::Key;
#[cfg(feature = "encrypt")]
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
#[cfg(feature = "encrypt")]
use sha2::{Digest, Sha256};

/// The reason why secrets do not make a [`KeyRing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret is too short.
    #[error("a secret for a key ring has {bytes} bytes: it needs at least 32")]
    TooShort {
        /// Length of the secret.
        bytes: usize,
    },
    /// There is no secret.
    #[error("a key ring needs at least one secret")]
    None,
}

/// Keys that sign or encrypt cookies, or encrypt values. The first key is used for new data, and
/// every key for existing data.
///
/// To change keys, put the new secret first. Remove the old secret when no cookie or value depends
/// on it any more. Cookies and values may share a ring, because each use has different keys.
///
/// Clones share one ring. So [`replace`](Self::replace) changes the keys of a running layer, for
/// example when a vault has new secrets (OWASP ASVS 5.0, 13.3.1).
///
/// ```
/// use ruts::{SessionLayer, crypto::{KeyError, KeyRing}, store::memory::MemoryStore};
///
/// let current = "32 bytes at least, from your vault";
/// let ring = KeyRing::new([current, "the former secret, 32 bytes at least"])?;
/// # #[cfg(feature = "encrypt")]
/// let layer = SessionLayer::new(MemoryStore::new()).encryption_keys(&ring);
///
/// ring.replace(["a new secret from your vault, 32 bytes", current])?;
/// assert_eq!(KeyRing::new(["password"]).err(), Some(KeyError::TooShort { bytes: 8 }));
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing(Arc<RwLock<Vec<RingKey>>>);

/// One key of a ring, in its two uses.
pub(crate) struct RingKey {
    #[cfg(any(feature = "signed", feature = "private"))]
    pub(crate) cookies: Key,
    #[cfg(feature = "encrypt")]
    pub(crate) values: ValueKey,
}

/// Key for values, and the id with which an encrypted value names the key.
#[cfg(feature = "encrypt")]
pub(crate) struct ValueKey {
    pub(crate) id: [u8; 4],
    cipher: XChaCha20Poly1305,
}

impl KeyRing {
    /// Creates a ring of keys that are derived from these secrets.
    ///
    /// # Errors
    ///
    /// There is no secret, or a secret has fewer than 32 bytes.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, KeyError> {
        Ok(Self(Arc::new(RwLock::new(derive(secrets)?))))
    }

    /// Replaces all keys, in all clones of the ring.
    ///
    /// # Errors
    ///
    /// The same errors as [`new`](Self::new). After an error, the ring still has its former keys.
    pub fn replace<S: AsRef<[u8]>>(
        &self,
        secrets: impl IntoIterator<Item = S>,
    ) -> Result<(), KeyError> {
        let keys = derive(secrets)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Calls `work` with the first key.
    pub(crate) fn with_first<T>(&self, work: impl FnOnce(&RingKey) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).first().map(work)
    }

    /// Calls `work` with each key until one yields a result. Also returns whether this was the
    /// first key.
    pub(crate) fn with_any<T>(
        &self,
        mut work: impl FnMut(&RingKey) -> Option<T>,
    ) -> Option<(T, bool)> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().enumerate().find_map(|(at, key)| work(key).map(|result| (result, at == 0)))
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
    /// Derives the cipher key and the id. A hash with a prefix for each purpose is enough, because
    /// the master key is uniformly random and has a fixed length.
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

/// Creates a ring of one existing key.
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
