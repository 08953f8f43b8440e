//! Stored values: a digit, perhaps two moments, and the bytes of the value.
//!
//! The digit is the cache policy, plus 4 if the value has a TTL. After it come the end of the TTL
//! and the maximum age of a [`CachePolicy::MaxAge`], if any. Used for fields of sessions and of
//! cache entries.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::moment::MOMENT;
use crate::{cache_policy::CachePolicy, ttl::Ttl};

/// Appends a stored value. A script may later change the end of the TTL.
pub(in crate::store::redis) fn encode(
    out: &mut BytesMut,
    cache_policy: CachePolicy,
    end: Option<u64>,
    value: &Bytes,
) {
    let (digit, max_age) = match cache_policy {
        CachePolicy::Default => (b'0', None),
        CachePolicy::NoStore => (b'1', None),
        CachePolicy::Revalidate => (b'2', None),
        CachePolicy::MaxAge(ttl) => (b'3', Some(ttl.as_millis())),
    };
    out.put_u8(if end.is_some() { digit + 4 } else { digit });
    for millis in [end, max_age].into_iter().flatten() {
        out.put_uint(millis, MOMENT);
    }
    out.put_slice(value);
}

/// A decoded value.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store::redis) struct Decoded {
    pub(in crate::store::redis) cache_policy: CachePolicy,
    /// Moment at which the TTL of the field ends.
    pub(in crate::store::redis) end: Option<u64>,
    pub(in crate::store::redis) value: Bytes,
}

/// Decodes a stored value. `None` if the bytes have a different format.
pub(in crate::store::redis) fn decode(mut stored: Bytes) -> Option<Decoded> {
    let digit = stored.try_get_u8().ok()?.checked_sub(b'0').filter(|digit| *digit < 8)?;
    let mut millis = || stored.try_get_uint(MOMENT).ok();
    let end = if digit & 4 == 0 { None } else { Some(millis()?) };
    let cache_policy = match digit & 3 {
        0 => CachePolicy::Default,
        1 => CachePolicy::NoStore,
        2 => CachePolicy::Revalidate,
        _ => CachePolicy::MaxAge(Ttl::new(Duration::from_millis(millis()?)).ok()?),
    };
    Some(Decoded { cache_policy, end, value: stored })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_encoding() {
        for cache_policy in [
            CachePolicy::Default,
            CachePolicy::NoStore,
            CachePolicy::Revalidate,
            CachePolicy::MaxAge(Ttl::MAX),
        ] {
            for value in ["", "0", "a:b"] {
                let (value, mut stored) = (Bytes::from(value), BytesMut::new());
                encode(&mut stored, cache_policy, Some(5), &value);
                let decoded = Decoded { cache_policy, end: Some(5), value };
                assert_eq!(decode(stored.freeze()), Some(decoded));
            }
        }
        let stored = Bytes::from_static(b"7\0\0\0\0\0\x05\0\0\0\0\0\x09value");
        let cache_policy = CachePolicy::MaxAge(Ttl::from_millis(9));
        let value = Bytes::from_static(b"value");
        assert_eq!(decode(stored), Some(Decoded { cache_policy, end: Some(5), value }));
    }

    #[test]
    fn foreign_bytes_are_not_decoded() {
        for foreign in ["", "no digit", "8", "3short", "4short", "3\0\0\0\0\0\0"] {
            assert_eq!(decode(Bytes::from(foreign)), None, "{foreign:?}");
        }
    }
}
