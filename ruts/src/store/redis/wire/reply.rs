//! Replies of scripts: [`Reply`] as a driver passes it on, [`ScriptOutcome`], and the decoders of
//! answers.
//!
//! Drivers build a [`Reply`]. The files that run scripts decode it. A decoder returns `None` for a
//! malformed reply.

use std::{time::Duration, vec::IntoIter};

use bytes::Bytes;

use super::{super::error::corrupt, record::RecordReply, value};
use crate::{
    field::FieldName,
    store::{Loaded, Projection, Refused, StoreError, StoreResult, StoredField, Updated},
    token::SessionId,
};

/// The answer of a script or a command.
pub enum Reply {
    /// No value.
    Nil,
    /// A whole number.
    Int(i64),
    /// Bytes.
    Bytes(Bytes),
    /// A list.
    Array(Vec<Self>),
}

/// The answer of a session's script.
pub(in crate::store::redis) enum ScriptOutcome {
    /// The operation took place, with this answer.
    Done(Reply),
    /// A session with this id exists.
    Exists,
    /// The secret is not old enough to be renewed.
    NotDue,
    /// The credentials were not accepted.
    Refused(Refused),
}

impl ScriptOutcome {
    /// Decodes a reply.
    pub(in crate::store::redis) fn new(reply: Reply) -> Result<Self, StoreError> {
        Self::decode(reply).ok_or_else(corrupt)
    }

    fn decode(reply: Reply) -> Option<Self> {
        let Reply::Bytes(words) = &reply else { return Some(Self::Done(reply)) };
        let words = std::str::from_utf8(words).ok()?;
        let (word, ago) = words.split_once(' ').unwrap_or((words, "0"));
        let ago = Duration::from_millis(ago.parse().ok()?);
        Some(match word {
            "found" => Self::Done(reply),
            "exists" => Self::Exists,
            "not_due" => Self::NotDue,
            "none" => Self::Refused(Refused::NotFound),
            "deleted" => Self::Refused(Refused::Deleted { ago }),
            "revoked" => Self::Refused(Refused::Revoked),
            "replaced" => Self::Refused(Refused::Replaced { ago }),
            _ => return None,
        })
    }

    /// Decodes the answer of an operation that can only succeed or be refused.
    pub(in crate::store::redis) fn answer<T>(
        self,
        decode: impl FnOnce(Reply) -> Option<T>,
    ) -> StoreResult<T> {
        match self {
            Self::Done(reply) => decode(reply).map(Ok).ok_or_else(corrupt),
            Self::Refused(refused) => Ok(Err(refused)),
            Self::NotDue | Self::Exists => Err(corrupt()),
        }
    }
}

/// Returns the names of the requested fields. `None` for all fields.
pub(in crate::store::redis) fn field_names(
    fields: Projection<'_>,
) -> Option<impl Iterator<Item = FieldName>> {
    match fields {
        Projection::All => None,
        Projection::Named(names) => Some(names.iter().map(|name| (*name).into())),
    }
}

/// Decodes the answer of a read.
pub(in crate::store::redis) fn loaded(
    reply: Reply,
    names: Option<impl Iterator<Item = FieldName>>,
) -> Option<Loaded> {
    let mut items = ReplyItems::new(reply)?;
    let record = RecordReply::decode(&items.bytes()??)?;
    items.loaded(record, names, |stored| Some(Some(stored)))
}

/// Decodes a stored field. The server still returns a field in the millisecond of its expiry. The
/// inner `None` stands for such a field.
pub(in crate::store::redis) fn stored_field(
    record: &RecordReply,
    name: FieldName,
    stored: Bytes,
) -> Option<Option<StoredField>> {
    let decoded = value::decode(stored)?;
    let ttl = decoded.end.map(|end| Duration::from_millis(end.saturating_sub(record.now)));
    let is_live = ttl.is_none_or(|ttl| !ttl.is_zero());
    Some(
        is_live.then(|| {
            StoredField::new(name, decoded.value).ttl(ttl).cache_policy(decoded.cache_policy)
        }),
    )
}

/// Decodes the answer of an update that was applied, or whose precondition failed.
pub(in crate::store::redis) fn updated(reply: Reply) -> Option<Updated> {
    match reply {
        Reply::Int(found) => Some(Updated::Applied { found: found.try_into().ok()? }),
        other => Some(Updated::Conflict { current: single_value(other)? }),
    }
}

/// Decodes a list with at most one value.
pub(in crate::store::redis) fn single_value(reply: Reply) -> Option<Option<Bytes>> {
    let mut items = ReplyItems::new(reply)?;
    let stored = if items.is_over() { None } else { items.bytes()? };
    Some(match stored {
        Some(stored) => Some(value::decode(stored)?.value),
        None => None,
    })
}

/// An entry of a principal list.
pub(in crate::store::redis) struct ListEntry {
    pub(in crate::store::redis) id: SessionId,
    /// The id, and a string that begins with the moment at which the session last joined.
    pub(in crate::store::redis) member: Bytes,
}

impl ListEntry {
    fn decode(member: Bytes) -> Option<Self> {
        Some(Self { id: SessionId::from_bytes(*member.first_chunk()?), member })
    }

    /// Returns when the session last joined, in milliseconds of the server's clock.
    pub(in crate::store::redis) fn joined_at(&self) -> u64 {
        let text = self.member.get(16..).unwrap_or_default();
        let digits = text.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }
}

/// Decodes a list of ones and zeros of this length.
pub(in crate::store::redis) fn flags(reply: Reply, count: usize) -> Option<Vec<bool>> {
    let ReplyItems(items) = ReplyItems::new(reply)?;
    let flags: Option<Vec<bool>> = items
        .map(|item| match item {
            Reply::Int(flag) => Some(flag == 1),
            Reply::Nil | Reply::Bytes(_) | Reply::Array(_) => None,
        })
        .collect();
    flags.filter(|flags| flags.len() == count)
}

/// The items of a list, read from the front.
pub(in crate::store::redis) struct ReplyItems(IntoIter<Reply>);

impl ReplyItems {
    pub(in crate::store::redis) fn new(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Array(items) => Some(Self(items.into_iter())),
            _ => None,
        }
    }

    pub(in crate::store::redis) fn is_over(&self) -> bool {
        self.0.len() == 0
    }

    /// Reads the rest as values of the requested fields, or as names and values of all fields.
    /// `stored` finds the stored value in an item.
    pub(in crate::store::redis) fn loaded(
        mut self,
        record: RecordReply,
        names: Option<impl Iterator<Item = FieldName>>,
        stored: impl Fn(Bytes) -> Option<Option<Bytes>>,
    ) -> Option<Loaded> {
        let mut fields = Vec::with_capacity(self.0.len());
        let mut keep = |name, item| {
            if let Some(stored) = stored(item)? {
                fields.extend(stored_field(&record, name, stored)?);
            }
            Some(())
        };
        match names {
            Some(names) => {
                for name in names {
                    if let Some(item) = self.bytes()? {
                        keep(name, item)?;
                    }
                }
            }
            None => {
                while !self.is_over() {
                    let (name, item) = (self.bytes()??, self.bytes()??);
                    if !matches!(&*name, b"~" | b"~x" | b"~r") {
                        keep(std::str::from_utf8(&name).ok()?.into(), item)?;
                    }
                }
            }
        }
        self.is_over().then(|| Loaded::new(record.into_meta(), fields))
    }

    /// Reads the rest as entries of a principal list.
    pub(in crate::store::redis) fn entries(mut self) -> Option<Vec<ListEntry>> {
        let mut entries = Vec::with_capacity(self.0.len());
        while !self.is_over() {
            entries.push(ListEntry::decode(self.bytes()??)?);
        }
        Some(entries)
    }

    /// Returns the value after a name, in a list of names and values.
    pub(in crate::store::redis) fn value_of(&self, name: &[u8]) -> Option<Bytes> {
        self.0.as_slice().chunks_exact(2).find_map(|pair| match pair {
            [Reply::Bytes(found), Reply::Bytes(value)] if found == name => Some(value.clone()),
            _ => None,
        })
    }

    /// Reads an item of any kind.
    pub(in crate::store::redis) fn next(&mut self) -> Option<Reply> {
        self.0.next()
    }

    /// Reads bytes or nil.
    pub(in crate::store::redis) fn bytes(&mut self) -> Option<Option<Bytes>> {
        match self.next()? {
            Reply::Bytes(bytes) => Some(Some(bytes)),
            Reply::Nil => Some(None),
            Reply::Int(_) | Reply::Array(_) => None,
        }
    }

    /// Reads a whole number.
    pub(in crate::store::redis) fn number(&mut self) -> Option<i64> {
        match self.next()? {
            Reply::Int(number) => Some(number),
            _ => None,
        }
    }
}
