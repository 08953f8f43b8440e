//! [`Edit`]: several changes of one session, written together.

use std::fmt;

use bytes::Bytes;

use super::{
    config::Signing,
    entry::removal,
    future::WriteFuture,
    request::{
        operations::Request,
        write_plan::{WritePlan, field_write},
    },
    value,
};
use crate::{
    auth::Assurance,
    error::Error,
    field::{Field, FieldSpec, Mode, StoredAs},
    store::Change,
};

/// Several changes of one session, written together or not at all.
///
/// `#[session]` wraps it with a typed method for each field: `shop.edit().cart(&cart).commit()`.
#[must_use = "nothing is written until `commit` is awaited"]
pub struct Edit<'a> {
    request: &'a Request,
    changes: Vec<(&'static FieldSpec, Option<Bytes>)>,
    signing: Option<Signing>,
    assurance: Assurance,
    keep_fields: bool,
    failed: Option<Error>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            request,
            changes: Vec::new(),
            signing: None,
            assurance: Assurance::Aal1,
            keep_fields: false,
            failed: None,
        }
    }

    /// Sets a field.
    pub fn set<T, M: Mode, Q: StoredAs<T> + ?Sized>(
        mut self,
        field: Field<T, M>,
        value: &Q,
    ) -> Self {
        let layer = self.request.config().layer;
        let encoded = value::encode(field.spec(), value);
        match encoded.and_then(|bytes| Ok((bytes, value::principal(field, layer, value)?))) {
            Ok((bytes, principal)) => {
                self.changes.push((field.spec(), Some(bytes)));
                if let Some(principal) = principal {
                    self.signing = Some(Signing::In {
                        principal,
                        assurance: Assurance::Aal1,
                        keep_fields: false,
                        lifetime: field.spec().ttl(),
                    });
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

    /// Sets the assurance of a sign-in. [`Assurance::Aal1`] by default.
    pub fn assurance(mut self, assurance: Assurance) -> Self {
        self.assurance = assurance;
        self
    }

    /// Keeps the fields of another principal at a sign-in.
    pub fn keep_fields(mut self) -> Self {
        self.keep_fields = true;
        self
    }

    /// Writes all changes. One round trip.
    ///
    /// # Errors
    ///
    /// The first [`Error::Encode`], and then nothing is written. Otherwise as
    /// [`Entry::set`](crate::Entry::set).
    pub fn commit(self) -> WriteFuture<'a> {
        let Self { request, changes, mut signing, assurance, keep_fields, failed } = self;
        if let Some(Signing::In { assurance: own, keep_fields: keep, .. }) = &mut signing {
            (*own, *keep) = (assurance, keep_fields);
        }
        WriteFuture::new(async move {
            if let Some(error) = failed {
                return Err(error);
            }
            let rotate = changes.iter().any(|(field, _)| field.is_rotating());
            let encrypted = changes.iter().filter(|(field, _)| field.is_encrypted());
            let encrypted = encrypted.map(|(field, _)| field.name()).collect();
            let changes: Vec<Change<'_>> = (changes.iter())
                .map(|(field, value)| match value {
                    Some(value) => Change::Set(field_write(field, value)),
                    None => Change::Remove(field.name()),
                })
                .collect();
            if changes.is_empty() {
                return Ok(());
            }
            request.write(&changes, WritePlan { rotate, signing, encrypted }).await.map(drop)
        })
    }
}

impl fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.changes.iter().map(|(field, _)| field.name())).finish()
    }
}
