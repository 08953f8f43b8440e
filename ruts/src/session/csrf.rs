use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Session;
use crate::{error::Error, field::FieldSpec, sealing::Plaintext, token};

/// Where a session keeps what its tokens are made of.
const SEED: FieldSpec = FieldSpec::new("ruts.csrf");

const BYTES: usize = 32;

/// How requests are bound to the session whose page they come from.
impl<S> Session<S> {
    /// A token for the forms of this session's pages, to be checked by [`is_csrf_token`](Self::is_csrf_token)
    /// when they come back (NIST SP 800-63B-4, 5.1). Without a session, this starts one.
    ///
    /// It is another text each time, so that compressed pages do not give it away, and good for as long as
    /// the session lives and nobody else signs in. One round trip, none if a token was asked for before in
    /// this request; two the first time in a session.
    ///
    /// Against requests of other sites `SameSite` and the `CsrfLayer` of the feature `csrf`
    /// need no token at all; a token also stops those of another subdomain.
    ///
    /// ```
    /// use ruts::{Error, Session};
    ///
    /// async fn form(session: Session) -> Result<String, Error> {
    ///     let token = session.csrf_token().await?;
    ///     Ok(format!(r#"<form method="post"><input type="hidden" name="csrf" value="{token}">"#))
    /// }
    ///
    /// async fn submit(session: Session, csrf: &str) -> Result<&'static str, Error> {
    ///     Ok(if session.is_csrf_token(csrf).await? { "done" } else { "not from our page" })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Entry::set`](crate::Entry::set); [`Error::Random`].
    pub async fn csrf_token(&self) -> Result<String, Error> {
        let shared = self.shared();
        if shared.get(SEED.name(), None).await?.is_none() {
            let fresh = seed(token::random()?);
            // Another request may have been faster.
            let keep = &mut |held: Option<&Plaintext>| {
                Ok(Some(held.map_or(&fresh, |held| &held.bytes).clone()))
            };
            shared.modify(&SEED, None, keep).await?;
        }
        let mask = token::random::<BYTES>()?;
        let bound = self.csrf_bytes().await?.ok_or(Error::Ended)?;
        let masked = xor(&mask, &bound);
        Ok(URL_SAFE_NO_PAD.encode([mask, masked].concat()))
    }

    /// Whether it is a token of this session. Takes the same time whatever it says. One round trip, none
    /// if a token was asked for before in this request.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn is_csrf_token(&self, text: &str) -> Result<bool, Error> {
        let mut bytes = [0; 2 * BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(bytes.len()) {
            return Ok(false);
        }
        let Some(bound) = self.csrf_bytes().await? else { return Ok(false) };
        let (mask, masked) = bytes.split_at(BYTES);
        Ok(xor(mask, masked).ct_eq(&bound).into())
    }

    /// What a token of this session comes to, and of whoever is signed in.
    async fn csrf_bytes(&self) -> Result<Option<[u8; BYTES]>, Error> {
        let Some(seed) = self.shared().get(SEED.name(), None).await? else { return Ok(None) };
        let principal = self.signed_in().await?.map(|signed_in| *signed_in.principal.as_bytes());
        let mut digest = Sha256::new_with_prefix("csrf");
        digest.update([u8::from(principal.is_some())]);
        digest.update(principal.unwrap_or_default());
        digest.update(seed.bytes);
        Ok(Some(digest.finalize().into()))
    }
}

/// What is stored of it. The first byte tells it from an encrypted value, which any random one could be
/// taken for.
fn seed(random: [u8; BYTES]) -> Bytes {
    [&[0][..], &random].concat().into()
}

fn xor(a: &[u8], b: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.iter_mut().zip(a.iter().zip(b)).for_each(|(byte, (a, b))| *byte = a ^ b);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn no_seed_looks_encrypted() {
        assert!((0..=u8::MAX).all(|byte| !codec::is_sealed(&seed([byte; BYTES]))));
    }
}
