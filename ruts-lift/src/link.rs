//! [`Link`]: the field of a session that names the old session from which the session was lifted.
//! It also tells whether the old cookie may open the session.
//!
//! Written and read by `lift`. `old` makes the [`OldState`]. Knows nothing about cookies or claims.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use ruts::{
    field::{Field, FieldSpec},
    store::SessionMeta,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The field of the link.
pub(crate) const LINK: Field<Link> = Field::new(&const { FieldSpec::new("ruts-lift") });

/// Digest of an old value.
pub(crate) type Digest = [u64; 2];

/// The old session that a session was lifted from, and how the session relates to it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Link {
    /// State of the old session at the last lift.
    pub(crate) old: OldState,
    /// The sign-in of the session at the lift. If the session has a different one, its user has
    /// signed in, stepped up or signed out in ruts since.
    pub(crate) sign_in: Option<SignIn>,
    /// Whether the lift has started the session, or has signed its user in. Only such a session may
    /// be opened with the old cookie.
    pub(crate) opens: bool,
    /// Whether the lift itself ends the old session. Then a missing old session is not a sign-out.
    pub(crate) moved: bool,
}

/// Id and state of an old session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OldState {
    pub(crate) id: String,
    /// Seconds since 1970 at which the old session expires, if its library reports this.
    pub(crate) ends: Option<u64>,
    /// Digests of the values of the old session.
    pub(crate) digests: BTreeMap<String, Digest>,
}

impl OldState {
    /// Returns whether the old session has expired. If it is missing and has not expired, its user
    /// has signed out.
    pub(crate) fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.ends.is_some_and(|ends| ends <= now.as_secs())
    }

    /// Returns a digest of all values.
    pub(crate) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for (name, [high, low]) in &self.digests {
            hash.update(name.len().to_be_bytes());
            hash.update(name);
            hash.update(high.to_be_bytes());
            hash.update(low.to_be_bytes());
        }
        first_half(hash)
    }
}

/// A sign-in to a session. Two sign-ins of one user differ by their time.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct SignIn {
    pub(crate) principal: [u8; 32],
    /// A layer may lower the assurance of a client that has changed, or of a sign-in that has
    /// lapsed. So the same sign-in may be read with a lower level.
    pub(crate) level: u8,
    /// Nanoseconds from the start of the session to the sign-in. Unlike the ages of both, this time
    /// does not depend on when it is read. It depends on the store: see [`is`](Self::is).
    pub(crate) at: u64,
}

/// Maximum difference between two readings of [`SignIn::at`]. A cache of a layered store keeps
/// whole milliseconds, and other stores keep microseconds or nanoseconds.
const PRECISION: u64 = 2_000_000;

impl SignIn {
    pub(crate) fn of(meta: &SessionMeta) -> Option<Self> {
        let signed_in = meta.signed_in?;
        let at = meta.age.saturating_sub(signed_in.ago).as_nanos();
        Some(Self {
            principal: *signed_in.principal.as_bytes(),
            level: signed_in.assurance.level(),
            at: u64::try_from(at).unwrap_or(u64::MAX),
        })
    }

    /// Returns whether both are the same sign-in, which may have been read with different levels.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.principal == other.principal && self.at.abs_diff(other.at) <= PRECISION
    }
}

/// Returns the digest of a value. The order of the keys of an object does not matter.
pub(crate) fn digest(value: &Value) -> Digest {
    let mut hash = Sha256::new();
    add(value, &mut hash);
    first_half(hash)
}

fn first_half(hash: Sha256) -> Digest {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..]: [u8; 32] = hash.finalize().into();
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

/// Adds a value to a hash. Each part has a tag and a length, so that no two values add the same
/// bytes.
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
    fn a_sign_in_is_the_same_in_a_cache_of_milliseconds() {
        let sign_in = |at| SignIn { principal: [1; 32], level: 1, at };
        // The store has the ages 5,000.9 ms and 1,000.1 ms. The cache has 5,000 ms and 1,001 ms.
        let origin = sign_in(4_000_800_000);
        assert!(origin.is(&sign_in(3_999_000_000)));
        assert!(origin.is(&SignIn { level: 0, ..origin }));
        assert!(!origin.is(&sign_in(4_005_000_000)));
        assert!(!origin.is(&SignIn { principal: [2; 32], ..origin }));
    }

    #[test]
    fn an_old_session_without_a_known_end_never_expires() {
        let state = |ends| OldState { id: String::new(), ends, digests: BTreeMap::new() };
        assert!(!state(None).has_expired());
        assert!(state(Some(1)).has_expired());
        assert!(!state(Some(u64::MAX)).has_expired());
    }
}
