//! Sessions in PostgreSQL, version 15 or later.
//!
//! A [`PostgresStore`] is made by a [`PostgresStoreBuilder`] from a pool of sqlx (feature
//! `postgres-store`; TLS is a feature of sqlx itself).
//!
//! # Layout
//!
//! With the default names, the table `sessions` holds a row for each session: id, SHA-256 of the
//! secret and of the one it replaced, times and deadlines. `sessions_fields` holds a row for each
//! field. The session's row is the lock under which a session changes, and fields go with it. A
//! deleted session's row stays for [`ENDED_RETENTION`](crate::store::ENDED_RETENTION), without fields. `sessions_epoch` has one
//! row: sessions of an earlier epoch are over. Whoever signs in as somebody, or ends somebody's sessions,
//! holds an advisory lock meanwhile, which others who do so wait for.
//!
//! # Round trips
//!
//! Every operation is one statement, a transaction by itself: a `select` to read, a function of the
//! database to write, because only the statements of a function see what was committed while it waited
//! for the lock. An idle connection is taken from the pool without testing it, and without its
//! `before_acquire`. The pool tests it when it comes back, which nobody waits for.
//!
//! Reads that come while half as many as the pool has connections are under way wait for one of these to be
//! answered, and then go together, up to 64 sessions of which the same fields are asked for in one statement;
//! so do writes that set the same fields, perhaps if one of them holds what is expected, and do nothing else,
//! each of another session that is locked by nobody. What cannot be done together is done alone after that, in a round trip of its own: a read that counts
//! as activity, a write whose session is locked, and whatever the server refused of any of them.
//!
//! # Behind a pooler
//!
//! Statements are prepared, so a pooler in transaction mode has to know prepared statements: PgBouncer
//! from 1.21 does, with `max_prepared_statements` above zero. What sqlx sends at the start asks for
//! `ignore_startup_parameters = extra_float_digits`.
//!
//! # Failures
//!
//! No operation takes longer than [`PostgresStoreBuilder::timeout`], and none is sent twice, except a
//! read whose connection turned out to be dead. One that has waited for half of that time for others to be
//! answered is not sent any more. A statement that the server refused changed nothing:
//! [`StoreErrorKind::Unavailable`](crate::store::StoreErrorKind::Unavailable), or
//! [`Full`](crate::store::StoreErrorKind::Full) if its disk is. If the connection broke or no answer
//! came in time, it is [`Unknown`](crate::store::StoreErrorKind::Unknown) whether a write took place.
//!
//! A statement that nobody waits for any more, because its time is over or the request was dropped,
//! goes on for five times the timeout and keeps its place in the pool: a server that is stuck is not
//! sent ever more of them.
//!
//! What a deletion returned for is gone after a crash too, as long as `synchronous_commit` and `fsync`
//! are on; otherwise the builder warns. A standby answers no operation.
//!
//! # Removing what expired
//!
//! Expired sessions are invisible at once. Every instance removes them now and then, in the hour after
//! they expired, in small batches that skip what another instance is removing; see
//! [`PostgresStoreBuilder::cleanup_interval`].

mod builder;
mod channel;
mod cleanup;
mod failure;
mod names;
mod reading;
mod row;
mod schema;
mod store;
mod writing;

pub use self::{
    builder::PostgresStoreBuilder, channel::PostgresChannel, names::InvalidName,
    store::PostgresStore,
};
