//! Sessions in PostgreSQL 15 or later: [`PostgresStore`].
//!
//! [`PostgresStore::builder`] takes an sqlx pool. The feature is `postgres-store`. TLS is a feature
//! of sqlx itself.
//!
//! # Layout
//!
//! | table, by default | rows |
//! | --- | --- |
//! | `sessions` | One for each session: id, SHA-256 of the secret and of the secret that it replaced, times and deadlines. |
//! | `sessions_fields` | One for each field. |
//! | `sessions_epoch` | One. A session of an earlier epoch has ended. |
//! | `sessions_migrations` | One for each version of the tables. |
//!
//! Every change of a session locks its row. The fields are deleted with the row. The row of a
//! deleted session stays for [`DELETED_RETENTION`](crate::store::DELETED_RETENTION). The row of a
//! revoked session stays until its deadline, but for no longer than
//! [`REVOKED_RETENTION`](crate::store::REVOKED_RETENTION). Deletion and revocation also delete the
//! fields. `revoke_everyone` does not change the rows of sessions. A row and its fields then stay
//! until the deadline of the session. Without a deadline, they stay until the [cleanup](#cleanup)
//! revokes the session.
//!
//! A sign-in and a revocation hold an advisory lock on the principal, so sign-ins and revocations
//! of one principal wait for each other.
//!
//! # Round trips
//!
//! An operation is one statement, in a transaction of its own. An operation that ends many sessions
//! takes one statement for every 100 sessions. A read is a `select`. A write to a session calls a
//! function of the database. A later statement of the function sees the changes that were committed
//! while the function waited for a lock. A plain statement would not see them.
//!
//! If a connection was idle for less than [`PostgresStoreBuilder::test_idle_after`], it is taken
//! from the pool without a test. If it was idle for longer, it is tested in a separate round trip.
//! The pool's `before_acquire` does not run for an idle connection. The pool also tests each
//! connection that is returned. No caller waits for this test.
//!
//! Concurrent reads are batched, and so are concurrent writes that only set fields. Batched reads
//! are in flight on up to half of the pool's connections, and so are batched writes. Later
//! operations queue. When an earlier statement is answered, up to 64 queued operations are sent as
//! one statement:
//!
//! - reads of the same fields,
//! - writes that set the same fields of different sessions. They may also have preconditions on the
//!   same field, and the same touch.
//!
//! These operations are not carried out by their batch. Each is sent again, in a round trip of its
//! own:
//!
//! - a read whose touch is due,
//! - a write whose session is locked or does not exist,
//! - each read of a batch that failed,
//! - each write of a batch that failed with an error other than `Unavailable` and `OutcomeUnknown`.
//!
//! Writes to one session take turns in the process, as do sign-ins and revocations of one
//! principal. An operation does not hold a connection while it waits for its turn. Writes, sign-ins
//! and revocations wait for their turn for at most half of the timeout. A statement waits for a
//! lock for at most one second at a time, and returns its connection to the pool between attempts.
//!
//! # Behind a pooler
//!
//! Statements are prepared. A pooler in transaction mode has to support prepared statements:
//! PgBouncer 1.21 or later does, with `max_prepared_statements` above zero. The builder refuses a
//! pooler that mixes up prepared statements. Because of the startup message of sqlx, PgBouncer also
//! needs `ignore_startup_parameters = extra_float_digits`.
//!
//! # Failures
//!
//! No operation takes longer than [`PostgresStoreBuilder::timeout`], but an operation that ends
//! many sessions has this time for each statement. After an operation has queued for half of the
//! timeout, it is not sent any more.
//!
//! An operation may fail because of its connection or of a concurrent statement. It is then sent
//! again within its timeout, if it is a read or if the error proves that nothing was changed. A
//! connection is closed in these cases:
//!
//! - The connection is broken, or has lost its prepared statements.
//! - The server is read-only or a standby.
//! - The connection began with an isolation level other than `read committed`.
//! - The application left a transaction open on the connection, or a role that lacks a privilege.
//!   Because of a missing privilege, at most one connection a second is closed.
//!
//! Operations then move to other connections, and finally to a new one.
//!
//! | failure | [kind of error](crate::store::StoreErrorKind) |
//! | --- | --- |
//! | The server could not be reached, or refused the statement. Nothing was changed. | [`Unavailable`](crate::store::StoreErrorKind::Unavailable) |
//! | The disk or the memory of the server is full. Nothing was changed. | [`Full`](crate::store::StoreErrorKind::Full) |
//! | The connection broke, or no answer came in time. A write may have taken place. | [`OutcomeUnknown`](crate::store::StoreErrorKind::OutcomeUnknown) |
//!
//! If the caller of a statement is dropped, the statement continues. If a statement has no answer
//! at its deadline, its connection is closed and replaced, because the connection may be dead.
//! Within three timeouts, the store replaces at most half as many connections as the pool has. Any
//! other connection waits for its statement, for at most three timeouts. So a stuck server works on
//! at most about one and a half times as many statements as the pool has connections.
//!
//! A deletion survives a crash of the server if `synchronous_commit` and `fsync` are on. Otherwise
//! the builder warns. Operations on a standby fail.
//!
//! # Cleanup
//!
//! An expired session is immediately invisible. Every instance deletes expired sessions at
//! [intervals](PostgresStoreBuilder::cleanup_interval), in small batches that skip the rows that
//! other instances are deleting. A session can be deleted when the next full hour after its expiry
//! has begun.
//!
//! If `revoke_everyone` has ended a session without a deadline, the cleanup revokes it: the row
//! gets a deadline and loses its fields.

mod batch_read;
mod batch_write;
mod bind;
mod channel;
mod check;
mod cleanup;
mod decode;
mod error;
mod executor;
mod identifiers;
mod migrate;
mod statements;
mod store;
mod templates;

pub use self::{
    channel::PostgresChannel,
    store::{PostgresStore, PostgresStoreBuilder},
};
pub use super::sql::InvalidName;
