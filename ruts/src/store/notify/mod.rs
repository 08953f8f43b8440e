//! Notifications between processes, so that [`Session::watch`](crate::Session::watch) notices a
//! change immediately.
//!
//! A store alone does not notify other processes of a change. Without notifications, a watcher only
//! checks its session every five seconds. [`NotifyingStore`] adds notifications to any store,
//! through a [`Channel`]: `RedisChannel` (Redis, Valkey, a cluster) or `PostgresChannel` (`LISTEN`
//! and `NOTIFY`). The channel need not be on the server of the store.
//!
//! A notification is sent in the background after the change. If the notification is lost, the next
//! check of the watcher finds the change.
//!
//! | event | message |
//! | --- | --- |
//! | a session was deleted, or its principal signed in or out | the id of the session |
//! | sessions of a principal were revoked | one message for each, with its id |
//! | all sessions ended, or a revocation failed | empty: every watcher checks |
//! | a listening process has received no message for ten seconds | `heartbeat`, which concerns no session |
//!
//! If a deadline or a session limit ends a session, no message is sent. If the heartbeat of a
//! process does not come back within five seconds, the process listens again.

mod channel;
mod store;

pub use self::{
    channel::{Channel, ChannelError, Listener},
    store::NotifyingStore,
};
