use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    principal::PrincipalKey,
    token::Handle,
    ttl::{Hot, Ttl},
};

/// How much of a handle's text is the hash tag of its keys. All sessions of a hash tag share an epoch, so
/// there must be few enough of them to count up each, and enough for the shards of a large cluster.
const TAG: usize = 2;

/// The key of a session. Its braces are the hash tag.
pub(super) fn key(prefix: &str, handle: &Handle) -> Bytes {
    let text = handle.to_string();
    let (tag, rest) = text.split_at(TAG);
    format!("{prefix}:{{{tag}}}{rest}").into()
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
pub(super) fn entry_key(prefix: &str, handle: &Handle) -> Bytes {
    [&key(prefix, handle), &b":hot"[..]].concat().into()
}

/// What is stored for a value: its cache policy, a colon, its bytes.
pub(super) fn pack(hot: Hot, value: &Bytes) -> Bytes {
    let policy = match hot {
        Hot::Auto => String::new(),
        Hot::For(ttl) => ttl.as_millis().to_string(),
        Hot::Never => "!".to_owned(),
        Hot::Checked => "?".to_owned(),
    };
    let mut packed = BytesMut::with_capacity(policy.len() + 1 + value.len());
    packed.put_slice(policy.as_bytes());
    packed.put_u8(b':');
    packed.put_slice(value);
    packed.freeze()
}

/// The policy and value of what [`pack`] made; `None` for anything else.
pub(super) fn unpack(packed: &Bytes) -> Option<(Hot, Bytes)> {
    let colon = packed.iter().position(|byte| *byte == b':')?;
    let hot = match &packed[..colon] {
        b"" => Hot::Auto,
        b"!" => Hot::Never,
        b"?" => Hot::Checked,
        millis => {
            let millis = std::str::from_utf8(millis).ok()?.parse().ok()?;
            Hot::For(Ttl::new(std::time::Duration::from_millis(millis)).ok()?)
        }
    };
    Some((hot, packed.slice(colon + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_its_packing() {
        for hot in [Hot::Auto, Hot::Never, Hot::Checked, Hot::For(Ttl::MAX)] {
            for value in ["", ":", "a:b"] {
                let value = Bytes::from(value);
                assert_eq!(unpack(&pack(hot, &value)), Some((hot, value)));
            }
        }
    }

    #[test]
    fn what_others_wrote_is_no_value() {
        for foreign in ["", "no colon", "0:", "-1:", "x:", "99999999999999999999:"] {
            assert_eq!(unpack(&Bytes::from(foreign)), None, "{foreign:?}");
        }
    }

    #[test]
    fn the_key_carries_its_hash_tag() {
        let key = key("ruts", &Handle::from_bytes([0; 16]));
        assert_eq!(key, "ruts:{AA}AAAAAAAAAAAAAAAAAAAA");
        let epochs: Vec<Bytes> = epoch_keys("ruts").collect();
        assert!(epochs.contains(&Bytes::from("ruts:{AA}")));
        assert_eq!(epochs.len(), 64 * 64);
        assert!((0..=u8::MAX).all(|byte| {
            let key = super::key("ruts", &Handle::from_bytes([byte; 16]));
            epochs.iter().any(|epoch| key.starts_with(epoch))
        }));
    }
}
