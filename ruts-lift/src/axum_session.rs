//! [`AxumSessions`]: reads and ends sessions of axum_session 0.22.
//!
//! Made by applications, and called by `lift`. Knows the stored form of these sessions, and nothing
//! about ruts.

use std::{collections::HashMap, fmt};

use axum_session::DatabasePool;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::Malformed,
    old::{BoxError, OldSession, OldSessions},
};

/// Sessions of axum_session 0.22, in any of its databases.
///
/// The cookie is called `session` by default. If the cookie is signed,
/// [`OldCookie::read_with`](crate::OldCookie::read_with) has to check the signature. Sessions that
/// are encrypted with a `database_key` are not supported.
///
/// A program with axum_session keeps copies of sessions in its memory. It may notice a sign-out in
/// ruts only after the time set with `SessionConfig::with_memory_lifetime`.
#[derive(Clone)]
pub struct AxumSessions<T> {
    pool: T,
    table: String,
}

impl<T: DatabasePool + Send + Sync + 'static> AxumSessions<T> {
    /// Reads the sessions in a table of this database. The table is called `sessions`, unless
    /// `SessionConfig::with_table_name` changes its name.
    pub fn new(pool: T, table: impl Into<String>) -> Self {
        Self { pool, table: table.into() }
    }
}

/// A session as the database holds it. Each value is a string that contains JSON.
#[derive(Deserialize)]
struct Stored {
    data: HashMap<String, String>,
}

impl<T: DatabasePool + Send + Sync + 'static> OldSessions for AxumSessions<T> {
    async fn load(&self, id: &str) -> Result<Option<OldSession>, BoxError> {
        let text = match self.pool.load(id, &self.table).await {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            // The Redis pools return an error for a session that does not exist.
            Err(error) => match self.pool.exists(id, &self.table).await {
                Ok(false) => return Ok(None),
                _ => return Err(error.into()),
            },
        };
        let values = decode(&text).map_err(|_| Malformed)?;
        Ok(Some(OldSession::new(values)))
    }

    async fn delete(&self, id: &str) -> Result<(), BoxError> {
        Ok(self.pool.delete_one_by_id(id, &self.table).await?)
    }
}

fn decode(text: &str) -> Result<Vec<(String, Value)>, serde_json::Error> {
    let stored: Stored = serde_json::from_str(text)?;
    let value = |(name, text): (String, String)| Ok((name, serde_json::from_str(&text)?));
    stored.data.into_iter().map(value).collect()
}

impl<T> fmt::Debug for AxumSessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AxumSessions").field("table", &self.table).finish_non_exhaustive()
    }
}
