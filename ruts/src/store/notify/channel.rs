//! The contract of a publish-subscribe channel: the [`Channel`] trait.
//!
//! Implemented next to the stores for Redis and PostgreSQL, and by other crates. Called by
//! [`NotifyingStore`](super::NotifyingStore). To a channel, messages are short strings.

use std::{
    error::Error,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use crate::store::watchers::Watchers;

/// The failure of a channel.
pub type ChannelError = Box<dyn Error + Send + Sync>;

/// A channel on which processes publish short strings to each other.
///
/// # Contract
///
/// A published message goes to every listener of every process, including the publisher's own. A
/// channel may lose messages, because watchers also check their sessions every five seconds.
///
/// `RedisChannel` and `PostgresChannel` are complete implementations.
pub trait Channel: Send + Sync + 'static {
    /// Publishes a message to all listeners.
    fn publish(&self, message: String) -> impl Future<Output = Result<(), ChannelError>> + Send;

    /// Passes messages to the listener until the connection fails, and returns the failure. The
    /// store calls this method again after a pause.
    ///
    /// Calls [`on_subscribed`](Listener::on_subscribed) as soon as the subscription is active. If
    /// the channel itself restores an interrupted subscription, calls `on_subscribed` again.
    fn listen(&self, listener: &Listener) -> impl Future<Output = ChannelError> + Send;
}

/// Message that concerns no session. It shows that the subscription of a process still receives
/// messages.
pub(super) const HEARTBEAT: &str = "heartbeat";

/// The receiving end of a [`Channel`], which wakes the watchers of this process.
#[derive(Debug, Clone)]
pub struct Listener {
    pub(super) watchers: Watchers,
    /// The time of the last message, or of the subscription. `None` without a subscription.
    heard: Arc<Mutex<Option<Instant>>>,
}

impl Listener {
    pub(super) fn new() -> Self {
        Self { watchers: Watchers::default(), heard: Arc::default() }
    }

    /// Passes a message to the watchers of this process.
    pub fn on_message(&self, text: &str) {
        self.set_heard(Some(Instant::now()));
        if text != HEARTBEAT {
            // If a message is not an id, it may concern any session, so every watcher checks its
            // session.
            self.watchers.wake(text.parse().ok());
        }
    }

    /// Makes every watcher check its session, because messages before this moment may be missing.
    pub fn on_subscribed(&self) {
        self.set_heard(Some(Instant::now()));
        self.watchers.wake(None);
    }

    pub(super) fn heard(&self) -> Option<Instant> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_heard(&self, heard: Option<Instant>) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }
}
