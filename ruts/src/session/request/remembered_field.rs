//! The field that tells lists of sessions for how long a sign-in is remembered: [`REMEMBERED`].
//!
//! Written by a sign-in. A request itself knows it from its secret.

use std::time::Duration;

use bytes::Bytes;

use super::write_plan::WritePlan;
use crate::{
    store::{Change, FieldWrite},
    token::CookieLife,
};

/// Name of the field.
pub(in crate::session) const REMEMBERED: &str = "ruts.remembered";

/// Returns the value of the field: the number of seconds.
pub(super) fn value(cookie: CookieLife) -> Option<Bytes> {
    cookie.remembered().map(|life| Bytes::copy_from_slice(&life.as_secs().to_be_bytes()))
}

/// Returns the change of the field that goes along with a change of principal.
pub(super) fn change<'a>(
    plan: &WritePlan,
    former: CookieLife,
    value: Option<&'a Bytes>,
) -> Option<Change<'a>> {
    plan.signing.as_ref()?;
    match value {
        Some(value) if plan.is_sign_in() => Some(Change::Set(FieldWrite::new(REMEMBERED, value))),
        _ => former.remembered().map(|_| Change::Remove(REMEMBERED)),
    }
}

/// Reads the field.
pub(in crate::session) fn read(value: &[u8]) -> Option<Duration> {
    Some(Duration::from_secs(u64::from_be_bytes(value.try_into().ok()?)))
}
