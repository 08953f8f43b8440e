//! Changes that processes tell each other, so that [`Session::watch`](crate::Session::watch) notices them at
//! once.
//!
//! A store of several processes knows what happens to its sessions, but tells nobody: who watches one looks
//! every five seconds. [`NotifyingStore`] puts a [`Channel`] beside it: `RedisChannel` (Redis, Valkey, also a
//! cluster) or `PostgresChannel` (`LISTEN` and `NOTIFY`), whichever store it is. An announcement is sent
//! behind a change and by the way: nobody waits for it, and if it is lost, who watches looks anyway.
//!
//! | what happened | notify |
//! | --- | --- |
//! | a session ended, somebody signed in or out | its id |
//! | all sessions of somebody were revoked | each id |
//! | all sessions were ended, or announcements may have been missed | an empty message: everybody looks |

mod channel;
mod store;

pub use self::{
    channel::{Channel, ChannelError, Heard},
    store::NotifyingStore,
};
