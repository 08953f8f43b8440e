use std::time::Duration;

use bytes::Buf;

use super::layout::MOMENT;
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{SessionMeta, SignedIn},
    token::SecretHash,
};

/// What a script says of a session itself, in milliseconds of the server's clock.
pub(super) struct Record {
    /// When it was said.
    pub(super) now: u64,
    created: u64,
    rotated: u64,
    used: u64,
    idle: u64,
    absolute: u64,
    signed_in: Option<(u64, Assurance, PrincipalKey)>,
    by_former: bool,
}

/// How long `~` is before the secret, and `~x`.
const BASE: usize = 32;
const MORE: usize = 5 * MOMENT + 33;

impl Record {
    /// What a script says in one. `None` for what no script says.
    pub(super) fn parse(mut said: &[u8]) -> Option<Self> {
        let now = said.try_get_uint(MOMENT).ok()?;
        let (base, rest) = said.split_at_checked(BASE)?;
        let (more, rest) = rest.split_at_checked(if has_more(base) { MORE } else { 0 })?;
        let by_former = match rest {
            b"" => false,
            b"!" => true,
            _ => return None,
        };
        Some(Self { by_former, ..Self::of(now, base, Some(more))? })
    }

    /// What `~` and `~x` hold, if all that this says is that the session is live, `secret` its own and no use
    /// to be noted; as `lua/calm.lua` has it. `touch` is the idle time to grant, and how much of it must have
    /// passed.
    pub(super) fn calm(
        now: u64,
        base: &[u8],
        more: Option<&[u8]>,
        epoch: u64,
        secret: &SecretHash,
        [idle, after]: [u64; 2],
    ) -> Option<Self> {
        let (head, hash) = base.split_at_checked(BASE)?;
        let record = Self::of(now, head, more)?;
        let is_over = |deadline| deadline != 0 && deadline <= now;
        let is_due = idle != 0
            && record.idle != 0
            && (after == 0 || idle.saturating_sub(record.idle.saturating_sub(now)) >= after);
        let is_calm = head[0] <= 1
            && head.ends_with(&epoch.to_be_bytes()[5..])
            && *secret == SecretHash::from_bytes(hash.try_into().ok()?)
            && !is_over(record.idle)
            && !is_over(record.absolute)
            && !is_due;
        is_calm.then_some(record)
    }

    /// What `~` and `~x` hold. `None` for what no script writes.
    fn of(now: u64, mut base: &[u8], more: Option<&[u8]>) -> Option<Self> {
        let more = if has_more(base) { Some(more?) } else { None };
        base.try_get_u8().ok()?;
        let created = base.try_get_uint(MOMENT).ok()?;
        let rotated = created + base.try_get_uint(5).ok()?;
        let used = created + base.try_get_uint(5).ok()?;
        let idle = base.try_get_uint(MOMENT).ok()?;
        let absolute = base.try_get_uint(MOMENT).ok()?;
        let signed_in = match more {
            Some(more) => signed_in(more)?,
            None => None,
        };
        Some(Self { now, created, rotated, used, idle, absolute, signed_in, by_former: false })
    }

    /// What a script would say at a moment.
    #[cfg(feature = "layered-store")]
    pub(super) fn pack_into(said: &mut bytes::BytesMut, at: u64, meta: &SessionMeta) {
        use bytes::BufMut;

        use super::layout::{MOST, later};

        let ago =
            |time: Duration| at.saturating_sub(time.as_millis().try_into().unwrap_or(u64::MAX));
        let left = |left: Option<Duration>| left.map_or(0, |left| later(at, left));
        let created = ago(meta.age);
        let since = |moment: u64| moment.saturating_sub(created).min(MOST >> 8);
        said.put_u8(meta.signed_in.is_some().into());
        said.put_uint(created, MOMENT);
        said.put_uint(since(ago(meta.secret_age)), 5);
        said.put_uint(since(ago(meta.unused)), 5);
        said.put_uint(left(meta.idle), MOMENT);
        said.put_uint(left(meta.absolute), MOMENT);
        said.put_uint(0, 3);
        if let Some(SignedIn { principal, assurance, ago: signed }) = &meta.signed_in {
            said.put_bytes(0, 4 * MOMENT);
            said.put_uint(ago(*signed), MOMENT);
            said.put_u8(assurance.level());
            said.put_slice(principal.as_bytes());
        }
    }

    /// What that means for who asked.
    pub(super) fn meta(self) -> SessionMeta {
        let since = |moment| Duration::from_millis(self.now.saturating_sub(moment));
        let left = |moment: u64| {
            (moment != 0).then(|| Duration::from_millis(moment.saturating_sub(self.now)))
        };
        SessionMeta {
            age: since(self.created),
            secret_age: since(self.rotated),
            unused: since(self.used),
            idle: left(self.idle),
            absolute: left(self.absolute),
            by_former: self.by_former,
            signed_in: self.signed_in.map(|(signed, assurance, principal)| SignedIn {
                principal,
                assurance,
                ago: since(signed),
            }),
        }
    }
}

fn has_more(base: &[u8]) -> bool {
    base.first().is_some_and(|flags| flags & 1 == 1)
}

fn signed_in(more: &[u8]) -> Option<Option<(u64, Assurance, PrincipalKey)>> {
    let mut more = more.get(4 * MOMENT..)?;
    let signed = more.try_get_uint(MOMENT).ok()?;
    let level = more.try_get_u8().ok()?;
    let principal = PrincipalKey::from_bytes(more.try_into().ok()?);
    if signed == 0 {
        return Some(None);
    }
    Some(Some((signed, Assurance::from_level(level)?, principal)))
}
