//! The file store keeps the ruts store contract, even across a restart and a crash.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::{fs, sync::Arc, time::Duration};

use custom_store::FileStore;
use ruts::{
    conformance::Subject,
    store::{Create, Credentials, FieldWrite, Projection, Store, StoreErrorKind},
    token::{SecretHash, SessionId},
};
use tempfile::TempDir;

struct InFiles {
    _folder: TempDir,
    store: Arc<FileStore>,
}

impl Subject for InFiles {
    type Store = FileStore;

    async fn set_up() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(FileStore::open(folder.path()).unwrap());
        Self { _folder: folder, store }
    }

    fn store(&self) -> Arc<FileStore> {
        Arc::clone(&self.store)
    }

    /// Long enough for a write to a disk under load.
    fn unit(&self) -> Duration {
        Duration::from_millis(600)
    }

    fn rounds(&self) -> usize {
        5
    }
}

ruts::conformance_tests!(InFiles);
ruts::record_store_tests!(InFiles);

const ID: SessionId = SessionId::from_bytes([1; 16]);
const SECRET: SecretHash = SecretHash::from_bytes([2; 32]);
const CREDENTIALS: Credentials<'_> = Credentials::new(&ID, &SECRET);

async fn create(store: &FileStore) {
    let value = "1".into();
    let fields = [FieldWrite::new("a", &value)];
    store.create(Create::new(&ID, &SECRET).fields(&fields)).await.unwrap();
}

#[tokio::test]
async fn sessions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    create(&store).await;
    assert!(FileStore::open(folder.path()).is_err(), "a second process should not open the folder");
    drop(store);
    let store = FileStore::open(folder.path()).unwrap();
    let Ok(loaded) = store.load(CREDENTIALS, Projection::All, None).await.unwrap() else {
        panic!("the session should survive the restart");
    };
    assert_eq!(&loaded.fields[0].value[..], b"1");
}

#[tokio::test]
async fn an_unfinished_write_leaves_the_old_session() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    create(&store).await;
    fs::write(folder.path().join("sessions").join(format!("{ID}.new")), "half a sess").unwrap();
    assert!(matches!(store.load(CREDENTIALS, Projection::All, None).await, Ok(Ok(_))));
}

#[tokio::test]
async fn a_damaged_file_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    create(&store).await;
    fs::write(folder.path().join("sessions").join(format!("{ID}.session")), "secret=hunter2")
        .unwrap();
    let error = store.load(CREDENTIALS, Projection::All, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(!format!("{error:?}").contains("hunter2"));
}
