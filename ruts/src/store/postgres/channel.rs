//! [`PostgresChannel`]: messages between processes through `LISTEN` and `NOTIFY`.
//!
//! Used by a `NotifyingStore`. Knows nothing about sessions.

use std::convert::Infallible;

use sqlx::{
    AssertSqlSafe, PgPool, SqlSafeStr,
    postgres::{PgListener, PgPoolOptions},
};

use super::{error::FAILED_TRANSACTION, templates::without_head};
use crate::store::notify::{Channel, ChannelError, Listener};

/// Whether the application has left no transaction open on the connection.
const IS_ONLY_STATEMENT: &str = include_str!("sql/fragments/is_only_statement_predicate.sql");

/// Channel of a [`NotifyingStore`](crate::store::notify::NotifyingStore) through `LISTEN` and
/// `NOTIFY`.
///
/// A process that listens opens one connection beside the pool, with the connect options of the
/// pool. A pooler in transaction mode does not forward notifications.
///
/// The whole PostgreSQL server commits only one transaction with a notification at a time. If
/// sessions are deleted, revoked or signed in to many hundreds of times per second, use a
/// `RedisChannel`.
#[derive(Debug, Clone)]
pub struct PostgresChannel {
    pool: PgPool,
    name: String,
}

impl PostgresChannel {
    /// Creates a channel. The name has at most 63 bytes.
    pub fn new(pool: PgPool, name: impl Into<String>) -> Self {
        Self { pool, name: name.into() }
    }
}

impl Channel for PostgresChannel {
    async fn publish(&self, message: String) -> Result<(), ChannelError> {
        let condition = without_head(IS_ONLY_STATEMENT);
        let notify = format!("select pg_notify($1, $2) where {condition}");
        let notify = AssertSqlSafe(notify).into_sql_str();
        // Each connection with an open transaction is closed, so the last attempt gets a new
        // connection.
        for _ in 0..=self.pool.size() {
            let mut connection = self.pool.acquire().await?;
            let notify = sqlx::query(notify.clone()).bind(&*self.name).bind(&*message);
            let notified = notify.fetch_optional(&mut *connection).await;
            match notified {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => drop(connection.detach()),
                Err(sqlx::Error::Database(error))
                    if error.code().is_some_and(|code| code == FAILED_TRANSACTION) =>
                {
                    drop(connection.detach());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err("the application left a transaction open on each connection of the pool".into())
    }

    async fn listen(&self, listener: &Listener) -> ChannelError {
        let listened = async {
            // A pool with one connection of its own: a small pool of the application would have
            // none left for other statements.
            let pool =
                PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
            let pool = pool.connect_lazy_with((*self.pool.connect_options()).clone());
            let mut connection = PgListener::connect_with(&pool).await?;
            connection.listen(&self.name).await?;
            listener.on_subscribed();
            loop {
                match connection.try_recv().await? {
                    Some(notification) => listener.on_message(notification.payload()),
                    // The connection was lost and replaced, so notifications may be missing.
                    None => listener.on_subscribed(),
                }
            }
        };
        let listened: Result<Infallible, sqlx::Error> = listened.await;
        match listened {
            Err(error) => error.into(),
        }
    }
}
