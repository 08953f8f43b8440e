use std::fmt;

use bytes::Bytes;

use super::{Write, apply::put, shared::Shared, value};
use crate::{
    error::Error,
    field::{Field, FieldSpec, StoredAs},
    store::Change,
};

/// Several changes to one session, written together or not at all.
///
/// `#[session]` wraps it with a typed method for each field (`shop.edit().cart(&cart).commit()`).
#[must_use = "nothing is written until `commit` is awaited"]
pub struct Edit<'a> {
    shared: &'a Shared,
    changes: Vec<(&'static FieldSpec, Option<Bytes>)>,
    failed: Option<Error>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, changes: Vec::new(), failed: None }
    }

    /// Sets a field.
    pub fn set<T, M: Copy, Q: StoredAs<T> + ?Sized>(
        mut self,
        field: Field<T, M>,
        value: &Q,
    ) -> Self {
        match value::encode(field.spec(), value) {
            Ok(value) => self.changes.push((field.spec(), Some(value))),
            Err(error) => self.failed = self.failed.or(Some(error)),
        }
        self
    }

    /// Removes a field.
    pub fn remove<T, M: Copy>(mut self, field: Field<T, M>) -> Self {
        self.changes.push((field.spec(), None));
        self
    }

    /// Writes all of it. One round trip.
    ///
    /// # Errors
    ///
    /// The first [`Error::Encode`], and then nothing is written; else as
    /// [`Entry::set`](super::Entry::set).
    pub fn commit(self) -> Write<'a> {
        let Self { shared, changes, failed } = self;
        Write::new(async move {
            if let Some(error) = failed {
                return Err(error);
            }
            let rotate = changes.iter().any(|(field, _)| field.is_rotating());
            let changes: Vec<Change<'_>> = (changes.iter())
                .map(|(field, value)| match value {
                    Some(value) => Change::Set(put(field, value)),
                    None => Change::Remove(field.name()),
                })
                .collect();
            if changes.is_empty() {
                return Ok(());
            }
            shared.write(&changes, rotate).await.map(drop)
        })
    }
}

impl fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.changes.iter().map(|(field, _)| field.name())).finish()
    }
}
