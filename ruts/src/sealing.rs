//! Values that are encrypted at rest.
//!
//! ```text
//! in the clear  header                                    payload
//! stored        header with a flag | key id | nonce | ciphertext and tag
//! bytes         4                    4        24      as many as the payload, and 16
//! ```
//!
//! XChaCha20-Poly1305: its nonces are long enough to be random however many values there are. The tag
//! also covers the header, the session's id and the field's name, so that a value opens nowhere
//! else.

use bytes::Bytes;

use crate::{
    codec::{self, CodecError},
    token::SessionId,
};
#[cfg(feature = "encrypt")]
use crate::{
    keys::KeyRing,
    token::{self, RandomError},
};

/// The session and the field that a value belongs to.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(feature = "encrypt"),
    allow(dead_code, reason = "nothing opens anywhere without keys")
)]
pub(crate) struct FieldAad<'a> {
    pub(crate) id: &'a SessionId,
    pub(crate) field: &'a str,
}

/// A value as its codec wrote it.
#[derive(Clone)]
pub(crate) struct Plaintext {
    pub(crate) bytes: Bytes,
    pub(crate) was_encrypted: bool,
}

/// Encrypts and decrypts values, if it was given keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldCipher {
    #[cfg(feature = "encrypt")]
    pub(crate) keys: Option<KeyRing>,
}

/// Why a value could not be encrypted.
pub(crate) enum CipherError {
    NoKey,
    #[cfg(feature = "encrypt")]
    Random(RandomError),
}

#[cfg(feature = "encrypt")]
const NONCE: usize = 24;

impl FieldCipher {
    /// What a store is to keep of a value.
    #[cfg(not(feature = "encrypt"))]
    pub(crate) fn seal(&self, _: FieldAad<'_>, _: &Bytes) -> Result<Bytes, CipherError> {
        Err(CipherError::NoKey)
    }

    /// What a store is to keep of a value.
    #[cfg(feature = "encrypt")]
    pub(crate) fn seal(&self, place: FieldAad<'_>, value: &Bytes) -> Result<Bytes, CipherError> {
        let nonce = token::random::<NONCE>().map_err(CipherError::Random)?;
        let keys = self.keys.as_ref().ok_or(CipherError::NoKey)?;
        let (header, payload) = codec::split_sealed(value).ok_or(CipherError::NoKey)?;
        let associated = place.associated(header);
        let sealed = keys.with_first(|key| {
            let ciphertext = key.values.encrypt(&nonce, payload, &associated)?;
            Some([&header[..], &key.values.id, &nonce, &ciphertext].concat())
        });
        sealed.flatten().map(Bytes::from).ok_or(CipherError::NoKey)
    }

    /// The value of what a store has kept.
    pub(crate) fn open(
        &self,
        place: FieldAad<'_>,
        stored: &Bytes,
    ) -> Result<Plaintext, CodecError> {
        if !codec::is_sealed(stored) {
            return Ok(Plaintext { bytes: stored.clone(), was_encrypted: false });
        }
        let bytes = self.decrypt(place, stored)?;
        Ok(Plaintext { bytes, was_encrypted: true })
    }

    #[cfg(not(feature = "encrypt"))]
    fn decrypt(&self, _: FieldAad<'_>, _: &Bytes) -> Result<Bytes, CodecError> {
        Err(CodecError::NoKey)
    }

    #[cfg(feature = "encrypt")]
    fn decrypt(&self, place: FieldAad<'_>, stored: &Bytes) -> Result<Bytes, CodecError> {
        let keys = self.keys.as_ref().ok_or(CodecError::NoKey)?;
        let (header, rest) = codec::split_sealed(stored).ok_or(CodecError::Header)?;
        let (id, rest) = rest.split_first_chunk().ok_or(CodecError::Sealed)?;
        let (nonce, ciphertext) = rest.split_first_chunk().ok_or(CodecError::Sealed)?;
        let associated = place.associated(header);
        let mut had_key = false;
        let payload = keys.with_any(|key| {
            let is_it = key.values.id == *id;
            had_key |= is_it;
            is_it.then(|| key.values.decrypt(nonce, ciphertext, &associated)).flatten()
        });
        match payload {
            Some(payload) => Ok(codec::join_opened(header, &payload)),
            None if had_key => Err(CodecError::Sealed),
            None => Err(CodecError::NoKey),
        }
    }
}

#[cfg(feature = "encrypt")]
impl FieldAad<'_> {
    /// What has to be the same when a value is opened. Header and id have a fixed length.
    fn associated(&self, header: [u8; codec::HEADER]) -> Vec<u8> {
        [&header[..], self.id.as_bytes(), self.field.as_bytes()].concat()
    }
}

#[cfg(test)]
#[cfg(all(feature = "encrypt", feature = "bincode"))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Codec, decode, encode};

    const SECRETS: [&str; 2] =
        ["the first secret of 32 bytes or more", "and another of such a length"];

    fn sealer(secrets: &[&str]) -> FieldCipher {
        let padded = secrets.iter().map(|secret| format!("{secret:>32}"));
        FieldCipher { keys: Some(KeyRing::new(padded).unwrap()) }
    }

    fn place<'a>(id: &'a SessionId, field: &'a str) -> FieldAad<'a> {
        FieldAad { id, field }
    }

    fn seal(sealer: &FieldCipher, place: FieldAad<'_>, value: &str) -> Bytes {
        let plain = encode(Codec::Bincode, 1, value).unwrap();
        sealer.seal(place, &plain).ok().unwrap()
    }

    // proves: CS-3
    #[test]
    fn a_value_opens_in_its_place_only() {
        let sealer = sealer(&SECRETS);
        let (ours, other) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        let sealed = seal(&sealer, place(&ours, "card"), "4111 1111");
        assert!(!sealed.windows(4).any(|window| window == b"4111"));
        let opened = sealer.open(place(&ours, "card"), &sealed).unwrap();
        assert!(opened.was_encrypted);
        assert_eq!(decode(&opened.bytes, 1).unwrap(), Some("4111 1111".to_owned()));
        for elsewhere in [place(&other, "card"), place(&ours, "name")] {
            assert_eq!(sealer.open(elsewhere, &sealed).err(), Some(CodecError::Sealed));
        }
    }

    #[test]
    fn two_values_are_never_the_same() {
        let (sealer, id) = (sealer(&SECRETS), SessionId::random().unwrap());
        let seal = || seal(&sealer, place(&id, "card"), "4111");
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_key_that_was_left_out_opens_nothing() {
        let id = SessionId::random().unwrap();
        let place = place(&id, "card");
        let old = seal(&sealer(&SECRETS[1..]), place, "4111");
        assert!(sealer(&SECRETS).open(place, &old).is_ok());
        assert_eq!(sealer(&SECRETS[..1]).open(place, &old).err(), Some(CodecError::NoKey));
        assert_eq!(FieldCipher::default().open(place, &old).err(), Some(CodecError::NoKey));
    }

    proptest! {
        #[test]
        fn what_was_altered_is_refused(at: prop::sample::Index, bit in 0_u8..8) {
            let (sealer, id) = (sealer(&SECRETS), SessionId::random().unwrap());
            let place = place(&id, "card");
            let mut sealed = seal(&sealer, place, "4111").to_vec();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let opened = sealer.open(place, &sealed.into());
            let refused = match opened {
                Err(_) => true,
                // Without its flag it is no ciphertext, which a field marked `encrypt` refuses.
                Ok(opened) => !opened.was_encrypted,
            };
            prop_assert!(refused);
        }

        #[test]
        fn hostile_bytes_are_never_a_panic(rest in proptest::collection::vec(any::<u8>(), 0..99)) {
            let id = SessionId::random().unwrap();
            let stored = Bytes::from([&[0x11, 1, 0, 1][..], &rest].concat());
            prop_assert!(sealer(&SECRETS).open(place(&id, "card"), &stored).is_err());
        }
    }
}
