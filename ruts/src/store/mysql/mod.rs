//! Sessions in MariaDB 10.6 or later, or MySQL 8.0 or later: [`MySqlStore`].
//!
//! The feature is `mysql-store`. TLS is a feature of sqlx itself. A MySQL user with the plugin
//! `caching_sha2_password` needs TLS, or the feature `mysql-rsa` of sqlx.
//!
//! # Layout
//!
//! | table, by default | rows |
//! | --- | --- |
//! | `sessions` | One for each session: id, SHA-256 of the secret and of the secret that it replaced, times and deadlines. |
//! | `sessions_fields` | One for each field. |
//! | `sessions_epoch` | One. A session of an earlier epoch has ended. |
//! | `sessions_locks` | 256. A revocation, or a sign-in with a limit, locks the row of its principal. |
//! | `sessions_migrations` | One for each version of the tables. |
//!
//! Every change of a session locks its row. The row of a deleted session stays for
//! [`DELETED_RETENTION`](crate::store::DELETED_RETENTION). The row of a revoked session stays until
//! its deadline, but for no longer than [`REVOKED_RETENTION`](crate::store::REVOKED_RETENTION).
//! Deletion and revocation also delete the fields. `revoke_everyone` does not change the rows of
//! sessions. The cleanup later revokes each session and deletes its fields. Times are microseconds
//! since 1970, by the clock of the server. Names are compared byte by byte.
//!
//! The tables are in the database of the connection. The store does not use stored procedures,
//! triggers, foreign keys or session variables.
//!
//! # Round trips
//!
//! | operation | round trips |
//! | --- | --- |
//! | a read, an inspection, a page of a list | 1 |
//! | a write that sets fields, with or without a precondition that holds | 1 |
//! | a creation, without a sign-in or with a sign-in that has no limit | 1 |
//! | the end of all sessions | 1 |
//! | a read that touches the session | 2 |
//! | a read that touches the session, while another operation changes the session | 4 |
//! | a write that sets fields, in a batch | 2 |
//! | a write that sets fields, and is refused or conflicts | 2 |
//! | a write that sets fields, and touches the session or is the first use of a new secret | 3 |
//! | a revocation of many sessions | 2 for every 500 sessions |
//! | a sign-in that ends many sessions | 2, and 2 more for every 100 ended sessions |
//! | every other operation | 2 |
//!
//! A statement contains values as hexadecimal text, which takes twice their size. If the values of
//! a write take more than about half of the server's `max_allowed_packet`, the write is refused
//! with [`Full`](crate::store::StoreErrorKind::Full). The store opens its own connections, and
//! turns the sqlx statement log off for them.
//!
//! If a connection was idle for less than [`MySqlStoreBuilder::test_idle_after`], it is taken from
//! the pool without a test. If it was idle for longer, it is tested in a separate round trip. The
//! pool also tests each connection that is returned. No caller waits for this test.
//!
//! Reads of single sessions are in flight on up to half of the connections. Later reads queue. When
//! an earlier statement is answered, up to 64 queued reads of the same fields are sent as one
//! statement. If that statement fails, each of its reads is sent again in a statement of its own.
//!
//! Writes that only set fields, without a precondition, queue in the same way. Up to 32 queued
//! writes are sent as one transaction. It skips locked sessions, whose writes are then sent in
//! statements of their own.
//!
//! Writes to one session take turns in the process, as do sign-ins with a limit and revocations of
//! one principal. An operation does not hold a connection while it waits for its turn, and waits
//! for at most half of the timeout. A statement waits for a lock for at most one second at a time,
//! and returns its connection to the pool between attempts.
//!
//! # Failures
//!
//! No operation takes longer than [`MySqlStoreBuilder::timeout`], but an operation that ends many
//! sessions has this time for each transaction.
//!
//! An operation may fail because of its connection or of a concurrent statement. It is then
//! repeated within its timeout, if it is a read or if the answer proves that nothing was changed.
//! The server ends a deadlock by aborting a transaction, so a deadlock usually only delays the
//! caller. A connection is closed if it is broken, or if its server is read-only. Operations then
//! move to other connections, and finally to a new one.
//!
//! | failure | [kind of error](crate::store::StoreErrorKind) |
//! | --- | --- |
//! | The server could not be reached, or refused the statement. Nothing was changed. | [`Unavailable`](crate::store::StoreErrorKind::Unavailable) |
//! | The disk or the memory of the server is full, or a value is too large. Nothing was changed. | [`Full`](crate::store::StoreErrorKind::Full) |
//! | The connection broke, or no answer came in time. A write may have taken place. | [`OutcomeUnknown`](crate::store::StoreErrorKind::OutcomeUnknown) |
//!
//! If a process is suspended between two round trips, it keeps the session locked. MariaDB ends the
//! transaction of this process after five seconds. MySQL ends the transaction only when the
//! connection ends.
//!
//! A deletion survives a crash of the server if `innodb_flush_log_at_trx_commit` is 1. Otherwise
//! the builder warns. Operations on a read-only server fail. In a cluster in which several servers
//! accept writes, all instances have to use the same server.
//!
//! # Cleanup
//!
//! An expired session is immediately invisible. Every instance deletes expired sessions at
//! [intervals](MySqlStoreBuilder::cleanup_interval), in small batches that skip the rows that other
//! instances are deleting.

mod batch_read;
mod batch_write;
mod check;
mod cleanup;
mod error;
mod executor;
mod migrate;
mod opening;
mod operations;
mod plain_write;
mod reading;
mod rows;
mod script;
mod store;
mod tables;
mod transaction;
mod writing;

pub use self::store::{MySqlStore, MySqlStoreBuilder};
pub use super::sql::InvalidName;
