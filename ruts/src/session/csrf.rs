//! Creates and verifies CSRF tokens, which bind a form to its session.
//!
//! Called by `handle`. Knows one reserved field of the session, and nothing of HTTP.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{request::operations::Request, value};
use crate::{codec, crypto::field_cipher::Plaintext, error::Error, field::FieldSpec, token};

/// The field with the random seed of a session's CSRF tokens.
const SEED: FieldSpec = FieldSpec::reserved("ruts.csrf");

const BYTES: usize = 32;

/// Returns a new token: a random mask, then the bound bytes XORed with the mask.
pub(super) async fn token(request: &Request) -> Result<String, Error> {
    if request.get(SEED.name(), None).await?.is_none() {
        let fresh = codec::wrap_own(&token::random::<BYTES>()?);
        // If another request has stored a seed meanwhile, that seed stays.
        let keep = &mut |held: Option<&Plaintext>| {
            Ok(Some(held.map_or(&fresh, |held| &held.bytes).clone()))
        };
        request.modify(&SEED, None, keep).await?;
    }
    let mask = token::random::<BYTES>()?;
    let bound = bound_bytes(request).await?.ok_or(Error::Ended)?;
    Ok(URL_SAFE_NO_PAD.encode([mask, xor(&mask, &bound)].concat()))
}

/// Returns whether `text` is a CSRF token of the session. Compares in constant time.
pub(super) async fn verify(request: &Request, text: &str) -> Result<bool, Error> {
    let mut bytes = [0; 2 * BYTES];
    if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(bytes.len()) {
        return Ok(false);
    }
    let Some(bound) = bound_bytes(request).await? else { return Ok(false) };
    let (mask, masked) = bytes.split_at(BYTES);
    Ok(xor(mask, masked).ct_eq(&bound).into())
}

/// Returns the bytes that every token of this session and its principal carries, XORed with a mask.
/// `None` without a seed.
async fn bound_bytes(request: &Request) -> Result<Option<[u8; BYTES]>, Error> {
    let Some(seed) = request.get(SEED.name(), None).await? else { return Ok(None) };
    let signed_in = request.known_meta().await?.and_then(|meta| meta.signed_in);
    let principal = signed_in.map(|signed_in| *signed_in.principal.as_bytes());
    let mut digest = Sha256::new_with_prefix("csrf");
    digest.update([u8::from(principal.is_some())]);
    digest.update(principal.unwrap_or_default());
    let seed = codec::unwrap_own(&seed.bytes);
    digest.update(seed.map_err(|source| value::decode_error(SEED.name(), source))?);
    Ok(Some(digest.finalize().into()))
}

fn xor(a: &[u8], b: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.iter_mut().zip(a.iter().zip(b)).for_each(|(byte, (a, b))| *byte = a ^ b);
    bytes
}
