//! The record of a session as a script answers it: [`RecordReply`].
//!
//! Used by `reply`, `batch`, the native read and the cache. `lua/session/read.lua` defines the
//! layout.

use std::time::Duration;

use bytes::Buf;

use super::moment::MOMENT;
use crate::{
    auth::{Assurance, PrincipalKey},
    store::{SessionMeta, SignedIn},
    token::SecretHash,
};

/// A session record, and the server's time when it answered. All times are in milliseconds of the
/// server's clock.
pub(in crate::store::redis) struct RecordReply {
    pub(in crate::store::redis) now: u64,
    created: u64,
    issued: u64,
    used: u64,
    idle: u64,
    absolute: u64,
    signed_in: Option<(u64, Assurance, PrincipalKey)>,
    by_former_secret: bool,
}

/// Lengths of the header before the secret, and of the extension.
const HEADER: usize = 32;
const EXTENSION: usize = 5 * MOMENT + 33;

impl RecordReply {
    /// Decodes the first item of an answer. `None` if it has a different format.
    pub(in crate::store::redis) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let now = bytes.try_get_uint(MOMENT).ok()?;
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let (extension, rest) =
            rest.split_at_checked(if has_extension(header) { EXTENSION } else { 0 })?;
        let by_former_secret = match rest {
            b"" => false,
            b"!" => true,
            _ => return None,
        };
        Some(Self { by_former_secret, ..Self::new(now, header, Some(extension))? })
    }

    /// Decodes the header and the extension of a session that is on the fast path, see
    /// `lua/fast_path.lua`. Unlike there, the session need not have a deadline. `touch` is the idle
    /// time to grant and the part of it after which a touch is due, in milliseconds. Returns `None`
    /// for a session that needs the general path.
    pub(in crate::store::redis) fn on_fast_path(
        now: u64,
        header: &[u8],
        extension: Option<&[u8]>,
        epoch: u64,
        secret: &SecretHash,
        touch: [u64; 2],
    ) -> Option<Self> {
        let [idle, after] = touch;
        let (head, hash) = header.split_at_checked(HEADER)?;
        let record = Self::new(now, head, extension)?;
        let has_passed = |deadline| deadline != 0 && deadline <= now;
        let is_due = idle != 0
            && record.idle != 0
            && (after == 0 || idle.saturating_sub(record.idle.saturating_sub(now)) >= after);
        let is_fast = head[0] <= 1
            && head.ends_with(&epoch.to_be_bytes()[5..])
            && *secret == SecretHash::from_bytes(hash.try_into().ok()?)
            && !has_passed(record.idle)
            && !has_passed(record.absolute)
            && !is_due;
        is_fast.then_some(record)
    }

    fn new(now: u64, mut header: &[u8], extension: Option<&[u8]>) -> Option<Self> {
        let extension = if has_extension(header) { Some(extension?) } else { None };
        header.try_get_u8().ok()?;
        let created = header.try_get_uint(MOMENT).ok()?;
        let issued = created + header.try_get_uint(5).ok()?;
        let used = created + header.try_get_uint(5).ok()?;
        let idle = header.try_get_uint(MOMENT).ok()?;
        let absolute = header.try_get_uint(MOMENT).ok()?;
        let signed_in = match extension {
            Some(extension) => signed_in(extension)?,
            None => None,
        };
        let by_former_secret = false;
        Some(Self { now, created, issued, used, idle, absolute, signed_in, by_former_secret })
    }

    /// Appends the header without the secret, and the extension, as a script would answer them at
    /// the moment `at`.
    #[cfg(feature = "layered-store")]
    pub(in crate::store::redis) fn encode(out: &mut bytes::BytesMut, at: u64, meta: &SessionMeta) {
        use bytes::BufMut;

        use super::moment::{MAX_MOMENT, later};

        let ago =
            |time: Duration| at.saturating_sub(time.as_millis().try_into().unwrap_or(u64::MAX));
        let left = |left: Option<Duration>| left.map_or(0, |left| later(at, left));
        let created = ago(meta.age);
        let since = |moment: u64| moment.saturating_sub(created).min(MAX_MOMENT >> 8);
        out.put_u8(meta.signed_in.is_some().into());
        out.put_uint(created, MOMENT);
        out.put_uint(since(ago(meta.secret_age)), 5);
        out.put_uint(since(ago(meta.idle_for)), 5);
        out.put_uint(left(meta.idle_remaining), MOMENT);
        out.put_uint(left(meta.absolute_remaining), MOMENT);
        out.put_uint(0, 3);
        if let Some(SignedIn { principal, assurance, ago: signed_in }) = &meta.signed_in {
            out.put_bytes(0, 4 * MOMENT);
            out.put_uint(ago(*signed_in), MOMENT);
            out.put_u8(assurance.level());
            out.put_slice(principal.as_bytes());
        }
    }

    /// Returns the metadata at the moment of the answer.
    pub(in crate::store::redis) fn into_meta(self) -> SessionMeta {
        let since = |moment| Duration::from_millis(self.now.saturating_sub(moment));
        let left = |moment: u64| {
            (moment != 0).then(|| Duration::from_millis(moment.saturating_sub(self.now)))
        };
        SessionMeta {
            age: since(self.created),
            secret_age: since(self.issued),
            idle_for: since(self.used),
            idle_remaining: left(self.idle),
            absolute_remaining: left(self.absolute),
            by_former_secret: self.by_former_secret,
            signed_in: self.signed_in.map(|(moment, assurance, principal)| {
                SignedIn::new(principal, assurance, since(moment))
            }),
        }
    }
}

fn has_extension(header: &[u8]) -> bool {
    header.first().is_some_and(|flags| flags & 1 == 1)
}

fn signed_in(extension: &[u8]) -> Option<Option<(u64, Assurance, PrincipalKey)>> {
    let mut extension = extension.get(4 * MOMENT..)?;
    let moment = extension.try_get_uint(MOMENT).ok()?;
    let level = extension.try_get_u8().ok()?;
    let principal = PrincipalKey::from_bytes(extension.try_into().ok()?);
    if moment == 0 {
        return Some(None);
    }
    Some(Some((moment, Assurance::from_level(level)?, principal)))
}
