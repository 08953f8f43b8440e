//! Fixtures of the tests on SQLite: stores on one file, and sessions whose credentials two
//! processes know.

use std::{error::Error, fmt::Debug, sync::Arc};

use ruts::{
    store::{
        StoreError, StoreErrorKind,
        layered::LayeredStore,
        memory::MemoryCache,
        sqlite::{SqliteStore, SqliteStoreBuilder},
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_support::{LONG_TIMEOUT, TestSession};
use tempfile::TempDir;

/// Two stores with the same sessions, and the folder of their file.
pub struct Stores<S> {
    /// The stores.
    pub stores: [Arc<S>; 2],
    _folder: Option<TempDir>,
}

/// Returns the builder of a store whose file is in a folder, without cleanup.
pub fn builder(folder: &TempDir) -> SqliteStoreBuilder {
    SqliteStore::builder(folder.path().join("sessions.db")).cleanup_interval(None)
}

/// Returns two stores on one file, each with connections and threads of its own, as in two
/// processes.
pub async fn sqlite() -> Stores<SqliteStore> {
    let folder = TempDir::new().unwrap();
    let store = async || Arc::new(builder(&folder).build().await.unwrap());
    Stores { stores: [store().await, store().await], _folder: Some(folder) }
}

/// Returns a store in memory. It has one thread for reads and writes.
pub async fn in_memory() -> Stores<SqliteStore> {
    let store = Arc::new(SqliteStore::in_memory().build().await.unwrap());
    Stores { stores: [Arc::clone(&store), store], _folder: None }
}

/// Returns a store with a cache in this process over a file.
pub async fn memory_over_sqlite() -> Stores<LayeredStore<MemoryCache, SqliteStore>> {
    let Stores { stores: [origin, _], _folder } = sqlite().await;
    let builder = LayeredStore::builder(MemoryCache::new(1000), (*origin).clone());
    let store = builder.origin_timeout(LONG_TIMEOUT).build_for_one_process();
    let store = Arc::new(store);
    Stores { stores: [Arc::clone(&store), store], _folder }
}

/// Number of sessions that a process writes to concurrently.
pub const WRITERS: u64 = 8;

/// Returns the session of a writer.
pub fn counter<S>(store: &Arc<S>, writer: u64) -> TestSession<S> {
    session(store, 1, writer)
}

/// Returns one of the sessions that a process creates and deletes.
pub fn ended<S>(store: &Arc<S>, number: u64) -> TestSession<S> {
    session(store, 2, number)
}

fn session<S>(store: &Arc<S>, kind: u8, number: u64) -> TestSession<S> {
    let id = u128::from(kind) << 64 | u128::from(number);
    TestSession {
        store: Arc::clone(store),
        id: SessionId::from_bytes(id.to_be_bytes()),
        secret: SecretHash::from_bytes([kind; 32]),
    }
}

/// Returns the kind of a failure that must occur.
pub fn error_kind<T: Debug>(answer: Result<T, StoreError>) -> StoreErrorKind {
    answer.expect_err("the operation should fail").kind()
}

/// Returns the text of an error and of all its causes.
pub fn error_chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}
