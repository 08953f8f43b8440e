//! Sessions in a file, through SQLite in the process: [`SqliteStore`].
//!
//! The feature is `sqlite-store`. SQLite is compiled from source, which needs a C compiler. With
//! this store, a program keeps its sessions over a restart without a database server.
//!
//! # Files
//!
//! | file | content |
//! | --- | --- |
//! | `sessions.db` | The database, under the path of the builder. If the store creates the file, only its owner may read it. |
//! | `sessions.db-wal`, `-shm` | The write-ahead log and its index. Back up the log together with the database, or use SQLite's `.backup`. |
//! | `sessions.db-reserve` | A megabyte of zeros, to be freed on a full disk. |
//!
//! | table | rows |
//! | --- | --- |
//! | `ruts_sessions` | One for each session: id, SHA-256 of the secret and of the secret that it replaced, times and deadlines. |
//! | `ruts_fields` | One for each field. |
//! | `ruts_state` | One: the version of the tables, and which sessions `revoke_everyone` has ended. |
//!
//! The tables can share a file with other tables. A network file system is not supported.
//!
//! Let another process copy the files. If this process opens one of them and closes it again, it
//! loses the SQLite locks. Another process may then remove the log, and operations fail until a
//! restart.
//!
//! # Threads
//!
//! One thread writes. Operations that wait together share a transaction, and are answered after its
//! commit. Writes do not block reads, and no caller's thread waits for a lock or a commit.
//!
//! A read of one session usually runs on the thread of its caller. It takes about 10 µs while the
//! pages are in memory. A read may take more than 1 ms, because the disk is slow or the session is
//! large. After such a read, the store's own threads run all reads, for 100 times the duration of
//! that read, but for at most ten seconds. Reads of many sessions always run on these threads.
//!
//! # Several processes
//!
//! Any number of processes on one host can use a file. They write in turn. A process notices within
//! about 0.1 s that another process has ended a watched session. Times are measured by the host's
//! clock. If that clock goes back, the time of a process runs at half speed until the host's clock
//! has caught up.
//!
//! # Durability
//!
//! With [`Durability::Full`], an operation is answered when its commit is on the disk, so a
//! deletion survives a power cut. With [`Durability::Normal`], a power cut may undo operations that
//! were answered since the last checkpoint. With either setting, nothing is lost if the process is
//! killed.
//!
//! # Failures
//!
//! A failed transaction changes nothing, unless the kind of its error is
//! [`OutcomeUnknown`](crate::store::StoreErrorKind::OutcomeUnknown). An operation on many sessions
//! takes several transactions, so it may fail after it has ended some sessions.
//!
//! | failure | [kind of error](crate::store::StoreErrorKind) |
//! | --- | --- |
//! | Another process keeps the file locked for longer than [`SqliteStoreBuilder::lock_timeout`]. The file, its log or the index of the log was removed or replaced, the file was made read-only, or the store is closed. | [`Unavailable`](crate::store::StoreErrorKind::Unavailable) |
//! | The disk is full. Reads still work. | [`Full`](crate::store::StoreErrorKind::Full) |
//! | A page of the file is damaged. Other sessions still work. | [`Corrupt`](crate::store::StoreErrorKind::Corrupt) |
//! | The disk reported an error during the commit. | [`OutcomeUnknown`](crate::store::StoreErrorKind::OutcomeUnknown) |
//!
//! On a full disk, the first deletion, revocation or rotation frees the reserve, which makes room
//! for this operation and for many others. A cleanup fills the reserve again. The file does not
//! shrink: the space of deleted sessions is reused.
//!
//! # Cleanup
//!
//! An expired session is immediately invisible. Each process deletes expired sessions at
//! [intervals](SqliteStoreBuilder::cleanup_interval), in small transactions. A transaction of the
//! cleanup waits until no operation is queued, for at most ten seconds.

mod clock;
mod connection;
mod error;
mod file;
mod inline;
mod operations;
mod queue;
mod readers;
mod rows;
mod statements;
mod store;
mod tables;
mod task;
mod threads;
mod writer;

pub use self::{
    connection::Durability,
    store::{SqliteStore, SqliteStoreBuilder},
};
