//! [`FieldCipher`]: encrypts values at rest.
//!
//! Called by the session, and configured by the layer. Knows the header of a value through `codec`,
//! and nothing about payload formats or stores.
//!
//! ```text
//! plain      header                                 payload
//! encrypted  header with a flag | key id | nonce | ciphertext and tag
//! bytes      8                    4        24      length of the payload, and 16
//! ```
//!
//! The algorithm is XChaCha20-Poly1305. Its nonces have 192 bits, so random nonces do not repeat in
//! practice. The tag also covers the header, the session id and the field name. So a value can only
//! be decrypted in its own session and field.

use bytes::Bytes;

#[cfg(feature = "encrypt")]
use super::key_ring::KeyRing;
#[cfg(feature = "encrypt")]
use crate::token::{self, RandomError};
use crate::{
    codec::{self, CodecError},
    token::SessionId,
};

/// Associated data of a value: the session and the field that it belongs to.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(feature = "encrypt"),
    allow(dead_code, reason = "without the feature nothing is decrypted")
)]
pub(crate) struct FieldAad<'a> {
    pub(crate) id: &'a SessionId,
    pub(crate) field: &'a str,
}

/// A value as its codec wrote it, after decryption if it was encrypted.
#[derive(Clone)]
pub(crate) struct Plaintext {
    pub(crate) bytes: Bytes,
    pub(crate) was_encrypted: bool,
}

/// Encrypts and decrypts values. Without keys, an encrypted value can be neither written nor read.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldCipher {
    #[cfg(feature = "encrypt")]
    pub(crate) keys: Option<KeyRing>,
}

/// The reason why a value could not be encrypted.
pub(crate) enum CipherError {
    NoKey,
    #[cfg(feature = "encrypt")]
    Random(RandomError),
}

#[cfg(feature = "encrypt")]
const NONCE_LEN: usize = 24;

impl FieldCipher {
    /// Returns an error: without the feature `encrypt` there are no keys.
    #[cfg(not(feature = "encrypt"))]
    pub(crate) fn encrypt(&self, _: FieldAad<'_>, _: &Bytes) -> Result<Bytes, CipherError> {
        Err(CipherError::NoKey)
    }

    /// Encrypts a value for the store.
    #[cfg(feature = "encrypt")]
    pub(crate) fn encrypt(&self, aad: FieldAad<'_>, value: &Bytes) -> Result<Bytes, CipherError> {
        let nonce = token::random::<NONCE_LEN>().map_err(CipherError::Random)?;
        let keys = self.keys.as_ref().ok_or(CipherError::NoKey)?;
        let (header, payload) = codec::split_encrypted(value).ok_or(CipherError::NoKey)?;
        let aad = aad.to_bytes(header);
        let stored = keys.with_first(|key| {
            let ciphertext = key.values.encrypt(&nonce, payload, &aad)?;
            Some([&header[..], &key.values.id, &nonce, &ciphertext].concat())
        });
        stored.flatten().map(Bytes::from).ok_or(CipherError::NoKey)
    }

    /// Decrypts a stored value. A value that is not encrypted is returned as it is.
    pub(crate) fn decrypt(
        &self,
        aad: FieldAad<'_>,
        stored: &Bytes,
    ) -> Result<Plaintext, CodecError> {
        if !codec::is_encrypted(stored) {
            return Ok(Plaintext { bytes: stored.clone(), was_encrypted: false });
        }
        let bytes = self.decrypt_payload(aad, stored)?;
        Ok(Plaintext { bytes, was_encrypted: true })
    }

    /// Returns whether a stored value is encrypted as a write would encrypt it: not at all, or with
    /// the first key.
    pub(crate) fn is_current(&self, encrypts: bool, stored: &[u8]) -> bool {
        match (encrypts, codec::is_encrypted(stored)) {
            (true, true) => self.is_of_first_key(stored),
            (encrypts, is_encrypted) => encrypts == is_encrypted,
        }
    }

    #[cfg(not(feature = "encrypt"))]
    fn is_of_first_key(&self, _: &[u8]) -> bool {
        false
    }

    #[cfg(feature = "encrypt")]
    fn is_of_first_key(&self, stored: &[u8]) -> bool {
        let id = stored.get(codec::HEADER_LEN..codec::HEADER_LEN + 4);
        let first = self.keys.as_ref().and_then(|keys| keys.with_first(|key| key.values.id));
        first.is_some_and(|first| id == Some(&first[..]))
    }

    #[cfg(not(feature = "encrypt"))]
    fn decrypt_payload(&self, _: FieldAad<'_>, _: &Bytes) -> Result<Bytes, CodecError> {
        Err(CodecError::NoKey)
    }

    #[cfg(feature = "encrypt")]
    fn decrypt_payload(&self, aad: FieldAad<'_>, stored: &Bytes) -> Result<Bytes, CodecError> {
        let keys = self.keys.as_ref().ok_or(CodecError::NoKey)?;
        let (header, rest) = codec::split_encrypted(stored).ok_or(CodecError::Header)?;
        let (id, rest) = rest.split_first_chunk().ok_or(CodecError::Tampered)?;
        let (nonce, ciphertext) = rest.split_first_chunk().ok_or(CodecError::Tampered)?;
        let aad = aad.to_bytes(header);
        let mut knows_key = false;
        let payload = keys.with_any(|key| {
            let is_named = key.values.id == *id;
            knows_key |= is_named;
            is_named.then(|| key.values.decrypt(nonce, ciphertext, &aad)).flatten()
        });
        match payload {
            Some((payload, _)) => Ok(codec::join_decrypted(header, &payload)),
            None if knows_key => Err(CodecError::Tampered),
            None => Err(CodecError::NoKey),
        }
    }
}

#[cfg(feature = "encrypt")]
impl FieldAad<'_> {
    /// Joins the data that the tag covers. Header and id have a fixed length, so different inputs
    /// never yield the same bytes.
    fn to_bytes(self, header: [u8; codec::HEADER_LEN]) -> Vec<u8> {
        [&header[..], self.id.as_bytes(), self.field.as_bytes()].concat()
    }
}

#[cfg(test)]
#[cfg(all(feature = "encrypt", feature = "bincode"))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Codec, Fingerprint, decode, encode};

    const SECRETS: [&str; 2] =
        ["the first secret of 32 bytes or more", "and another of such a length"];

    fn cipher(secrets: &[&str]) -> FieldCipher {
        let padded = secrets.iter().map(|secret| format!("{secret:>32}"));
        FieldCipher { keys: Some(KeyRing::new(padded).unwrap()) }
    }

    fn aad<'a>(id: &'a SessionId, field: &'a str) -> FieldAad<'a> {
        FieldAad { id, field }
    }

    fn encrypt(cipher: &FieldCipher, aad: FieldAad<'_>, value: &str) -> Bytes {
        let plain = encode(Codec::Bincode, 1, Fingerprint::UNKNOWN, value).unwrap();
        cipher.encrypt(aad, &plain).ok().unwrap()
    }

    // proves: CS-3
    #[test]
    fn a_value_decrypts_only_in_its_session_and_field() {
        let cipher = cipher(&SECRETS);
        let (ours, other) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        let encrypted = encrypt(&cipher, aad(&ours, "card"), "4111 1111");
        assert!(!encrypted.windows(4).any(|window| window == b"4111"));
        let plaintext = cipher.decrypt(aad(&ours, "card"), &encrypted).unwrap();
        assert!(plaintext.was_encrypted);
        assert_eq!(
            decode::<String>(&plaintext.bytes, 1, || Fingerprint::UNKNOWN).unwrap(),
            "4111 1111"
        );
        for elsewhere in [aad(&other, "card"), aad(&ours, "name")] {
            assert_eq!(cipher.decrypt(elsewhere, &encrypted).err(), Some(CodecError::Tampered));
        }
    }

    #[test]
    fn equal_values_have_different_ciphertexts() {
        let (cipher, id) = (cipher(&SECRETS), SessionId::random().unwrap());
        let encrypted = || encrypt(&cipher, aad(&id, "card"), "4111");
        assert_ne!(encrypted(), encrypted());
    }

    #[test]
    fn a_value_of_a_removed_key_is_unreadable() {
        let id = SessionId::random().unwrap();
        let aad = aad(&id, "card");
        let old = encrypt(&cipher(&SECRETS[1..]), aad, "4111");
        assert!(cipher(&SECRETS).decrypt(aad, &old).is_ok());
        assert_eq!(cipher(&SECRETS[..1]).decrypt(aad, &old).err(), Some(CodecError::NoKey));
        assert_eq!(FieldCipher::default().decrypt(aad, &old).err(), Some(CodecError::NoKey));
    }

    proptest! {
        #[test]
        fn an_altered_value_is_refused(at: prop::sample::Index, bit in 0_u8..8) {
            let (cipher, id) = (cipher(&SECRETS), SessionId::random().unwrap());
            let aad = aad(&id, "card");
            let mut encrypted = encrypt(&cipher, aad, "4111").to_vec();
            let at = at.index(encrypted.len());
            encrypted[at] ^= 1 << bit;
            let plaintext = cipher.decrypt(aad, &encrypted.into());
            let refused = match plaintext {
                Err(_) => true,
                // Without the flag the value counts as plain. A field with `encrypt` refuses plain
                // values.
                Ok(plaintext) => !plaintext.was_encrypted,
            };
            prop_assert!(refused);
        }

        #[test]
        fn hostile_bytes_never_panic(rest in proptest::collection::vec(any::<u8>(), 0..99)) {
            let id = SessionId::random().unwrap();
            let stored = Bytes::from([&[0x11, 1, 0, 1][..], &rest].concat());
            prop_assert!(cipher(&SECRETS).decrypt(aad(&id, "card"), &stored).is_err());
        }
    }
}
