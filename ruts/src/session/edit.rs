use std::fmt;

use bytes::Bytes;

use super::{
    WriteFuture,
    apply::{Writing, put},
    config::Signing,
    entry::removal,
    shared::Shared,
    value,
};
use crate::{
    error::Error,
    field::{Field, FieldSpec, Mode, StoredAs},
    principal::Assurance,
    store::Change,
};

/// Several changes to one session, written together or not at all.
///
/// `#[session]` wraps it with a typed method for each field (`shop.edit().cart(&cart).commit()`).
#[must_use = "nothing is written until `commit` is awaited"]
pub struct Edit<'a> {
    shared: &'a Shared,
    changes: Vec<(&'static FieldSpec, Option<Bytes>)>,
    signing: Option<Signing>,
    failed: Option<Error>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, changes: Vec::new(), signing: None, failed: None }
    }

    /// Sets a field.
    pub fn set<T, M: Mode, Q: StoredAs<T> + ?Sized>(
        mut self,
        field: Field<T, M>,
        value: &Q,
    ) -> Self {
        let layer = self.shared.config().layer;
        let encoded = value::encode(field.spec(), value);
        match encoded.and_then(|bytes| Ok((bytes, value::principal(field, layer, value)?))) {
            Ok((bytes, principal)) => {
                self.changes.push((field.spec(), Some(bytes)));
                if let Some(principal) = principal {
                    self.signing = Some(Signing::In(principal, Assurance::Aal1));
                }
            }
            Err(error) => self.failed = self.failed.or(Some(error)),
        }
        self
    }

    /// Removes a field.
    pub fn remove<T, M: Mode>(mut self, field: Field<T, M>) -> Self {
        self.changes.push((field.spec(), None));
        self.signing = removal(field.spec()).or(self.signing);
        self
    }

    /// Writes all of it. One round trip.
    ///
    /// # Errors
    ///
    /// The first [`Error::Encode`], and then nothing is written; else as
    /// [`Entry::set`](super::Entry::set).
    pub fn commit(self) -> WriteFuture<'a> {
        let Self { shared, changes, signing, failed } = self;
        WriteFuture::new(async move {
            if let Some(error) = failed {
                return Err(error);
            }
            let rotate = changes.iter().any(|(field, _)| field.is_rotating());
            let encrypted = changes.iter().filter(|(field, _)| field.is_encrypted());
            let encrypted = encrypted.map(|(field, _)| field.name()).collect();
            let changes: Vec<Change<'_>> = (changes.iter())
                .map(|(field, value)| match value {
                    Some(value) => Change::Set(put(field, value)),
                    None => Change::Remove(field.name()),
                })
                .collect();
            if changes.is_empty() {
                return Ok(());
            }
            shared.write(&changes, Writing { rotate, signing, encrypted }).await.map(drop)
        })
    }
}

impl fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.changes.iter().map(|(field, _)| field.name())).finish()
    }
}
