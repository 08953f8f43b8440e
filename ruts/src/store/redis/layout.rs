use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    principal::PrincipalKey,
    token::SessionId,
    ttl::{CachePolicy, Ttl},
};

/// How much of a id's text is the hash tag of its keys. All sessions of a hash tag share an epoch, so
/// there must be few enough of them to count up each, and enough for the shards of a large cluster.
const TAG: usize = 2;

/// The key of a session. Its braces are the hash tag.
pub(super) fn key(prefix: &str, id: &SessionId) -> Bytes {
    let mut key = BytesMut::with_capacity(prefix.len() + 26);
    key_into(&mut key, prefix, id);
    key.freeze()
}

pub(super) fn key_into(key: &mut BytesMut, prefix: &str, id: &SessionId) {
    let mut text = [0; 22];
    // As long as 16 bytes always are.
    let _ = URL_SAFE_NO_PAD.encode_slice(id.as_bytes(), &mut text);
    let (tag, rest) = text.split_at(TAG);
    for part in [prefix.as_bytes(), b":{", tag, b"}", rest] {
        key.put_slice(part);
    }
}

/// The keys of the epochs of all hash tags.
pub(super) fn epoch_keys(prefix: &str) -> impl Iterator<Item = Bytes> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let tags = ALPHABET.chars().flat_map(|first| ALPHABET.chars().map(move |last| (first, last)));
    tags.map(move |(first, last)| format!("{prefix}:{{{first}{last}}}").into())
}

/// The same of what a cache holds.
#[cfg(feature = "layered-store")]
pub(super) fn cache_epoch_keys(prefix: &str) -> impl Iterator<Item = Bytes> {
    epoch_keys(prefix).map(|key| [&key, &b":hot"[..]].concat().into())
}

/// The key of the list of a principal's sessions.
pub(super) fn principal_key(prefix: &str, principal: &PrincipalKey) -> Bytes {
    let name = URL_SAFE_NO_PAD.encode(principal.as_bytes());
    format!("{prefix}:{{{name}}}:principal").into()
}

/// The key of what a cache holds of a session: not that of the session, so that one server can be used
/// either way.
#[cfg(feature = "layered-store")]
pub(super) fn entry_key(prefix: &str, id: &SessionId) -> Bytes {
    [&key(prefix, id), &b":hot"[..]].concat().into()
}

/// What is stored for a value: a digit for its cache policy, and 4 more if it has an end; the end; six bytes of
/// milliseconds if the policy is a time; the value. A script may give it another end.
pub(super) fn pack(packed: &mut BytesMut, hot: CachePolicy, end: Option<u64>, value: &Bytes) {
    let (flags, life) = match hot {
        CachePolicy::Auto => (b'0', None),
        CachePolicy::Never => (b'1', None),
        CachePolicy::Checked => (b'2', None),
        CachePolicy::For(ttl) => (b'3', Some(ttl.as_millis())),
    };
    packed.put_u8(if end.is_some() { flags + 4 } else { flags });
    for moment in [end, life].into_iter().flatten() {
        packed.put_uint(moment, MOMENT);
    }
    packed.put_slice(value);
}

/// A value, its cache policy, and the moment at which it ends.
pub(super) type Unpacked = (CachePolicy, Option<u64>, Bytes);

/// What is in a stored value; `None` if it is none.
pub(super) fn unpack(mut packed: Bytes) -> Option<Unpacked> {
    let flags = packed.try_get_u8().ok()?.checked_sub(b'0').filter(|flags| *flags < 8)?;
    let mut millis = || packed.try_get_uint(MOMENT).ok();
    let end = if flags & 4 == 0 { None } else { Some(millis()?) };
    let hot = match flags & 3 {
        0 => CachePolicy::Auto,
        1 => CachePolicy::Never,
        2 => CachePolicy::Checked,
        _ => CachePolicy::For(Ttl::new(Duration::from_millis(millis()?)).ok()?),
    };
    Some((hot, end, packed))
}

/// The bytes of a moment.
pub(super) const MOMENT: usize = 6;

/// The last one.
pub(super) const MOST: u64 = (1 << (8 * MOMENT)) - 1;

/// A moment some time after another one.
#[cfg(feature = "layered-store")]
pub(super) fn later(at: u64, after: Duration) -> u64 {
    at.saturating_add(after.as_millis().try_into().unwrap_or(u64::MAX)).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_its_packing() {
        for hot in [
            CachePolicy::Auto,
            CachePolicy::Never,
            CachePolicy::Checked,
            CachePolicy::For(Ttl::MAX),
        ] {
            for value in ["", "0", "a:b"] {
                let (value, mut packed) = (Bytes::from(value), BytesMut::new());
                pack(&mut packed, hot, Some(5), &value);
                assert_eq!(unpack(packed.freeze()), Some((hot, Some(5), value)));
            }
        }
        let ends = Bytes::from_static(b"7\0\0\0\0\0\x05\0\0\0\0\0\x09value");
        let nine = CachePolicy::For(Ttl::from_millis(9));
        assert_eq!(unpack(ends), Some((nine, Some(5), Bytes::from_static(b"value"))));
    }

    #[test]
    fn what_others_wrote_is_no_value() {
        for foreign in ["", "no digit", "8", "3short", "4short", "3\0\0\0\0\0\0"] {
            assert_eq!(unpack(Bytes::from(foreign)), None, "{foreign:?}");
        }
    }

    #[test]
    fn the_key_carries_its_hash_tag() {
        let key = key("ruts", &SessionId::from_bytes([0; 16]));
        assert_eq!(key, "ruts:{AA}AAAAAAAAAAAAAAAAAAAA");
        let epochs: Vec<Bytes> = epoch_keys("ruts").collect();
        assert!(epochs.contains(&Bytes::from("ruts:{AA}")));
        assert_eq!(epochs.len(), 64 * 64);
        assert!((0..=u8::MAX).all(|byte| {
            let key = super::key("ruts", &SessionId::from_bytes([byte; 16]));
            epochs.iter().any(|epoch| key.starts_with(epoch))
        }));
    }
}
