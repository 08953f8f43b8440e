//! Functions that write and read the numbers, moments and byte strings of a stored record.
//!
//! Used by [`record`](super). Numbers are big-endian. Moments are in milliseconds, rounded down. A
//! moment that may be missing is stored as its number plus one, so that zero can stand for a missing
//! moment. A `get` function returns `None` if the bytes end too early.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

pub(super) fn millis(moment: Duration) -> u64 {
    moment.as_millis().try_into().unwrap_or(u64::MAX)
}

pub(super) fn put_optional(out: &mut Vec<u8>, moment: Option<Duration>) {
    out.put_u64(moment.map_or(0, |moment| millis(moment).saturating_add(1)));
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

pub(super) fn get_moment(bytes: &mut Bytes) -> Option<Duration> {
    bytes.try_get_u64().ok().map(Duration::from_millis)
}

pub(super) fn get_optional(bytes: &mut Bytes) -> Option<Option<Duration>> {
    let stored = bytes.try_get_u64().ok()?;
    Some(stored.checked_sub(1).map(Duration::from_millis))
}

pub(super) fn get_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

pub(super) fn get_array<const N: usize>(bytes: &mut Bytes) -> Option<[u8; N]> {
    let mut array = [0; N];
    bytes.try_copy_to_slice(&mut array).ok()?;
    Some(array)
}
