//! [`FieldCache`]: the stored fields that this request has read or written.
//!
//! Owned by `state`. Knows names, bytes and lifetimes, and nothing about types or stores.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::field::FieldName;

/// The known fields of a session.
#[derive(Default)]
pub(super) struct FieldCache {
    /// Ordered by name, without duplicates.
    fields: Vec<(FieldName, Known)>,
    /// Whether fields that are not listed are known to be absent.
    complete: bool,
}

/// How long a value lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Unknown,
    /// As long as its session.
    Session,
    Until(Instant),
}

enum Known {
    Present(Bytes, Life),
    Absent,
    /// Unknown, because the outcome of a change is unknown. The field has to be read again.
    Unknown,
}

impl Life {
    /// Returns the lifetime of a value that is written or read now, with this TTL.
    pub(super) fn new(ttl: Option<Duration>) -> Self {
        match ttl {
            Some(ttl) => Self::Until(Instant::now() + ttl),
            None => Self::Session,
        }
    }
}

impl FieldCache {
    /// Returns the cache of a new, empty session.
    pub(super) fn empty() -> Self {
        Self { fields: Vec::new(), complete: true }
    }

    /// Returns the value of a field that is [known](Self::knows).
    pub(super) fn get(&self, name: &str) -> Option<&Bytes> {
        match self.known(name)? {
            Known::Present(value, _) => Some(value),
            Known::Absent | Known::Unknown => None,
        }
    }

    /// Returns the lifetime of a field that is present.
    pub(super) fn life(&self, name: &str) -> Life {
        match self.known(name) {
            Some(Known::Present(_, life)) => *life,
            _ => Life::Unknown,
        }
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        match self.known(name) {
            Some(Known::Present(..) | Known::Absent) => true,
            Some(Known::Unknown) => false,
            None => self.complete,
        }
    }

    pub(super) fn knows_all(&self) -> bool {
        self.complete && !self.fields.iter().any(|(_, known)| matches!(known, Known::Unknown))
    }

    pub(super) fn remember(&mut self, name: &str, value: Option<(Bytes, Life)>) {
        self.set(name, value.map_or(Known::Absent, |(value, life)| Known::Present(value, life)));
    }

    /// Changes the lifetime of a field, if the field is known to be present.
    pub(super) fn set_life(&mut self, name: &str, life: Life) {
        if let Ok(place) = self.place(name)
            && let Known::Present(_, known) = &mut self.fields[place].1
        {
            *known = life;
        }
    }

    /// Marks a field as unknown: it has to be read again.
    pub(super) fn forget(&mut self, name: &str) {
        self.set(name, Known::Unknown);
    }

    /// Returns the present fields. These are all fields of the session if the cache
    /// [knows all](Self::knows_all).
    pub(super) fn present(&self) -> impl Iterator<Item = (&FieldName, &Bytes)> {
        self.fields.iter().filter_map(|(name, known)| match known {
            Known::Present(value, _) => Some((name, value)),
            Known::Absent | Known::Unknown => None,
        })
    }

    /// Adds the fields with these names. They were unknown before. A name that is not in `stored`
    /// is recorded as absent.
    pub(super) fn learn(
        &mut self,
        names: &[&str],
        stored: impl ExactSizeIterator<Item = (FieldName, Bytes, Life)>,
    ) {
        self.fields.reserve(names.len());
        self.fields.extend(stored.map(|(name, value, life)| (name, Known::Present(value, life))));
        self.sort_and_dedup();
        let is_there = |name: &&&str| matches!(self.known(name), Some(Known::Present(..)));
        let absent = names.iter().filter(|name| !is_there(name));
        let absent: Vec<_> = absent.map(|name| ((*name).into(), Known::Absent)).collect();
        if !absent.is_empty() {
            self.fields.extend(absent);
            self.sort_and_dedup();
        }
    }

    /// Replaces all fields: the session holds these and no others.
    pub(super) fn learn_all(&mut self, stored: impl Iterator<Item = (FieldName, Bytes, Life)>) {
        let stored = stored.map(|(name, value, life)| (name, Known::Present(value, life)));
        self.fields = stored.collect();
        self.sort_and_dedup();
        self.complete = true;
    }

    /// Sorts the fields. The later one of two fields with the same name is kept.
    fn sort_and_dedup(&mut self) {
        self.fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.fields.dedup_by(|latter, former| {
            let same = latter.0 == former.0;
            if same {
                std::mem::swap(latter, former);
            }
            same
        });
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.fields.binary_search_by(|(other, _)| str::cmp(other, name))
    }

    fn known(&self, name: &str) -> Option<&Known> {
        self.place(name).ok().map(|place| &self.fields[place].1)
    }

    fn set(&mut self, name: &str, known: Known) {
        match self.place(name) {
            Ok(place) => self.fields[place].1 = known,
            Err(place) => self.fields.insert(place, (name.into(), known)),
        }
    }
}
