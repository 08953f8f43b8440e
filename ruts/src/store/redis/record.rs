use std::time::Duration;

use bytes::Buf;

use super::layout::MOMENT;
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{Meta, SignedIn},
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

/// How long `~x` is.
const MORE: usize = 5 * MOMENT + 33;

impl Record {
    /// `None` for what no script says.
    pub(super) fn parse(mut said: &[u8]) -> Option<Self> {
        let now = said.try_get_uint(MOMENT).ok()?;
        let has_more = said.try_get_u8().ok()? & 1 == 1;
        let created = said.try_get_uint(MOMENT).ok()?;
        let rotated = created + said.try_get_uint(5).ok()?;
        let used = created + said.try_get_uint(5).ok()?;
        let idle = said.try_get_uint(MOMENT).ok()?;
        let absolute = said.try_get_uint(MOMENT).ok()?;
        let _epoch = said.try_get_uint(3).ok()?;
        let (more, rest) = said.split_at_checked(if has_more { MORE } else { 0 })?;
        let signed_in = if has_more { signed_in(more)? } else { None };
        let by_former = match rest {
            b"" => false,
            b"!" => true,
            _ => return None,
        };
        Some(Self { now, created, rotated, used, idle, absolute, signed_in, by_former })
    }

    /// What that means for who asked.
    pub(super) fn meta(self) -> Meta {
        let since = |moment| Duration::from_millis(self.now.saturating_sub(moment));
        let left = |moment: u64| {
            (moment != 0).then(|| Duration::from_millis(moment.saturating_sub(self.now)))
        };
        Meta {
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
