//! [`AxumSessions`]: the sessions of axum_session 0.22.

use std::{collections::HashMap, fmt};

use axum_session::DatabasePool;
use serde::Deserialize;
use serde_json::Value;

use crate::old::{BoxError, OldSession, OldSessions};

/// Sessions of axum_session 0.22, in any of its databases.
///
/// The cookie is called `session` by default. If it is signed,
/// [`OldCookie::read_with`](crate::OldCookie::read_with) has to check it. Sessions that are encrypted
/// with a `database_key` are not supported.
///
/// A program with axum_session keeps copies of sessions in its memory. It notices a sign-out in ruts only
/// after `SessionConfig::with_memory_lifetime`.
#[derive(Clone)]
pub struct AxumSessions<T> {
    pool: T,
    table: String,
}

impl<T: DatabasePool + Send + Sync + 'static> AxumSessions<T> {
    /// Reads the sessions in a table of this database. The default of axum_session is `sessions`, and
    /// `SessionConfig::with_table_name` changes it.
    pub fn new(pool: T, table: impl Into<String>) -> Self {
        Self { pool, table: table.into() }
    }
}

/// A session in the form of the database. Each value is a string of JSON.
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
        let stored: Stored = serde_json::from_str(&text)?;
        let value = |(name, text): (String, String)| Ok((name, serde_json::from_str(&text)?));
        let values: Result<Vec<(String, Value)>, serde_json::Error> =
            stored.data.into_iter().map(value).collect();
        Ok(Some(OldSession::new(values?)))
    }

    async fn delete(&self, id: &str) -> Result<(), BoxError> {
        Ok(self.pool.delete_one_by_id(id, &self.table).await?)
    }
}

impl<T> fmt::Debug for AxumSessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AxumSessions").field("table", &self.table).finish_non_exhaustive()
    }
}
