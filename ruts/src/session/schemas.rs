//! [`Schemas`]: the schemas that share the sessions of a layer.
//!
//! Checked when a typed session is extracted, to find conflicting declarations. Knows no values.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    codec::Fingerprint,
    error::Error,
    field::{FieldSpec, SessionSchema},
};

/// Function that returns the fingerprint of a field's type.
pub type FingerprintFn = fn() -> Fingerprint;

/// The schemas that this process has used in a layer.
#[derive(Default)]
pub(crate) struct Schemas {
    known: RwLock<Vec<Declared>>,
    /// Whether a schema marks a field `index`. If none does, `indexes` returns without locking
    /// `known`.
    has_index: AtomicBool,
}

#[derive(Clone, Copy)]
struct Declared {
    schema: &'static SessionSchema,
    /// The fingerprint functions of its fields' types, in the order of the fields.
    shapes: &'static [FingerprintFn],
}

impl Schemas {
    /// Adds a schema. Returns an error if another schema declares a field of the same stored name
    /// differently.
    pub(crate) fn register(
        &self,
        schema: &'static SessionSchema,
        shapes: &'static [FingerprintFn],
    ) -> Result<(), Error> {
        let is_known =
            |known: &[Declared]| known.iter().any(|known| std::ptr::eq(known.schema, schema));
        if is_known(&self.known.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let added = Declared { schema, shapes };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.iter().try_for_each(|known| known.check(&added))?;
        if !is_known(&known) {
            known.push(added);
            if schema.fields().iter().any(FieldSpec::is_index) {
                self.has_index.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Returns the fields marked `index`.
    pub(in crate::session) fn indexes(&self) -> Vec<&'static FieldSpec> {
        if !self.has_index.load(Ordering::Acquire) {
            return Vec::new();
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut indexes: Vec<&FieldSpec> = Vec::new();
        for (field, _) in known.iter().flat_map(Declared::fields) {
            let is_new = indexes.iter().all(|other| other.name() != field.name());
            indexes.extend(Some(field).filter(|field| field.is_index() && is_new));
        }
        indexes
    }

    /// Returns the declaration of a field. Schemas that declare the same field agree on how it is
    /// stored, but not on whether a write rotates the secret. So a declaration with `rotate` comes
    /// first.
    pub(in crate::session) fn declaration(&self, name: &str) -> Option<&'static FieldSpec> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let declared = known.iter().flat_map(Declared::fields);
        let same = declared.map(|(field, _)| field).filter(|field| field.name() == name);
        same.max_by_key(|field| field.is_rotating())
    }

    /// Returns whether a schema declares this field, and no declaration marks it `rotate`.
    pub(in crate::session) fn declares_plain(&self, name: &str) -> bool {
        self.declaration(name).is_some_and(|field| !field.is_rotating())
    }

    /// Returns whether a schema marks this field `once`.
    pub(in crate::session) fn declares_once(&self, name: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .flat_map(Declared::fields)
            .any(|(field, _)| field.name() == name && field.is_once())
    }
}

impl Declared {
    /// Returns an error if the schemas declare a common field differently.
    fn check(&self, other: &Self) -> Result<(), Error> {
        for (field, shape) in other.fields() {
            let same = self.fields().find(|(known, _)| known.name() == field.name());
            if same.is_some_and(|(known, known_shape)| {
                !known.stores_like(field) || known_shape() != shape()
            }) {
                return Err(Error::SchemaConflict {
                    field: field.name().to_owned(),
                    schemas: [self.schema.name(), other.schema.name()],
                });
            }
        }
        Ok(())
    }

    fn fields(&self) -> impl Iterator<Item = (&'static FieldSpec, &'static FingerprintFn)> + use<> {
        self.schema.fields().iter().zip(self.shapes)
    }
}
