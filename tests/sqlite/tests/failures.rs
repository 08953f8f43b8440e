//! Tests of the SQLite store on files that are removed, damaged, locked, read-only or on a full
//! disk.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        NewSignIn, PageRequest, Projection, Refused, RevokeTarget, Store, StoreErrorKind,
        sqlite::SqliteStore,
    },
};
use ruts_tests_sqlite::{builder, error_chain, error_kind};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, TestSession, random, wait_until};
use tempfile::TempDir;

struct File {
    folder: TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }

    async fn open(&self) -> Arc<SqliteStore> {
        let quick = builder(&self.folder).lock_timeout(Duration::from_millis(100));
        Arc::new(quick.build().await.unwrap())
    }

    /// Opens a connection that does not belong to the store.
    fn stranger(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(LONG_TIMEOUT).unwrap();
        connection
    }

    fn count(&self, table: &str) -> i64 {
        let count = format!("select count(*) from {table}");
        self.stranger().query_row(&count, [], |row| row.get(0)).unwrap()
    }
}

async fn open(path: &Path) -> Result<SqliteStore, ruts::store::StoreError> {
    SqliteStore::builder(path).build().await
}

#[tokio::test]
async fn the_error_of_a_file_that_cannot_be_opened_names_the_file() {
    let file = File::new();
    let path = file.folder.path().join("missing").join("sessions.db");
    let text = error_chain(&open(&path).await.unwrap_err());
    assert!(text.contains("missing/sessions.db` cannot be opened"), "{text}");
    assert!(text.contains("No such file"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_or_replaced_file_is_not_written_to() {
    let file = File::new();
    let store = file.open().await;
    let session = TestSession::begin(&store).await;
    let moved = file.folder.path().join("moved.db");
    fs::rename(file.path(), &moved).unwrap();
    assert_eq!(error_kind(session.set("a", "1").await), StoreErrorKind::Unavailable);
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Unavailable);
    assert!(!file.path().exists(), "no empty database should be created");
    fs::copy(&moved, file.path()).unwrap();
    assert_eq!(error_kind(session.delete().await), StoreErrorKind::Unavailable);
    fs::rename(&moved, file.path()).unwrap();
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
}

/// Without its log, the file lacks the latest writes, and further writes would go to a removed log.
/// Without the index of the log, two processes would write over each other's pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_log_is_not_written_to() {
    for name in ["sessions.db-wal", "sessions.db-shm"] {
        let file = File::new();
        let store = file.open().await;
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        let (log, moved) = (file.folder.path().join(name), file.folder.path().join("moved"));
        fs::rename(&log, &moved).unwrap();
        assert_eq!(error_kind(session.delete().await), StoreErrorKind::Unavailable, "{name}");
        assert_eq!(error_kind(session.load().await), StoreErrorKind::Unavailable, "{name}");
        fs::write(&log, "").unwrap();
        assert_eq!(error_kind(session.delete().await), StoreErrorKind::Unavailable, "{name}");
        fs::rename(&moved, &log).unwrap();
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_deleted_by_hand_leaves_no_field_to_a_new_session() {
    let file = File::new();
    let store = file.open().await;
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    file.stranger().execute("delete from ruts_sessions", []).unwrap();
    let other = TestSession::begin(&store).await;
    assert_eq!(other.load().await.unwrap().unwrap().fields, []);
}

/// It is then not known which sessions `revoke_everyone` has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_row_of_state_a_file_revives_no_session() {
    let file = File::new();
    let store = file.open().await;
    let principal = PrincipalKey::from_bytes(random());
    let who = NewSignIn::new(&principal, Assurance::Aal1);
    let session = TestSession::new(&store);
    store.create(session.creation().sign_in(who)).await.unwrap();
    file.stranger().execute("delete from ruts_state", []).unwrap();
    let all = RevokeTarget::All { except: None };
    assert_eq!(error_kind(store.revoke_everyone().await), StoreErrorKind::Corrupt);
    assert_eq!(error_kind(store.revoke(&principal, all).await), StoreErrorKind::Corrupt);
    let page = PageRequest::new(None, 10);
    let listed = store.list_by_principal(&principal, page, Projection::All).await;
    assert_eq!(error_kind(listed), StoreErrorKind::Corrupt);
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Corrupt);
    assert_eq!(error_kind(session.delete().await), StoreErrorKind::Corrupt);
    store.close().await;
    let store = file.open().await;
    assert_eq!(session.through(&store).load().await.unwrap(), Err(Refused::Revoked));
    assert!(TestSession::begin(&store).await.load().await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file_refuses_writes_after_the_timeout() {
    let file = File::new();
    let store = file.open().await;
    let session = TestSession::begin(&store).await;
    let stranger = file.stranger();
    stranger.execute_batch("begin immediate").unwrap();
    assert_eq!(error_kind(session.set("a", "1").await), StoreErrorKind::Unavailable);
    assert_eq!(session.get("a").await.unwrap(), None, "reads should still work");
    stranger.execute_batch("rollback").unwrap();
    assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_database_is_refused() {
    let file = File::new();
    fs::write(file.path(), "not a database, but long enough to be read as one".repeat(100))
        .unwrap();
    assert_eq!(error_kind(open(&file.path()).await), StoreErrorKind::Corrupt);
    assert_eq!(error_kind(open(file.folder.path()).await), StoreErrorKind::Unavailable);
    let missing = file.folder.path().join("missing/sessions.db");
    assert_eq!(error_kind(open(&missing).await), StoreErrorKind::Unavailable);
    assert_eq!(error_kind(open(Path::new("")).await), StoreErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_version_are_refused() {
    let file = File::new();
    file.open().await.close().await;
    file.stranger().execute("update ruts_state set version = 2", []).unwrap();
    let error = open(&file.path()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
    assert!(error_chain(&error).contains("do not have the version"), "{}", error_chain(&error));
}

/// The test overwrites one page in the middle of the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_page_concerns_its_own_sessions() {
    let file = File::new();
    let store = file.open().await;
    let mut sessions = Vec::new();
    for _ in 0..200 {
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", &"secret".repeat(200)).await.unwrap(), APPLIED);
        sessions.push(session);
    }
    store.close().await;
    let opened = OpenOptions::new().write(true).open(file.path()).unwrap();
    let page = opened.metadata().unwrap().len() / 4096 / 2;
    opened.write_all_at(&[0xff; 4096], page * 4096).unwrap();
    let store = file.open().await;
    let (mut read, mut corrupt) = (0, 0);
    for session in &sessions {
        match session.through(&store).load().await {
            Ok(loaded) => {
                assert_eq!(loaded.unwrap().fields.len(), 1);
                read += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Corrupt);
                assert!(!error_chain(&error).contains("secret"), "{}", error_chain(&error));
                corrupt += 1;
            }
        }
    }
    assert!(
        read > corrupt && corrupt > 0,
        "most sessions should be readable, and some corrupt: {read} are readable, {corrupt} are corrupt"
    );
    let new = TestSession::begin(&store).await;
    assert_eq!(new.delete().await.unwrap(), DELETED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owner_may_read_the_files() {
    let file = File::new();
    let session = TestSession::begin(&file.open().await).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    for name in ["sessions.db", "sessions.db-wal", "sessions.db-shm"] {
        let mode = fs::metadata(file.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_sessions_are_deleted_in_the_background() {
    let file = File::new();
    let cleaning = builder(&file.folder).cleanup_interval(Duration::from_secs(1));
    let store = Arc::new(cleaning.build().await.unwrap());
    for _ in 0..300 {
        let session = TestSession::new(&store);
        session.create(Some(Ttl::from_millis(1))).await.unwrap();
    }
    let kept = TestSession::begin(&store).await;
    wait_until("the expired sessions are deleted", async || file.count("ruts_sessions") == 1).await;
    assert!(kept.load().await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_interval_of_the_cleanup_leaves_the_store_alive() {
    for interval in [Duration::ZERO, Duration::MAX] {
        let file = File::new();
        let store = builder(&file.folder).cleanup_interval(interval).build().await.unwrap();
        let session = TestSession::begin(&Arc::new(store)).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "{interval:?}");
    }
}

/// `revoke_everyone` ends sessions without a deadline. The cleanup frees them, and their secrets
/// are still recognised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_ended_with_all_others_are_freed() {
    let file = File::new();
    let store = file.open().await;
    let mut sessions = Vec::new();
    for _ in 0..150 {
        let session = TestSession::new(&store);
        session.create(None).await.unwrap();
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        sessions.push(session);
    }
    let deleted = sessions.pop().unwrap();
    assert_eq!(deleted.delete().await.unwrap(), DELETED);
    store.revoke_everyone().await.unwrap();
    let kept = TestSession::begin(&store).await;
    for freed in [120, 30, 0] {
        for session in &sessions {
            assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
            assert_eq!(session.set("a", "2").await.unwrap(), Err(Refused::Revoked));
        }
        assert!(matches!(deleted.load().await.unwrap(), Err(Refused::Deleted { .. })));
        assert_eq!(store.delete_expired(120).await.unwrap(), freed);
    }
    assert_eq!((file.count("ruts_sessions"), file.count("ruts_fields")), (151, 0));
    assert!(kept.load().await.unwrap().is_ok());
    assert_eq!(kept.set("a", "1").await.unwrap(), APPLIED);
    store.revoke_everyone().await.unwrap();
    assert_eq!(store.delete_expired(120).await.unwrap(), 1, "each session should be freed once");
    assert_eq!(kept.load().await.unwrap(), Err(Refused::Revoked));
}

/// Runs an operation of the program `process` in a mount namespace with a disk of its own. The
/// namespace needs no privileges.
fn in_a_namespace(set_up: &str, operation: &str, path: &Path) {
    let run = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(format!("{set_up} && exec \"$@\""))
        .args(["sh", env!("CARGO_BIN_EXE_process"), operation])
        .arg(path)
        .env("FOLDER", path)
        .status();
    assert!(run.unwrap().success(), "{operation} should succeed");
}

#[test]
fn a_session_ends_on_a_full_disk() {
    let folder = TempDir::new().unwrap();
    let mount = "mount -t tmpfs -o size=8m tmpfs \"$FOLDER\"";
    in_a_namespace(mount, "full-disk", folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_file_is_refused() {
    let file = File::new();
    file.open().await.close().await;
    let mount = "mount --bind \"$FOLDER\" \"$FOLDER\" && mount -o remount,bind,ro \"$FOLDER\"";
    in_a_namespace(mount, "read-only", &file.path());
}
