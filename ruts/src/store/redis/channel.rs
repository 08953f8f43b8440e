use std::sync::Arc;

/// A channel of Redis or Valkey, for an [`NotifyingStore`](crate::store::notify::NotifyingStore): through
/// a `Client` or `Pool` of fred, or a `redis::Client`.
///
/// A process that listens has one more connection for it, made with the client's own settings. In a cluster,
/// any node serves: it tells the others.
///
/// ```no_run
/// # #[cfg(feature = "redis-store")]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use fred::{clients::Client, interfaces::ClientLike, types::config::Config};
/// use ruts::{SessionLayer, store::{notify::NotifyingStore, redis::{RedisChannel, RedisStore}}};
///
/// let client = Client::new(Config::from_url("redis://localhost:6379")?, None, None, None);
/// client.init().await?;
/// let store = RedisStore::new(Arc::new(client.clone()));
/// let store = NotifyingStore::new(store, RedisChannel::new(client, "ruts:changes"));
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisChannel<C> {
    pub(super) client: C,
    pub(super) name: Arc<str>,
}

impl<C> RedisChannel<C> {
    /// The channel of that name.
    pub fn new(client: C, name: &str) -> Self {
        Self { client, name: name.into() }
    }
}

impl<C> std::fmt::Debug for RedisChannel<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisChannel").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(feature = "redis-store")]
mod through_fred {
    use std::time::Duration;

    use ::fred::{
        clients::{Client, Pool},
        error::Error,
        interfaces::{ClientLike, EventInterface, PubsubInterface},
        types::config::Options,
    };

    use super::RedisChannel;
    use crate::store::notify::{Channel, ChannelError, Listener};

    async fn publish(client: &Client, name: &str, message: String) -> Result<(), ChannelError> {
        // By itself fred would wait for a connection, and send again.
        let client = client.with_options(&Options {
            fail_fast: true,
            max_attempts: Some(1),
            timeout: Some(Duration::from_secs(2)),
            ..Options::default()
        });
        client.publish::<(), _, _>(name, message).await?;
        Ok(())
    }

    /// Listens on a connection of its own until it breaks.
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
                    // Messages were lost, because too many came at once.
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
            publish(&self.client, &self.name, message).await
        }

        async fn listen(&self, listener: &Listener) -> ChannelError {
            listen_error(&self.client, &self.name, listener).await
        }
    }

    impl Channel for RedisChannel<Pool> {
        async fn publish(&self, message: String) -> Result<(), ChannelError> {
            publish(self.client.next_connected(), &self.name, message).await
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
            let mut connection = self.client.get_multiplexed_async_connection().await?;
            ::redis::cmd("PUBLISH")
                .arg(&*self.name)
                .arg(message)
                .query_async::<()>(&mut connection)
                .await?;
            Ok(())
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
