//! Messages between processes through Redis or Valkey: [`RedisChannel`].
//!
//! Used by a [`NotifyingStore`](crate::store::notify::NotifyingStore). It knows the drivers, and
//! nothing about sessions.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    driver::{
        client::{RedisClient, ScriptName},
        connections::Connections,
    },
    eval::{Deadline, OnUnknown, send},
};
use crate::store::{StoreError, notify::ChannelError};

/// A channel of a [`NotifyingStore`](crate::store::notify::NotifyingStore) through Redis or Valkey,
/// with a fred `Client` or `Pool`, or a redis-rs `Client`.
///
/// Each process publishes on one connection, or on as many as the `Pool` has, and listens on a
/// separate one. All these connections have the settings of the client. In a cluster, the channel
/// may use any node, because each node forwards messages to the other nodes.
///
/// ```no_run
/// # #[cfg(feature = "redis-store")]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use fred::{clients::Client, types::config::Config};
/// use ruts::{SessionLayer, store::{notify::NotifyingStore, redis::{RedisChannel, RedisStore}}};
///
/// let client = Client::new(Config::from_url("redis://localhost:6379")?, None, None, None);
/// let store = RedisStore::new(Arc::new(client.clone()));
/// let store = NotifyingStore::new(store, RedisChannel::new(client, "ruts:changes"));
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct RedisChannel<C: RedisClient> {
    client: Arc<C>,
    name: Arc<str>,
    publisher: Arc<Connections<C::Connector>>,
}

/// Publishes a message. Any node of a cluster can publish it, so the script has no key.
const PUBLISH: &str = "redis.call('PUBLISH', ARGV[1], ARGV[2])";

/// Maximum time to publish a message.
const TIMEOUT: Duration = Duration::from_secs(2);

impl<C: RedisClient> RedisChannel<C> {
    /// Creates a handle for the channel with this name. Sends nothing.
    pub fn new(client: C, name: &str) -> Self {
        let client = Arc::new(client);
        let publisher = Arc::new(Connections::new(client.connectors()));
        Self { publisher, client, name: name.into() }
    }

    /// Publishes a message. The message may arrive twice, which listeners tolerate.
    async fn send(&self, message: String) -> Result<(), ChannelError> {
        let arguments = [Bytes::copy_from_slice(self.name.as_bytes()), message.into()];
        let (script, deadline) = (ScriptName::Text(PUBLISH), Deadline::after(TIMEOUT));
        let sent =
            send(&*self.publisher, script, &[], &arguments, OnUnknown::Resend, deadline).await;
        sent.map(drop).map_err(|error| StoreError::from(error).into())
    }
}

impl<C: RedisClient> Clone for RedisChannel<C> {
    fn clone(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
            name: Arc::clone(&self.name),
            publisher: Arc::clone(&self.publisher),
        }
    }
}

impl<C: RedisClient> fmt::Debug for RedisChannel<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisChannel").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(feature = "redis-store")]
mod through_fred {
    use ::fred::{
        clients::{Client, Pool},
        error::Error,
        interfaces::{ClientLike, EventInterface, PubsubInterface},
    };

    use super::RedisChannel;
    use crate::store::notify::{Channel, ChannelError, Listener};

    /// Listens on a connection of its own until that connection breaks.
    async fn listen(client: &Client, name: &str, listener: &Listener) -> Result<(), Error> {
        let connection = Some(client.connection_config().clone());
        let client = Client::new(client.client_config(), None, connection, None);
        let (mut messages, mut errors) = (client.message_rx(), client.error_rx());
        let task = client.init().await?;
        client.subscribe(name).await?;
        listener.on_subscribed();
        let ended = loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => {
                        listener.on_message(&message.value.into_string().unwrap_or_default());
                    }
                    // Too many messages came at the same time and some were lost, so every watcher
                    // has to check.
                    Err(_) => listener.on_subscribed(),
                },
                error = errors.recv() => break error.map_or(Ok(()), |(error, _)| Err(error)),
            }
        };
        task.abort();
        ended
    }

    async fn listen_error(client: &Client, name: &str, listener: &Listener) -> ChannelError {
        match listen(client, name, listener).await {
            Err(error) => error.into(),
            Ok(()) => "the connection was closed".into(),
        }
    }

    impl Channel for RedisChannel<Client> {
        async fn publish(&self, message: String) -> Result<(), ChannelError> {
            self.send(message).await
        }

        async fn listen(&self, listener: &Listener) -> ChannelError {
            listen_error(&self.client, &self.name, listener).await
        }
    }

    impl Channel for RedisChannel<Pool> {
        async fn publish(&self, message: String) -> Result<(), ChannelError> {
            self.send(message).await
        }

        async fn listen(&self, listener: &Listener) -> ChannelError {
            listen_error(self.client.next(), &self.name, listener).await
        }
    }
}

#[cfg(feature = "redis-rs-store")]
mod through_redis_rs {
    use std::{future::poll_fn, pin::pin};

    use ::redis::{Client, RedisError};
    use futures_core::Stream;

    use super::RedisChannel;
    use crate::store::notify::{Channel, ChannelError, Listener};

    impl Channel for RedisChannel<Client> {
        async fn publish(&self, message: String) -> Result<(), ChannelError> {
            self.send(message).await
        }

        async fn listen(&self, listener: &Listener) -> ChannelError {
            let listened = async {
                let mut subscriber = self.client.get_async_pubsub().await?;
                subscriber.subscribe(&*self.name).await?;
                listener.on_subscribed();
                let mut messages = pin!(subscriber.into_on_message());
                while let Some(message) = poll_fn(|cx| messages.as_mut().poll_next(cx)).await {
                    listener.on_message(&String::from_utf8_lossy(message.get_payload_bytes()));
                }
                Ok::<_, RedisError>(())
            };
            match listened.await {
                Err(error) => error.into(),
                Ok(()) => "the connection was closed".into(),
            }
        }
    }
}
