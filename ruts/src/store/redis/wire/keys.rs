//! The names of Redis keys, with their hash tags.
//!
//! Used by every file that names a key. Knows ids and digests. Knows nothing about sessions.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};

use crate::{auth::PrincipalKey, token::SessionId};

/// Length of the hash tag: the first characters of a session id.
///
/// All sessions of a hash tag share an epoch. Two characters make 4,096 hash tags: few enough to
/// increment every epoch, and enough to spread over a large cluster.
const TAG: usize = 2;

/// Returns the key of a session. Its braces enclose the hash tag.
pub(in crate::store::redis) fn session_key(prefix: &str, id: &SessionId) -> Bytes {
    let mut key = BytesMut::with_capacity(prefix.len() + 26);
    put_session_key(&mut key, prefix, id);
    key.freeze()
}

/// Appends the key of a session.
pub(in crate::store::redis) fn put_session_key(key: &mut BytesMut, prefix: &str, id: &SessionId) {
    let mut text = [0; 22];
    // The result is ignored, because the encoding of 16 bytes always has the length of `text`.
    let _ = URL_SAFE_NO_PAD.encode_slice(id.as_bytes(), &mut text);
    let (tag, rest) = text.split_at(TAG);
    for part in [prefix.as_bytes(), b":{", tag, b"}", rest] {
        key.put_slice(part);
    }
}

/// Appends the key of the epoch of a session.
pub(in crate::store::redis) fn put_epoch_key(key: &mut BytesMut, prefix: &str, id: &SessionId) {
    let begin = key.len();
    put_session_key(key, prefix, id);
    key.truncate(begin + prefix.len() + TAG + b":{}".len());
}

/// Returns the keys of the epochs of all hash tags.
pub(in crate::store::redis) fn epoch_keys(prefix: &str) -> impl Iterator<Item = Bytes> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let tags = ALPHABET.chars().flat_map(|first| ALPHABET.chars().map(move |last| (first, last)));
    tags.map(move |(first, last)| format!("{prefix}:{{{first}{last}}}").into())
}

/// Returns the keys of the histories of all hash tags of a cache.
#[cfg(feature = "layered-store")]
pub(in crate::store::redis) fn history_keys(prefix: &str) -> impl Iterator<Item = Bytes> {
    epoch_keys(prefix).map(|key| [&key, &b":hot"[..]].concat().into())
}

/// Returns the key of a principal list.
pub(in crate::store::redis) fn principal_key(prefix: &str, principal: &PrincipalKey) -> Bytes {
    let name = URL_SAFE_NO_PAD.encode(principal.as_bytes());
    format!("{prefix}:{{{name}}}:principal").into()
}

/// Returns the key of a cache entry. It differs from the key of the session, so that one server can
/// be both origin and cache.
#[cfg(feature = "layered-store")]
pub(in crate::store::redis) fn entry_key(prefix: &str, id: &SessionId) -> Bytes {
    [&session_key(prefix, id), &b":hot"[..]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_contains_its_hash_tag() {
        let key = session_key("ruts", &SessionId::from_bytes([0; 16]));
        assert_eq!(key, "ruts:{AA}AAAAAAAAAAAAAAAAAAAA");
        let mut epoch = BytesMut::from("before ");
        put_epoch_key(&mut epoch, "ruts", &SessionId::from_bytes([0; 16]));
        assert_eq!(epoch, "before ruts:{AA}");
        let epochs: Vec<Bytes> = epoch_keys("ruts").collect();
        assert!(epochs.contains(&Bytes::from("ruts:{AA}")));
        assert_eq!(epochs.len(), 64 * 64);
        assert!((0..=u8::MAX).all(|byte| {
            let key = session_key("ruts", &SessionId::from_bytes([byte; 16]));
            epochs.iter().any(|epoch| key.starts_with(epoch))
        }));
    }
}
