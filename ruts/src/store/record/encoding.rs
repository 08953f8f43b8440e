//! Encodes the parts of a session record as bytes, and decodes them.
//!
//! Used by [`record`](super). Numbers are big-endian. Moments are in milliseconds, rounded down. A
//! moment that may be missing is stored as its number plus one, so that zero can stand for a
//! missing moment. A `get` function returns `None` if the bytes end too early or hold an unknown
//! number.

use std::{collections::HashMap, time::Duration};

use bytes::{Buf, BufMut, Bytes};

use super::{
    field::FieldRecord,
    head::{Authentication, Grace, RecordHead},
};
use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    field::FieldName,
    token::SecretHash,
};

/// The version of the format. It is the first byte.
pub(super) const VERSION: u8 = 1;

pub(super) fn encode(head: &RecordHead, fields: &HashMap<FieldName, FieldRecord>) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.put_u8(VERSION);
    put_head(&mut out, head);
    out.put_u32(fields.len() as u32);
    for (name, field) in fields {
        put_bytes(&mut out, name.as_bytes());
        put_field(&mut out, field);
    }
    out
}

/// Decodes a record from the start of `bytes`. Values share the memory of `bytes`.
pub(super) fn decode(bytes: &mut Bytes) -> Option<(RecordHead, HashMap<FieldName, FieldRecord>)> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let head = get_head(bytes)?;
    let mut fields = HashMap::new();
    for _ in 0..bytes.try_get_u32().ok()? {
        let name = FieldName::from(std::str::from_utf8(&get_bytes(bytes)?).ok()?);
        fields.insert(name, get_field(bytes)?);
    }
    Some((head, fields))
}

fn put_head(out: &mut Vec<u8>, head: &RecordHead) {
    out.put_slice(head.secret.as_bytes());
    out.put_u8(head.former.is_some().into());
    out.put_slice(head.former.as_ref().map_or(&[], |secret| secret.as_bytes()));
    let (kind, grace) = match head.grace {
        Grace::Until(until) => (0, until),
        Grace::Pending(grace) => (1, grace),
        Grace::None => (2, Duration::ZERO),
    };
    out.put_u8(kind);
    for moment in [grace, head.created, head.issued, head.used] {
        out.put_u64(millis(moment));
    }
    for moment in [head.idle, head.absolute, head.ended, head.latest_absolute] {
        put_optional(out, moment);
    }
    out.put_u8(head.revoked.into());
    put_optional(out, head.signed_in.map(|signed_in| signed_in.at));
    if let Some(Authentication { principal, assurance, .. }) = head.signed_in {
        out.put_u8(assurance.level());
        out.put_slice(principal.as_bytes());
    }
}

fn get_head(bytes: &mut Bytes) -> Option<RecordHead> {
    let secret = SecretHash::from_bytes(get_array(bytes)?);
    let former = match bytes.try_get_u8().ok()? {
        0 => None,
        1 => Some(SecretHash::from_bytes(get_array(bytes)?)),
        _ => return None,
    };
    let (kind, grace) = (bytes.try_get_u8().ok()?, get_moment(bytes)?);
    let grace = match kind {
        0 => Grace::Until(grace),
        1 => Grace::Pending(grace),
        2 => Grace::None,
        _ => return None,
    };
    let (created, issued, used) = (get_moment(bytes)?, get_moment(bytes)?, get_moment(bytes)?);
    let (idle, absolute) = (get_optional(bytes)?, get_optional(bytes)?);
    let (ended, latest_absolute) = (get_optional(bytes)?, get_optional(bytes)?);
    let revoked = bytes.try_get_u8().ok()? == 1;
    let signed_in = match get_optional(bytes)? {
        Some(at) => {
            let assurance = Assurance::from_level(bytes.try_get_u8().ok()?)?;
            let principal = PrincipalKey::from_bytes(get_array(bytes)?);
            Some(Authentication { principal, assurance, at })
        }
        None => None,
    };
    Some(RecordHead {
        secret,
        former,
        grace,
        created,
        issued,
        used,
        idle,
        absolute,
        ended,
        revoked,
        signed_in,
        latest_absolute,
    })
}

fn put_field(out: &mut Vec<u8>, FieldRecord { value, expires, cache_policy }: &FieldRecord) {
    put_bytes(out, value);
    put_optional(out, *expires);
    out.put_i64(cache_policy.to_number());
}

fn get_field(bytes: &mut Bytes) -> Option<FieldRecord> {
    let (value, expires) = (get_bytes(bytes)?, get_optional(bytes)?);
    let cache_policy = CachePolicy::from_number(bytes.try_get_i64().ok()?)?;
    Some(FieldRecord { value, expires, cache_policy })
}

fn millis(moment: Duration) -> u64 {
    moment.as_millis().try_into().unwrap_or(u64::MAX)
}

fn put_optional(out: &mut Vec<u8>, moment: Option<Duration>) {
    out.put_u64(moment.map_or(0, |moment| millis(moment).saturating_add(1)));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

fn get_moment(bytes: &mut Bytes) -> Option<Duration> {
    bytes.try_get_u64().ok().map(Duration::from_millis)
}

fn get_optional(bytes: &mut Bytes) -> Option<Option<Duration>> {
    let stored = bytes.try_get_u64().ok()?;
    Some(stored.checked_sub(1).map(Duration::from_millis))
}

fn get_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn get_array<const N: usize>(bytes: &mut Bytes) -> Option<[u8; N]> {
    let mut array = [0; N];
    bytes.try_copy_to_slice(&mut array).ok()?;
    Some(array)
}
