//! The contract of a publish-subscribe channel: the [`Channel`] trait.
//!
//! Implemented for Redis and PostgreSQL beside their stores, and by others. Called by
//! [`NotifyingStore`](super::NotifyingStore). It knows messages as short texts.

use std::{error::Error, future::Future};

use tokio::sync::broadcast;

use crate::token::SessionId;

/// The failure of a channel.
pub type ChannelError = Box<dyn Error + Send + Sync>;

/// A channel on which processes publish short texts to each other.
///
/// # Contract
///
/// Every listener of every process gets a published message, the publisher's own included. A
/// message may be lost: watchers check their sessions from time to time anyway.
///
/// The repository's `RedisChannel` and `PostgresChannel` are complete implementations.
pub trait Channel: Send + Sync + 'static {
    /// Publishes a message to all listeners.
    fn publish(&self, message: String) -> impl Future<Output = Result<(), ChannelError>> + Send;

    /// Passes messages to the listener until that fails, and returns the failure. It is called
    /// again after a pause.
    ///
    /// Calls [`on_subscribed`](Listener::on_subscribed) once messages arrive, and after each
    /// interruption that it recovers from itself.
    fn listen(&self, listener: &Listener) -> impl Future<Output = ChannelError> + Send;
}

/// The receiving end of a [`Channel`], which wakes the watchers of this process.
#[derive(Debug, Clone)]
pub struct Listener(broadcast::Sender<Option<SessionId>>);

impl Listener {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(256))
    }

    /// Passes on a message.
    pub fn on_message(&self, text: &str) {
        // A message that is not an id may be about any session: every watcher checks its own.
        let _ = self.0.send(text.parse().ok());
    }

    /// Notes that messages arrive from now on, and that earlier ones may have been missed.
    pub fn on_subscribed(&self) {
        let _ = self.0.send(None);
    }

    /// Returns the sessions that change from now on. `None` stands for any session.
    pub(super) fn changes(&self) -> broadcast::Receiver<Option<SessionId>> {
        self.0.subscribe()
    }
}
