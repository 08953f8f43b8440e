use std::collections::BTreeMap;

use bytes::Bytes;

/// What a request knows of its session's fields.
#[derive(Default)]
pub(super) struct Memory {
    fields: BTreeMap<String, Option<Bytes>>,
    /// Fields that are not listed are known to be absent.
    complete: bool,
}

impl Memory {
    /// A session that holds nothing yet.
    pub(super) fn empty() -> Self {
        Self { fields: BTreeMap::new(), complete: true }
    }

    /// What the field holds, as far as it is [known](Self::knows).
    pub(super) fn get(&self, name: &str) -> Option<&Bytes> {
        self.fields.get(name)?.as_ref()
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.complete || self.fields.contains_key(name)
    }

    pub(super) fn knows_all(&self) -> bool {
        self.complete
    }

    pub(super) fn remember(&mut self, name: &str, value: Option<Bytes>) {
        match self.fields.get_mut(name) {
            Some(held) => *held = value,
            None => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }

    /// From now on the field has to be read again.
    pub(super) fn forget(&mut self, name: &str) {
        self.fields.remove(name);
        self.complete = false;
    }

    /// All fields that are there. Only meaningful when it [knows all](Self::knows_all).
    pub(super) fn present(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.fields.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?)))
    }

    /// The fields of these names, none of which was known, are as stored, or absent.
    pub(super) fn learn(&mut self, names: &[&str], stored: impl Iterator<Item = (String, Bytes)>) {
        self.fields.extend(stored.map(|(name, value)| (name, Some(value))));
        for name in names {
            if !self.fields.contains_key(*name) {
                self.fields.insert((*name).to_owned(), None);
            }
        }
    }

    pub(super) fn learn_all(&mut self, fields: impl Iterator<Item = (String, Bytes)>) {
        self.fields = fields.map(|(name, value)| (name, Some(value))).collect();
        self.complete = true;
    }
}
