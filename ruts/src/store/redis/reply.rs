use std::{time::Duration, vec::IntoIter};

use bytes::Bytes;

use super::{client::Reply, layout::unpack, record::Record};
use crate::{
    name::FieldName,
    store::{Loaded, Lookup, Projection, StoredField, Updated},
    token::SessionId,
};

/// What a script says of a session.
pub(super) enum Said {
    /// It was found, and this is the answer.
    Found(Reply),
    /// There is one already.
    Exists,
    /// Its secret is not old enough to be renewed.
    NotDue,
    /// It was not found.
    No(Lookup<()>),
}

impl Said {
    /// `None` for what no script says.
    pub(super) fn new(reply: Reply) -> Option<Self> {
        let Reply::Bytes(words) = &reply else { return Some(Self::Found(reply)) };
        let words = std::str::from_utf8(words).ok()?;
        let (word, ago) = words.split_once(' ').unwrap_or((words, "0"));
        let ago = Duration::from_millis(ago.parse().ok()?);
        Some(match word {
            "found" => Self::Found(reply),
            "exists" => Self::Exists,
            "early" => Self::NotDue,
            "none" => Self::No(Lookup::NotFound),
            "ended" => Self::No(Lookup::Ended { ago }),
            "replaced" => Self::No(Lookup::Replaced { ago }),
            _ => return None,
        })
    }
}

/// The names of the fields that are asked for, if not all are.
pub(super) fn names(fields: Projection<'_>) -> Option<impl Iterator<Item = FieldName>> {
    match fields {
        Projection::All => None,
        Projection::Named(names) => Some(names.iter().map(|name| (*name).into())),
    }
}

/// What was read of a session.
pub(super) fn loaded(
    reply: Reply,
    names: Option<impl Iterator<Item = FieldName>>,
) -> Option<Loaded> {
    let mut answer = Answer::new(reply)?;
    let record = Record::parse(&answer.bytes()??)?;
    answer.loaded(record, names, |packed| Some(Some(packed)))
}

/// A field by what is held of it. Nothing if it has ended: in that very millisecond, it is still handed out.
pub(super) fn stored(record: &Record, name: FieldName, held: Bytes) -> Option<Option<StoredField>> {
    let (hot, end, value) = unpack(held)?;
    let ttl = end.map(|end| Duration::from_millis(end.saturating_sub(record.now)));
    let is_live = ttl.is_none_or(|ttl| !ttl.is_zero());
    Some(is_live.then_some(StoredField { name, value, ttl, hot }))
}

/// What an update came to.
pub(super) fn updated(reply: Reply) -> Option<Updated> {
    match reply {
        Reply::Int(found) => Some(Updated::Applied { found: found.try_into().ok()? }),
        other => Some(Updated::Conflict { current: value(other)? }),
    }
}

/// A value in a list, or an empty list.
pub(super) fn value(reply: Reply) -> Option<Option<Bytes>> {
    let mut answer = Answer::new(reply)?;
    let packed = if answer.is_over() { None } else { answer.bytes()? };
    Some(match packed {
        Some(packed) => Some(unpack(packed)?.2),
        None => None,
    })
}

/// A list, read from the front. Every reader is `None` for what no script says.
pub(super) struct Answer(IntoIter<Reply>);

/// What a principal's list says of a session.
pub(super) struct Entry {
    pub(super) id: SessionId,
    pub(super) mark: Bytes,
}

impl Entry {
    /// When it joined, in milliseconds of the server's clock.
    pub(super) fn joined(&self) -> u64 {
        let digits = self.mark.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }
}

impl Answer {
    pub(super) fn new(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Array(items) => Some(Self(items.into_iter())),
            _ => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.len() == 0
    }

    /// What is left are values of the fields asked for, or names and values of all; `packed` finds a value in
    /// what is held of a field, if there is one.
    pub(super) fn loaded(
        mut self,
        record: Record,
        names: Option<impl Iterator<Item = FieldName>>,
        packed: impl Fn(Bytes) -> Option<Option<Bytes>>,
    ) -> Option<Loaded> {
        let mut fields = Vec::with_capacity(self.0.len());
        let mut keep = |name, held| {
            if let Some(packed) = packed(held)? {
                fields.extend(stored(&record, name, packed)?);
            }
            Some(())
        };
        match names {
            Some(names) => {
                for name in names {
                    if let Some(held) = self.bytes()? {
                        keep(name, held)?;
                    }
                }
            }
            None => {
                while !self.is_over() {
                    let (name, held) = (self.bytes()??, self.bytes()??);
                    if !matches!(&*name, b"~" | b"~x" | b"~r") {
                        keep(std::str::from_utf8(&name).ok()?.into(), held)?;
                    }
                }
            }
        }
        self.is_over().then(|| Loaded { meta: record.meta(), fields })
    }

    /// Entries of a principal's list.
    pub(super) fn entries(mut self) -> Option<Vec<Entry>> {
        let mut entries = Vec::with_capacity(self.0.len() / 2);
        while !self.is_over() {
            let id = SessionId::from_bytes(self.bytes()??[..].try_into().ok()?);
            entries.push(Entry { id, mark: self.bytes()?? });
        }
        Some(entries)
    }

    /// Whatever is next.
    pub(super) fn next(&mut self) -> Option<Reply> {
        self.0.next()
    }

    pub(super) fn bytes(&mut self) -> Option<Option<Bytes>> {
        match self.next()? {
            Reply::Bytes(bytes) => Some(Some(bytes)),
            Reply::Nil => Some(None),
            Reply::Int(_) | Reply::Array(_) => None,
        }
    }

    /// A whole number.
    #[cfg(feature = "layered-store")]
    pub(super) fn number(&mut self) -> Option<i64> {
        match self.0.next()? {
            Reply::Int(number) => Some(number),
            _ => None,
        }
    }
}
