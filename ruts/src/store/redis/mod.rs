//! Sessions in Redis or Valkey: [`RedisStore`].
//!
//! A `RedisStore` is a [`Store`](super::Store), and can also be the cache of a `LayeredStore`. It
//! connects with the settings of a fred client (feature `redis-store`: `Client`, `Pool`) or a
//! redis-rs client (feature `redis-rs-store`: `Client`, [`RedisCluster`] and [`RedisSentinel`]).
//! The server has to support field expiry: Redis 7.4 or later, Valkey 9 or later. Any other server
//! is refused at the first operation, or by [`RedisStore::check`].
//!
//! # Connections
//!
//! The store opens connections of its own, at their first use: as many as a fred `Pool` has, or one
//! for any other client. It replaces a connection in these cases:
//!
//! | observation | reaction |
//! | --- | --- |
//! | the connection has closed, even while idle | the next operation connects first |
//! | the server is a replica now, cannot serve, or requires a password (`READONLY`, `MASTERDOWN`, `LOADING`, `CLUSTERDOWN`, `NOAUTH`) | the store connects again, and sends the command again |
//! | no command got an answer for a quarter of the timeout, and at most 500 ms | the store connects again, and sends reads again after half of their timeout. The connection stays in use until a new one is open. |
//! | a connection was idle for ten seconds, or another connection stopped answering | the store tests it with `PING` before its next use, for at most a quarter of the timeout and at most 500 ms |
//! | three commands got no answer before their timeout, or before their callers gave up after at least 100 ms. An answer clears only the failures of commands with the same hash tag. | the store connects again |
//!
//! For each new connection, the store resolves the name of the server, or asks Sentinel. If an
//! attempt to connect has no outcome after 500 ms, another attempt begins beside it. So after a
//! failover it connects to the new leader, if the name resolves to it. A fred reconnect policy has
//! no effect here.
//!
//! # Which client
//!
//! The store keeps its contract with both clients. The clients differ on a cluster:
//!
//! | | fred | redis-rs |
//! | --- | --- | --- |
//! | with one dead shard | fails every command until it has reconnected to all shards | still uses the other shards |
//! | a session in a slot that is moving | is refused until the slot has moved | is found on either node |
//!
//! redis-rs speaks RESP3 here, because it notices a closed connection only with RESP3. TLS is a
//! feature of the client's own crate. fred asks Sentinel if the URL names it:
//! `redis-sentinel://host:26379?sentinelServiceName=name`.
//!
//! # Layout
//!
//! A session is one hash, `ruts:{<two characters>}<rest>`: its key has braces around the first two
//! characters of the id. Numbers are big-endian. Moments are milliseconds since 1970 by the
//! server's clock. A missing moment is 0. In this table, the number of bytes of each part is in
//! parentheses:
//!
//! | field | holds |
//! | --- | --- |
//! | `~` | 64 bytes: flags (1), created (6), secret issued (5) and last used (5), both in milliseconds since `created`, idle deadline (6), absolute deadline (6), epoch (3), hash of the secret (32) |
//! | `~x` | 63 bytes, present after a sign-in, a replacement of the secret or the end of the session: ended (6), latest absolute deadline (6), grace period of the former secret (6), its end (6), signed in (6), assurance (1), principal key (32) |
//! | `~r` | hash of the former secret (32) |
//! | any other | a digit and the encoded value. The digit is the cache policy: 0 for `Default`, 1 for [`NoStore`](super::CachePolicy::NoStore), 2 for `Revalidate`, 3 for `MaxAge`. It is 4 more if the field has a TTL. Between digit and value come the moment at which the TTL ends, if any, and the milliseconds of `MaxAge`, six bytes each. |
//!
//! `ruts:{<principal>}:principal` is a sorted set that lists the sessions of a principal.
//! `ruts:{<two characters>}` is the epoch of the sessions of that hash tag. Incrementing all 4096
//! epochs ends all sessions. The keys of lists and epochs must not be evicted or removed while
//! sessions exist.
//!
//! When a slot of a cluster moves, `MIGRATE` its epochs before its sessions. Until an epoch has
//! arrived, it counts as 0. So live sessions may seem ended, and sessions that a new epoch has
//! ended may seem live.
//!
//! The braces are a hash tag, so the prefix never chooses the shard. The server expires the key of
//! a session, and fields with a TTL, so [`delete_expired`](super::Store::delete_expired) has
//! nothing to do. A deleted session keeps its fields `~`, `~x` and `~r` for
//! [`DELETED_RETENTION`](super::DELETED_RETENTION). A revoked session keeps them until its
//! deadline, but for no longer than [`REVOKED_RETENTION`](super::REVOKED_RETENTION).
//!
//! If a value is longer than 64 bytes, the server stores the whole hash in a form that takes more
//! memory. On Redis, `hash-max-listpack-value 512` prevents this for values of up to 512 bytes.
//!
//! # Round trips
//!
//! A single read with the secret of a session is *native*: three commands in one round trip,
//! without a script. They are `HMGET` or `HGETALL`, `GETEX` of the epoch, and `TIME`. `GETEX`
//! changes nothing, but a replica refuses it. If the server does not know one of the three
//! commands, or does not let the user run it, every read is a script.
//!
//! Every other operation on one session is one script, called by its hash in one round trip. On a
//! cluster, the principal list and the session may be on different nodes. So a sign-in takes three
//! round trips, each with the whole timeout: to the list, to the session, and to the list again. It
//! takes more if other sessions have to end because of [a
//! limit](crate::SessionLayer::max_sessions).
//!
//! If the server does not know a script yet, the store first sends a probe. The probe checks that
//! the server can expire fields, and that this user may run the commands of the script. Then the
//! store sends the text of the script.
//!
//! Reads of named fields, and updates that set a field, are batched. If
//! [`max_in_flight`](RedisStoreBuilder::max_in_flight) commands of the same kind are in flight,
//! further operations wait for an answer. Then up to 64 operations share one script and one round
//! trip, each with its own answer. At most four of them belong to one session, so that a busy
//! session does not delay other sessions. Lookups in a cache are batched in the same way. A batched
//! read takes a second round trip, for a script of its own, in these cases:
//!
//! - if a touch is due,
//! - if its secret is a former secret, or is used for the first time after a renewal,
//! - if there is no such session, or it has ended,
//! - if its batch has already read 256 KiB.
//!
//! On a cluster, each operation is sent in a command of its own. A proxy that spreads keys over its
//! own servers has to refuse a script of several sessions with `CROSSSLOT`, as a cluster does.
//!
//! # Failures
//!
//! An operation on one session takes at most its [timeout](RedisStoreBuilder::timeout), regardless
//! of the settings of the client. A sign-in that takes several round trips, a listing or a
//! revocation may take longer: this timeout applies to each of their round trips. Within a process,
//! the sign-ins of a principal with [a limit](crate::SessionLayer::max_sessions) run one at a time.
//! The timeout also applies to the wait for this turn. Within this time, a command is sent again in
//! three cases:
//!
//! - The command was certainly not carried out, because there was no connection, or the server
//!   could not serve. Such a command is sent again at most four times, within 300 ms.
//! - The node of a cluster refused the command because the key had moved.
//! - The command is a read of unknown outcome, or a read that got no answer in half of its time. It
//!   is sent again at most twice.
//!
//! After an operation has waited in the queue for half of its timeout, it is no longer sent.
//!
//! | failure | error |
//! | --- | --- |
//! | no answer to a command that was sent: the operation may have taken place | [`OutcomeUnknown`](super::StoreErrorKind::OutcomeUnknown) |
//! | a command that was not sent, or that the server refused | [`Unavailable`](super::StoreErrorKind::Unavailable) |
//! | a server that is out of memory | [`Full`](super::StoreErrorKind::Full) |
//!
//! If a server is out of memory, it still reads, takes and removes fields, and deletes sessions.
//!
//! If a server loses acknowledged writes, sessions are lost and ended sessions may be live again.
//! Set up persistence and failover (`appendonly yes`, `min-replicas-to-write`). The store does not
//! read from replicas. If a leader temporarily refuses writes (`MISCONF`, `NOREPLICAS`), it still
//! answers reads. Such a read takes three round trips and does not touch the session.

mod batch;
#[cfg(feature = "layered-store")]
mod cache;
mod channel;
mod driver;
mod error;
mod eval;
mod executor;
mod native;
mod parallel;
mod principal;
mod scripts;
mod store;
mod wire;

#[cfg(feature = "redis-rs-store")]
pub use self::driver::redis_rs::{RedisCluster, RedisSentinel};
pub use self::{
    channel::RedisChannel,
    driver::client::RedisClient,
    store::{RedisStore, RedisStoreBuilder},
};
