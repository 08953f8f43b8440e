//! [`PostgresChannel`]: messages between processes through `LISTEN` and `NOTIFY`.
//!
//! Used by a `NotifyingStore`. Knows nothing of sessions.

use std::convert::Infallible;

use sqlx::{PgPool, postgres::PgListener};

use crate::store::notify::{Channel, ChannelError, Listener};

/// Channel of a [`NotifyingStore`](crate::store::notify::NotifyingStore) through `LISTEN` and
/// `NOTIFY`.
///
/// A process that listens keeps one connection of the pool. A pooler in transaction mode does not
/// forward notifications.
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
        let notify = sqlx::query("select pg_notify($1, $2)").bind(&*self.name).bind(message);
        notify.execute(&self.pool).await?;
        Ok(())
    }

    async fn listen(&self, listener: &Listener) -> ChannelError {
        let listened = async {
            let mut connection = PgListener::connect_with(&self.pool).await?;
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
