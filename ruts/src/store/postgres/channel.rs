use sqlx::{PgPool, postgres::PgListener};

use crate::store::notify::{Channel, ChannelError, Heard};

/// `LISTEN` and `NOTIFY`, for an [`NotifyingStore`](crate::store::notify::NotifyingStore).
///
/// A process that listens keeps one connection of the pool for it. Notifications take turns at the end of
/// their transactions, database-wide: where sessions end or sign in many hundred times a second, announce
/// through Redis. They do not come through a pooler in transaction mode.
#[derive(Debug, Clone)]
pub struct PostgresChannel {
    pool: PgPool,
    name: String,
}

impl PostgresChannel {
    /// The channel of that name, 63 bytes at most.
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

    async fn listen(&self, heard: &Heard) -> ChannelError {
        let listened = async {
            let mut listener = PgListener::connect_with(&self.pool).await?;
            listener.listen(&self.name).await?;
            heard.from_now_on();
            loop {
                match listener.try_recv().await? {
                    Some(notification) => heard.message(notification.payload()),
                    // It has lost its connection, and has another one.
                    None => heard.from_now_on(),
                }
            }
        };
        let listened: Result<std::convert::Infallible, sqlx::Error> = listened.await;
        match listened {
            Err(error) => error.into(),
        }
    }
}
