//! [`Link`]: the field of a session that names the old session from which the session was lifted.
//!
//! Written and read by `lift`, and compared by `old`. Knows nothing about cookies or claims.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use ruts::field::{Field, FieldSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The field of the link.
pub(crate) const LINK: Field<Link> = Field::new(&const { FieldSpec::new("ruts-lift") });

/// Digest of an old value.
pub(crate) type Digest = [u64; 2];

/// The old session that a session was lifted from, and the state of the old session at the last
/// lift.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Id of the old session.
    pub(crate) id: String,
    /// Seconds since 1970 at which the old session expires, if its library reports this.
    pub(crate) ends: Option<u64>,
    /// Digests of the values of the old session.
    pub(crate) digests: BTreeMap<String, Digest>,
}

impl Link {
    /// Returns whether the old session has expired. If it is missing and has not expired, its user
    /// has signed out.
    pub(crate) fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.ends.is_some_and(|ends| ends <= now.as_secs())
    }
}

/// Returns the digest of a value. The order of the keys of an object does not matter.
pub(crate) fn digest(value: &Value) -> Digest {
    let mut hash = Sha256::new();
    add(value, &mut hash);
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..]: [u8; 32] = hash.finalize().into();
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

/// Adds a value to a hash. Each part has a tag and a length, so that no two values add the same bytes.
fn add(value: &Value, hash: &mut Sha256) {
    let mut part = |tag: u8, bytes: &[u8]| {
        hash.update([tag]);
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    match value {
        Value::Null => part(0, &[]),
        Value::Bool(value) => part(1, &[u8::from(*value)]),
        Value::Number(number) => part(2, number.to_string().as_bytes()),
        Value::String(text) => part(3, text.as_bytes()),
        Value::Array(values) => {
            part(4, &values.len().to_be_bytes());
            values.iter().for_each(|value| add(value, hash));
        }
        Value::Object(values) => {
            part(5, &values.len().to_be_bytes());
            let sorted: BTreeMap<_, _> = values.iter().collect();
            for (name, value) in sorted {
                hash.update(name.len().to_be_bytes());
                hash.update(name);
                add(value, hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_tells_values_apart_and_no_orders() {
        let values = [
            json!(null),
            json!(false),
            json!(0),
            json!("0"),
            json!([]),
            json!({}),
            json!([0]),
            json!(["0"]),
            json!([[0]]),
            json!({"a": 0}),
            json!({"a": [0]}),
            json!({"b": 0}),
            json!(["ab", "c"]),
            json!(["a", "bc"]),
            json!([[], 0]),
            json!([[0], []]),
        ];
        for (at, value) in values.iter().enumerate() {
            for (other_at, other) in values.iter().enumerate() {
                assert_eq!(digest(value) == digest(other), at == other_at, "{value} {other}");
            }
        }
        let (one, other): (Value, Value) = (
            serde_json::from_str(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#).unwrap(),
            serde_json::from_str(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#).unwrap(),
        );
        assert_eq!(digest(&one), digest(&other));
    }

    #[test]
    fn an_old_session_without_a_known_end_never_expires() {
        let link = |ends| Link { id: String::new(), ends, digests: BTreeMap::new() };
        assert!(!link(None).has_expired());
        assert!(link(Some(1)).has_expired());
        assert!(!link(Some(u64::MAX)).has_expired());
    }
}
