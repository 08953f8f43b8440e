//! Creates and verifies CSRF tokens, which bind a form to its session.
//!
//! Called by `handle`. Knows one reserved field of the session, and nothing about HTTP.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{future::Boxed, request::operations::RequestSession, value};
use crate::{
    auth::PrincipalKey, codec, crypto::field_cipher::Plaintext, error::Error, field::FieldSpec,
    token,
};

/// The field with the random seed of a session's CSRF tokens.
const SEED: FieldSpec = FieldSpec::reserved("ruts.csrf");

const BYTES: usize = 32;

/// Returns a new token: a random mask, then the bound bytes XORed with the mask.
pub(super) fn token(request: &RequestSession) -> Boxed<'_, String> {
    Box::pin(async move {
        let mask = token::random::<BYTES>()?;
        let bound = match add_seed(request).await {
            // A late request starts no session. But its page may have a form, such as the page of a
            // sign-in right after a sign-out.
            Err(Error::Ended) => bound_to_refused(request).await?,
            added => {
                added?;
                bound_bytes(request).await?
            }
        };
        let bound = bound.ok_or(Error::Ended)?;
        Ok(URL_SAFE_NO_PAD.encode([mask, xor(&mask, &bound)].concat()))
    })
}

/// Returns whether `text` is a CSRF token of the session. Compares in constant time.
pub(super) fn verify<'a>(request: &'a RequestSession, text: &'a str) -> Boxed<'a, bool> {
    Box::pin(async move {
        let mut bytes = [0; 2 * BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(bytes.len()) {
            return Ok(false);
        }
        let (mask, masked) = bytes.split_at(BYTES);
        let bound = xor(mask, masked);
        let accepted = match bound_bytes(request).await? {
            Some(accepted) => vec![accepted],
            None => {
                let refused = bound_to_refused(request).await?.into_iter();
                // The user may have clicked twice on a sign-in form, or the response may be lost.
                // The token of the form is bound to a guest, or to the principal of the former
                // session.
                let former = match request.get_of_former(SEED.name()).await? {
                    Some((seed, principal)) => {
                        let seed = unwrap(&seed)?;
                        let principals = [None].into_iter().chain(principal.map(Some));
                        principals.map(|principal| bind(&seed, principal)).collect()
                    }
                    None => Vec::new(),
                };
                refused.chain(former).collect()
            }
        };
        Ok(accepted.iter().any(|accepted| bound.ct_eq(accepted).into()))
    })
}

/// Returns the bytes that are bound to this session and its principal. Each of their tokens
/// contains these bytes, XORed with the mask of the token. `None` without a seed.
async fn bound_bytes(request: &RequestSession) -> Result<Option<[u8; BYTES]>, Error> {
    let Some(seed) = request.get(SEED.name(), None).await? else { return Ok(None) };
    let signed_in = request.known_meta().await?.and_then(|meta| meta.signed_in);
    let principal = signed_in.map(|signed_in| signed_in.principal);
    Ok(Some(bind(&unwrap(&seed.bytes)?, principal)))
}

/// Returns the bytes that are bound to the refused secret of this request. `None` if the store has
/// refused no secret of it.
async fn bound_to_refused(request: &RequestSession) -> Result<Option<[u8; BYTES]>, Error> {
    let secret = request.refused_secret().await?;
    Ok(secret.map(|secret| bind(secret.as_bytes(), None)))
}

/// Stores a seed, unless the session has one.
async fn add_seed(request: &RequestSession) -> Result<(), Error> {
    if request.get(SEED.name(), None).await?.is_none() {
        let fresh = codec::wrap_own(&token::random::<BYTES>()?);
        // If another request has stored a seed since the read, that seed stays.
        let keep = &mut |held: Option<&Plaintext>| {
            Ok(Some(held.map_or(&fresh, |held| &held.bytes).clone()))
        };
        request.modify(&SEED, None, keep).await?;
    }
    Ok(())
}

/// Returns the seed in a stored field.
fn unwrap(stored: &[u8]) -> Result<Vec<u8>, Error> {
    let seed = codec::unwrap_own(stored).map_err(|source| value::decode_error(SEED.name(), source));
    seed.map(|seed| seed.to_vec())
}

/// Returns the bytes of a seed and a principal.
fn bind(seed: &[u8], principal: Option<PrincipalKey>) -> [u8; BYTES] {
    let digest = Sha256::new_with_prefix("csrf")
        .chain_update([u8::from(principal.is_some())])
        .chain_update(principal.map_or([0; 32], |principal| *principal.as_bytes()))
        .chain_update(seed);
    digest.finalize().into()
}

fn xor(a: &[u8], b: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.iter_mut().zip(a.iter().zip(b)).for_each(|(byte, (a, b))| *byte = a ^ b);
    bytes
}
