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
//! A session is one hash, `ruts:{<id>}` with the braces around the first two characters of the id.
//! Numbers are packed, the first byte being the highest; moments are milliseconds since 1970 by the server's
//! clock, 0 is none:
//!
//! | field | holds |
//! | --- | --- |
//! | `~` | 64 bytes: flags (1), created (6), secret issued (5) and last used (5), both since then, idle deadline (6), absolute deadline (6), epoch (3), SHA-256 of the secret (32) |
//! | `~x` | 63 bytes, once somebody signed in or the secret was replaced: ended (6), latest absolute deadline (6), grace of the former secret (6), its end (6), signed in (6), assurance (1), key of who it is (32) |
//! | `~r` | SHA-256 of the secret that was replaced |
//! | any other | a digit, the encoded value; the digit is 0, 1 for a cache policy of never, 2 for checked, 3 if six bytes of milliseconds follow; and 4 more if the field has an end, which comes first, in six bytes |
//!
//! `ruts:{<principal>}:principal` is a hash that lists the sessions of somebody. `ruts:{<two characters>}` is
//! the epoch of the sessions of that hash tag: counting up all 4096 of them ends all sessions. These keys
//! must not be evicted or removed while sessions are there. On a cluster, an epoch that was ever counted up has
//! to be moved before the sessions of its slot: until it is there, those that live seem over, and those that
//! were ended with all others are not. `MIGRATE` it first.
//!
//! The braces are a hash tag, so a prefix never decides about the shard. The key expires with the
//! session, fields expire by themselves: there is nothing to delete_expired. A deleted session leaves its
//! own fields for [`ENDED_RETENTION`](crate::store::ENDED_RETENTION). Values over 64 bytes make the server use a larger
//! representation; `hash-max-listpack-value 512` avoids that on Redis.
//!
//! # Round trips
//!
//! Every operation on one session is one script, called by its hash: one command, one round trip. On a
//! cluster, signing in is three, each with the whole timeout: the list of the principal's sessions, which may
//! be on another node, is asked before and after. Where a sign-in has to make room among
//! [so many sessions](crate::SessionLayer::max_sessions), it takes more. A server that does
//! not know the script yet is asked whether it can expire fields and lets this user run what the
//! script needs, and then gets its text.
//!
//! Reads and writes that come while [several](RedisStore::with_in_flight) are under way wait for one of these
//! to be answered, and then go together: up to 64 sessions in one script and one round trip, each with an
//! answer of its own. A read that turns out to be more than that is done alone after it, in a round trip of its
//! own: one that counts as activity, or with a secret that was replaced, or of a session that is over, or that
//! comes after 256 KiB were read. Looks at a cache go together likewise. On a cluster, where they would be on
//! different nodes, each goes alone. A proxy that spreads keys over servers of its own would have to refuse
//! such a script with `CROSSSLOT`, as a cluster does.
//!
//! # Failures
//!
//! No operation takes longer than [`RedisStore::with_timeout`] says, whatever the client's own
//! settings are, and none is sent twice, unless the node of a cluster refused it because the key had
//! moved. One that has waited for half of that time for others to be answered is not sent any more. If the answer does not come, whether the operation took place is not known:
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
mod batch;
#[cfg(feature = "layered-store")]
mod cache;
mod channel;
mod client;
#[cfg(feature = "redis-store")]
mod fred;
mod layout;
#[cfg(feature = "layered-store")]
mod looking;
mod packed;
mod principals;
mod reading;
mod record;
#[cfg(feature = "redis-rs-store")]
mod redis_rs;
mod reply;
mod script;
mod sign_in;
mod store;
mod way;
mod writing;

#[cfg(feature = "redis-rs-store")]
pub use self::redis_rs::RedisCluster;
pub use self::{channel::RedisChannel, client::RedisClient, store::RedisStore};
