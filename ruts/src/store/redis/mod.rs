//! Sessions in Redis or Valkey.
//!
//! A [`RedisStore`] works with a client of fred (feature `redis-store`: `Client`, `Pool`) or of
//! redis-rs (feature `redis-rs-store`: `ConnectionManager`, and [`RedisCluster`]). It needs a server that expires fields: Redis 7.4 or later, Valkey 9 or later.
//! Another one is refused at the first operation, or by [`RedisStore::check`].
//!
//! # Which client
//!
//! Both keep the contract and reconnect by themselves; a client of fred does so here even without a
//! reconnect policy. On a cluster they differ: with one dead shard, fred fails every command until it
//! has reconnected to all of them, and refuses a session whose slot is moving until it has moved.
//! redis-rs goes on with the other shards and follows the session. TLS, Sentinel and the like are
//! features of the client's own crate.
//!
//! # Layout
//!
//! A session is one hash, `ruts:{<handle>}` with the braces around the first two characters of the handle,
//! readable with `redis-cli HGETALL`:
//!
//! | field | holds |
//! | --- | --- |
//! | `~` | twelve numbers, milliseconds since 1970 by the server's clock, 0 is none: created, secret issued, last used, idle deadline, absolute deadline, ended, latest absolute deadline, grace of the former secret, its end, signed in; then the assurance and the epoch |
//! | `~s` | SHA-256 of the secret, and of the one it replaced |
//! | `~p` | key of who is signed in |
//! | any other | cache policy, a colon, the encoded value; the policy is empty, `!` never, `?` checked, or a number of milliseconds |
//!
//! `ruts:{<principal>}:principal` is a hash that lists the sessions of somebody. `ruts:{<two characters>}` is
//! the epoch of the sessions of that hash tag: counting up all 4096 of them ends all sessions. These keys
//! must not be evicted or removed while sessions are there. On a cluster, an epoch that was ever counted up has
//! to be moved before the sessions of its slot: until it is there, those that live seem over, and those that
//! were ended with all others are not. `MIGRATE` it first.
//!
//! The braces are a hash tag, so a prefix never decides about the shard. The key expires with the
//! session, fields expire by themselves: there is nothing to sweep. A deleted session leaves `~` and
//! `~s` for [`LATE`](crate::store::LATE). Values over 64 bytes make the server use a larger
//! representation; `hash-max-listpack-value 512` avoids that on Redis.
//!
//! # Round trips
//!
//! Every operation on one session is one script, called by its hash: one command, one round trip. Only
//! signing in is three, each with the whole timeout: the list of the principal's sessions, which may be on
//! another node, is asked before and after. A server that does
//! not know the script yet is asked whether it can expire fields and lets this user run what the
//! script needs, and then gets its text.
//!
//! # Failures
//!
//! No operation takes longer than [`RedisStore::with_timeout`] says, whatever the client's own
//! settings are, and none is sent twice, unless the node of a cluster refused it because the key had
//! moved. If the answer does not come, whether the operation took place is not known:
//! [`StoreErrorKind::Unknown`](crate::store::StoreErrorKind::Unknown). A command that was not sent, or
//! that the server refused, is
//! [`StoreErrorKind::Unavailable`](crate::store::StoreErrorKind::Unavailable); redis-rs does not tell
//! that from the former for a while after a connection broke. A server that is out of memory is
//! [`StoreErrorKind::Full`](crate::store::StoreErrorKind::Full): reading, taking, removing and
//! deleting go on there.
//!
//! A server that loses acknowledged writes loses sessions and brings ended ones back: persistence and
//! failover are yours to set up (`appendonly yes`, `min-replicas-to-write`). A server that takes no
//! writes, such as a replica, answers no reads either.

mod arguments;
#[cfg(feature = "layered-store")]
mod cache;
mod channel;
mod client;
#[cfg(feature = "redis-store")]
mod fred;
mod layout;
mod principals;
#[cfg(feature = "redis-rs-store")]
mod redis_rs;
mod reply;
mod script;
mod store;

#[cfg(feature = "redis-rs-store")]
pub use self::redis_rs::RedisCluster;
pub use self::{channel::RedisChannel, client::RedisClient, store::RedisStore};
