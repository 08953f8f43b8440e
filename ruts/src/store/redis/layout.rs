use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    token::Handle,
    ttl::{Hot, Ttl},
};

/// The key of a session. Its braces are the hash tag.
pub(super) fn key(prefix: &str, handle: &Handle) -> Bytes {
    format!("{prefix}:{{{handle}}}").into()
}

/// The key of what a cache holds of a session: not that of the session, so that one server can be used
/// either way.
#[cfg(feature = "layered-store")]
pub(super) fn entry_key(prefix: &str, handle: &Handle) -> Bytes {
    format!("{prefix}:{{{handle}}}:hot").into()
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
        assert_eq!(key, "ruts:{AAAAAAAAAAAAAAAAAAAAAA}");
    }
}
