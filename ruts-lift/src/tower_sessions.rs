//! [`TowerSessions`]: reads and ends sessions of tower-sessions 0.14.
//!
//! Made by applications, and called by `lift`. Knows nothing about ruts.

use std::time::SystemTime;

use tower_sessions_core::{SessionStore, session::Id, session_store};

use crate::{
    error::Malformed,
    old::{BoxError, OldSession, OldSessions},
};

/// Sessions of tower-sessions 0.14, in any of its stores.
///
/// The cookie is called `id` by default.
#[derive(Debug, Clone)]
pub struct TowerSessions<S>(S);

impl<S: SessionStore> TowerSessions<S> {
    /// Reads the sessions of this store.
    pub fn new(store: S) -> Self {
        Self(store)
    }
}

impl<S: SessionStore> OldSessions for TowerSessions<S> {
    async fn load(&self, id: &str) -> Result<Option<OldSession>, BoxError> {
        let Ok(id) = id.parse::<Id>() else { return Ok(None) };
        let record = match self.0.load(&id).await {
            Err(session_store::Error::Decode(_)) => return Err(Malformed.into()),
            loaded => loaded?,
        };
        // Not every tower-sessions store checks the expiry.
        let live = record.filter(|record| SystemTime::from(record.expiry_date) > SystemTime::now());
        Ok(live.map(|record| OldSession::new(record.data).ends(record.expiry_date.into())))
    }

    async fn delete(&self, id: &str) -> Result<(), BoxError> {
        let Ok(id) = id.parse::<Id>() else { return Ok(()) };
        Ok(self.0.delete(&id).await?)
    }
}
