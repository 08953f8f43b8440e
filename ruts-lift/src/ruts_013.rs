//! [`Ruts013`]: reads and ends sessions of the crate `ruts` 0.13 of the registry.
//!
//! Made by applications, and called by `lift`. Knows nothing about this version of ruts.

use std::fmt;

use ruts_013::{
    Id,
    store::{Error, SessionMap, SessionStore},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::Malformed,
    old::{BoxError, OldSession, OldSessions},
};

/// Sessions of the crate `ruts` 0.13 of the registry, in any of its stores.
///
/// `ruts` 0.13 stores no types, so declare each field with its type. Other fields are ignored. The
/// cookie is called `id` by default.
#[derive(Clone)]
pub struct Ruts013<S> {
    store: S,
    fields: Vec<(&'static str, Read)>,
}

type Read = fn(&SessionMap, &str) -> Result<Option<Value>, Malformed>;

impl<S: SessionStore> Ruts013<S> {
    /// Reads the sessions of this store.
    pub fn new(store: S) -> Self {
        Self { store, fields: Vec::new() }
    }

    /// Declares a field. It becomes a value of this name in [`OldSession`].
    #[must_use]
    pub fn field<T: DeserializeOwned + Serialize>(mut self, name: &'static str) -> Self {
        self.fields.push((name, |stored, name| {
            let value = stored.get::<T>(name).map_err(|_| Malformed)?;
            value.map(serde_json::to_value).transpose().map_err(|_| Malformed)
        }));
        self
    }
}

impl<S: SessionStore> OldSessions for Ruts013<S> {
    async fn load(&self, id: &str) -> Result<Option<OldSession>, BoxError> {
        let Ok(id) = id.parse::<Id>() else { return Ok(None) };
        let stored = match self.store.get_all(&id).await {
            Err(Error::Decode(_)) => return Err(Malformed.into()),
            loaded => loaded?,
        };
        let Some(stored) = stored else { return Ok(None) };
        let mut values = Vec::with_capacity(self.fields.len());
        for (name, read) in &self.fields {
            values.extend(read(&stored, name)?.map(|value| ((*name).to_owned(), value)));
        }
        Ok(Some(OldSession::new(values)))
    }

    async fn delete(&self, id: &str) -> Result<(), BoxError> {
        let Ok(id) = id.parse::<Id>() else { return Ok(()) };
        let deleted: Result<bool, Error> = self.store.delete(&id).await;
        Ok(deleted.map(drop)?)
    }
}

impl<S> fmt::Debug for Ruts013<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.fields.iter().map(|(name, _)| name);
        f.debug_struct("Ruts013")
            .field("fields", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
