use std::{time::Duration, vec::IntoIter};

use bytes::Bytes;

use super::{client::Reply, layout::unpack};
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{Loaded, Lookup, Meta, SignedIn, Stored, Updated},
    token::Handle,
};

/// The answer of a script, read from the front. Every reader is `None` for what no script says.
pub(super) struct Answer(IntoIter<Reply>);

/// What a principal's list says of a session.
pub(super) struct Entry {
    pub(super) handle: Handle,
    pub(super) mark: Bytes,
}

impl Entry {
    /// When it joined, in milliseconds of the server's clock.
    pub(super) fn joined(&self) -> u64 {
        let digits = self.mark.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }
}

/// What the first word of an answer says.
pub(super) enum Said {
    Found,
    Conflict,
    NotDue,
    Exists,
    No(Lookup<()>),
}

impl Answer {
    pub(super) fn new(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Array(items) => Some(Self(items.into_iter())),
            _ => None,
        }
    }

    pub(super) fn said(&mut self) -> Option<Said> {
        Some(match &*self.bytes()?? {
            b"found" => Said::Found,
            b"conflict" => Said::Conflict,
            b"early" => Said::NotDue,
            b"exists" => Said::Exists,
            b"none" => Said::No(Lookup::NotFound),
            b"ended" => Said::No(Lookup::Ended { ago: self.span()?? }),
            b"replaced" => Said::No(Lookup::Replaced { ago: self.span()?? }),
            _ => return None,
        })
    }

    pub(super) fn loaded(mut self) -> Option<Loaded> {
        let meta = Meta {
            age: self.span()??,
            secret_age: self.span()??,
            unused: self.span()??,
            idle: self.span()?,
            absolute: self.span()?,
            by_former: self.number()? != 0,
            signed_in: self.signed_in()?,
        };
        let mut fields = Vec::with_capacity(self.0.len() / 3);
        while self.0.len() > 0 {
            let name = String::from_utf8(self.bytes()??.into()).ok()?;
            let (hot, value) = unpack(&self.bytes()??)?;
            fields.push(Stored { name, value, ttl: self.span()?, hot });
        }
        Some(Loaded { meta, fields })
    }

    /// Time since the sign-in, principal, assurance.
    fn signed_in(&mut self) -> Option<Option<SignedIn>> {
        let ago = self.span()?;
        let (principal, level) = (self.bytes()??, self.number()?);
        let Some(ago) = ago else { return Some(None) };
        let principal = PrincipalKey::from_bytes(principal[..].try_into().ok()?);
        let assurance = Assurance::from_level(level.try_into().ok()?)?;
        Some(Some(SignedIn { principal, assurance, ago }))
    }

    pub(super) fn applied(mut self) -> Option<Updated> {
        Some(Updated::Applied { found: self.number()?.try_into().ok()? })
    }

    /// Entries of a principal's list.
    pub(super) fn entries(mut self) -> Option<Vec<Entry>> {
        let mut entries = Vec::with_capacity(self.0.len() / 2);
        while self.0.len() > 0 {
            let handle = Handle::from_bytes(self.bytes()??[..].try_into().ok()?);
            entries.push(Entry { handle, mark: self.bytes()?? });
        }
        Some(entries)
    }

    pub(super) fn value(mut self) -> Option<Option<Bytes>> {
        Some(match self.bytes()? {
            Some(packed) => Some(unpack(&packed)?.1),
            None => None,
        })
    }

    /// A mark and its moment; nothing if the answer is over.
    #[cfg(feature = "layered-store")]
    pub(super) fn mark(&mut self) -> Option<Option<(Bytes, u64)>> {
        if self.0.len() == 0 {
            return Some(None);
        }
        let mark = self.bytes()??;
        Some(Some((mark, self.number()?.try_into().ok()?)))
    }

    pub(super) fn bytes(&mut self) -> Option<Option<Bytes>> {
        match self.0.next()? {
            Reply::Bytes(bytes) => Some(Some(bytes)),
            Reply::Nil => Some(None),
            Reply::Int(_) | Reply::Array(_) => None,
        }
    }

    fn number(&mut self) -> Option<i64> {
        match self.0.next()? {
            Reply::Int(number) => Some(number),
            _ => None,
        }
    }

    /// A number of milliseconds; -1 is none.
    fn span(&mut self) -> Option<Option<Duration>> {
        match self.0.next()? {
            Reply::Int(-1) => Some(None),
            Reply::Int(millis) => Some(Some(Duration::from_millis(millis.try_into().ok()?))),
            _ => None,
        }
    }
}
