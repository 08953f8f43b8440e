use std::{time::Duration, vec::IntoIter};

use bytes::Bytes;

use super::{client::Reply, layout::unpack};
use crate::store::{Loaded, Lookup, Meta, Stored, Updated};

/// The answer of a script, read from the front. Every reader is `None` for what no script says.
pub(super) struct Answer(IntoIter<Reply>);

/// What the first word of an answer says.
pub(super) enum Said {
    Found,
    Conflict,
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
            idle: self.span()?,
            absolute: self.span()?,
        };
        let mut fields = Vec::with_capacity(self.0.len() / 3);
        while self.0.len() > 0 {
            let name = String::from_utf8(self.bytes()??.into()).ok()?;
            let (hot, value) = unpack(&self.bytes()??)?;
            fields.push(Stored { name, value, ttl: self.span()?, hot });
        }
        Some(Loaded { meta, fields })
    }

    pub(super) fn applied(mut self) -> Option<Updated> {
        let Reply::Int(found) = self.0.next()? else { return None };
        Some(Updated::Applied { found: found.try_into().ok()? })
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
        let Reply::Int(at) = self.0.next()? else { return None };
        Some(Some((mark, at.try_into().ok()?)))
    }

    pub(super) fn bytes(&mut self) -> Option<Option<Bytes>> {
        match self.0.next()? {
            Reply::Bytes(bytes) => Some(Some(bytes)),
            Reply::Nil => Some(None),
            Reply::Int(_) | Reply::Array(_) => None,
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
