//! The fields that a request has read or written: [`FieldCache`].

use bytes::Bytes;

use crate::field::FieldName;

/// The known fields of a session.
#[derive(Default)]
pub(super) struct FieldCache {
    /// Ordered by name, each name once.
    fields: Vec<(FieldName, Known)>,
    /// Fields that are not listed are known to be absent.
    complete: bool,
}

enum Known {
    Present(Bytes),
    Absent,
    /// It was to be changed, and the outcome is not known.
    Unsure,
}

impl FieldCache {
    /// Returns the cache of a new, empty session.
    pub(super) fn empty() -> Self {
        Self { fields: Vec::new(), complete: true }
    }

    /// Returns the value of a field that is [known](Self::knows).
    pub(super) fn get(&self, name: &str) -> Option<&Bytes> {
        match self.known(name)? {
            Known::Present(value) => Some(value),
            Known::Absent | Known::Unsure => None,
        }
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        match self.known(name) {
            Some(Known::Present(_) | Known::Absent) => true,
            Some(Known::Unsure) => false,
            None => self.complete,
        }
    }

    pub(super) fn knows_all(&self) -> bool {
        self.complete && !self.fields.iter().any(|(_, known)| matches!(known, Known::Unsure))
    }

    pub(super) fn remember(&mut self, name: &str, value: Option<Bytes>) {
        self.set(name, value.map_or(Known::Absent, Known::Present));
    }

    /// Forgets a field: it has to be read again.
    pub(super) fn forget(&mut self, name: &str) {
        self.set(name, Known::Unsure);
    }

    /// Returns the present fields. They are all fields if the cache [knows all](Self::knows_all).
    pub(super) fn present(&self) -> impl Iterator<Item = (&FieldName, &Bytes)> {
        self.fields.iter().filter_map(|(name, known)| match known {
            Known::Present(value) => Some((name, value)),
            Known::Absent | Known::Unsure => None,
        })
    }

    /// Learns the fields of these names, which were unknown: as stored, or absent.
    pub(super) fn learn(
        &mut self,
        names: &[&str],
        stored: impl ExactSizeIterator<Item = (FieldName, Bytes)>,
    ) {
        self.fields.reserve(names.len());
        self.fields.extend(stored.map(|(name, value)| (name, Known::Present(value))));
        self.settle();
        let is_there = |name: &&&str| matches!(self.known(name), Some(Known::Present(_)));
        let absent = names.iter().filter(|name| !is_there(name));
        let absent: Vec<_> = absent.map(|name| ((*name).into(), Known::Absent)).collect();
        if !absent.is_empty() {
            self.fields.extend(absent);
            self.settle();
        }
    }

    /// Learns that the session holds these fields and no others.
    pub(super) fn learn_all(&mut self, stored: impl Iterator<Item = (FieldName, Bytes)>) {
        self.fields = stored.map(|(name, value)| (name, Known::Present(value))).collect();
        self.settle();
        self.complete = true;
    }

    /// Sorts the fields. Of two with the same name, the later one stays.
    fn settle(&mut self) {
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
