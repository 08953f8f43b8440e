use std::collections::BTreeMap;

use bytes::Bytes;

/// What a request knows of its session's fields.
#[derive(Default)]
pub(super) struct Memory {
    fields: BTreeMap<String, Known>,
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
        Self { fields: BTreeMap::new(), complete: true }
    }

    /// What the field holds, as far as it is [known](Self::knows).
    pub(super) fn get(&self, name: &str) -> Option<&Bytes> {
        match self.fields.get(name)? {
            Known::Present(value) => Some(value),
            Known::Absent | Known::Unsure => None,
        }
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        match self.fields.get(name) {
            Some(Known::Present(_) | Known::Absent) => true,
            Some(Known::Unsure) => false,
            None => self.complete,
        }
    }

    pub(super) fn knows_all(&self) -> bool {
        self.complete && !self.fields.values().any(|known| matches!(known, Known::Unsure))
    }

    pub(super) fn remember(&mut self, name: &str, value: Option<Bytes>) {
        self.set(name, value.map_or(Known::Absent, Known::Present));
    }

    /// From now on the field has to be read again.
    pub(super) fn forget(&mut self, name: &str) {
        self.set(name, Known::Unsure);
    }

    /// All fields that are there. Only meaningful when it [knows all](Self::knows_all).
    pub(super) fn present(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.fields.iter().filter_map(|(name, known)| match known {
            Known::Present(value) => Some((name.as_str(), value)),
            Known::Absent | Known::Unsure => None,
        })
    }

    /// The fields of these names, none of which was known, are as stored, or absent.
    pub(super) fn learn(&mut self, names: &[&str], stored: impl Iterator<Item = (String, Bytes)>) {
        self.fields.extend(stored.map(|(name, value)| (name, Known::Present(value))));
        for name in names {
            if !matches!(self.fields.get(*name), Some(Known::Present(_))) {
                self.set(name, Known::Absent);
            }
        }
    }

    /// The session holds these fields and no others.
    pub(super) fn learn_all(&mut self, stored: impl Iterator<Item = (String, Bytes)>) {
        self.fields = stored.map(|(name, value)| (name, Known::Present(value))).collect();
        self.complete = true;
    }

    fn set(&mut self, name: &str, known: Known) {
        match self.fields.get_mut(name) {
            Some(held) => *held = known,
            None => {
                self.fields.insert(name.to_owned(), known);
            }
        }
    }
}
