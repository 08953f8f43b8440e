use bytes::Bytes;

use crate::name::FieldName;

/// What a request knows of its session's fields.
#[derive(Default)]
pub(super) struct Memory {
    /// In the order of their names, none twice.
    fields: Vec<(FieldName, Known)>,
    /// Fields that are not listed are known to be absent.
    complete: bool,
}

enum Known {
    Present(Bytes),
    Absent,
    /// It was changed, and the store has not said how that went.
    Unsure,
}

impl Memory {
    /// A session that holds nothing yet.
    pub(super) fn empty() -> Self {
        Self { fields: Vec::new(), complete: true }
    }

    /// What the field holds, as far as it is [known](Self::knows).
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

    /// From now on the field has to be read again.
    pub(super) fn forget(&mut self, name: &str) {
        self.set(name, Known::Unsure);
    }

    /// All fields that are there. Only meaningful when it [knows all](Self::knows_all).
    pub(super) fn present(&self) -> impl Iterator<Item = (&FieldName, &Bytes)> {
        self.fields.iter().filter_map(|(name, known)| match known {
            Known::Present(value) => Some((name, value)),
            Known::Absent | Known::Unsure => None,
        })
    }

    /// The fields of these names, none of which was known, are as stored, or absent.
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

    /// The session holds these fields and no others.
    pub(super) fn learn_all(&mut self, stored: impl Iterator<Item = (FieldName, Bytes)>) {
        self.fields = stored.map(|(name, value)| (name, Known::Present(value))).collect();
        self.settle();
        self.complete = true;
    }

    /// Brings the fields into order; of two of a name, the latter is true.
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
