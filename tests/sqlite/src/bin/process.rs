//! A process that uses a database file. Tests kill it, let it compete with a second process, or run
//! it in a namespace with a full or read-only disk.
//!
//! Arguments: the operation, and the path of the file.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ruts::{
    auth::{Assurance, PrincipalKey},
    store::{
        Credentials, NewSignIn, Projection, Refused, RevokeTarget, Store, StoreErrorKind,
        sqlite::{Durability, SqliteStore},
    },
    token::SecretHash,
};
use ruts_tests_sqlite::{WRITERS, counter, ended, error_kind};
use ruts_tests_support::{APPLIED, DELETED, TestSession, random};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [operation, path] = &*arguments else { panic!("the program needs two arguments") };
    match &**operation {
        "count" => count(path, Durability::Full).await,
        "count-normal" => count(path, Durability::Normal).await,
        "compete" => compete(path).await,
        "full-disk" => full_disk(Path::new(path)).await,
        "read-only" => {
            let opened = SqliteStore::builder(path).build().await;
            assert_eq!(error_kind(opened), StoreErrorKind::Unsupported);
        }
        _ => panic!("unknown operation"),
    }
}

/// Prints a line for each acknowledged write and deletion, until the process is killed.
async fn count(path: &str, durability: Durability) {
    let store = SqliteStore::builder(path).durability(durability).build().await.unwrap();
    let store = Arc::new(store);
    let writers = (0..WRITERS).map(|writer| {
        let session = counter(&store, writer);
        tokio::spawn(async move {
            session.create(None).await.unwrap();
            for number in 1.. {
                assert_eq!(session.set("a", &number.to_string()).await.unwrap(), APPLIED);
                println!("wrote {writer} {number}");
            }
        })
    });
    let mut tasks: Vec<_> = writers.collect();
    tasks.push(tokio::spawn(async move {
        for number in 0.. {
            let session = ended(&store, number);
            session.create(None).await.unwrap();
            assert_eq!(session.delete().await.unwrap(), DELETED);
            println!("ended {number}");
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
}

/// Writes with 32 writers for two seconds. Prints the number of writes, and the duration of the
/// longest in microseconds.
async fn compete(path: &str) {
    let store = Arc::new(SqliteStore::builder(path).build().await.unwrap());
    let writers = (0..32).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let session = TestSession::begin(&store).await;
            let (start, mut writes, mut longest) = (Instant::now(), 0, Duration::ZERO);
            while start.elapsed() < Duration::from_secs(2) {
                let begun = Instant::now();
                assert_eq!(session.set("a", &writes.to_string()).await.unwrap(), APPLIED);
                (writes, longest) = (writes + 1, longest.max(begun.elapsed()));
            }
            (writes, longest)
        })
    });
    let (mut writes, mut longest) = (0, Duration::ZERO);
    for writer in writers.collect::<Vec<_>>() {
        let (more, slowest) = writer.await.unwrap();
        (writes, longest) = (writes + more, longest.max(slowest));
    }
    println!("{writes} {}", longest.as_micros());
}

/// Fills the disk of a folder, and checks that sessions can still end.
async fn full_disk(folder: &Path) {
    // The reserve is on the disk of the database, and not on the disk of the link.
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("sessions.db");
    std::os::unix::fs::symlink(folder.join("sessions.db"), &link).unwrap();
    std::fs::write(folder.join("sessions.db"), "").unwrap();
    let store = SqliteStore::builder(link).build().await.unwrap();
    let store = Arc::new(store);
    let principal = PrincipalKey::from_bytes([7; 32]);
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let session = TestSession::new(&store);
        let who = NewSignIn::new(&principal, Assurance::Aal1);
        store.create(session.creation().sign_in(who)).await.unwrap();
        sessions.push(session);
    }
    let value = "x".repeat(16 * 1024);
    let mut refused = TestSession::begin(&store).await;
    let error = loop {
        if let Err(error) = refused.set("a", &value).await {
            break error;
        }
        let next = TestSession::new(&store);
        match store.create(next.creation()).await {
            Ok(_) => refused = next,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), StoreErrorKind::Full);
    let filler = fill(folder);
    // Checkpoints may have freed space in the write-ahead log. These writes use up this space.
    let mut number = 0;
    let refusal = loop {
        // A write of the stored value would need no space, so each value is new.
        number += 1;
        let value = format!("{number} {value}");
        if let Err(error) = refused.set("a", &value).await {
            break error;
        }
        let is_set = refused.set("b", &value).await.is_ok();
        let is_there = refused.get("b").await.unwrap().is_some_and(|held| held == value);
        assert_eq!(is_set, is_there);
    };
    assert_eq!(refusal.kind(), StoreErrorKind::Full);
    // A touch cannot be stored.
    assert!(refused.load_and_touch().await.unwrap().is_ok(), "a read should need no space");
    let (deleted, others) = sessions.split_at(10);
    for session in deleted {
        assert_eq!(session.delete().await.unwrap(), DELETED);
        assert!(matches!(session.load().await.unwrap(), Err(Refused::Deleted { .. })));
    }
    let (rotated, revoked) = others.split_first().unwrap();
    let fresh = SecretHash::from_bytes(random());
    assert_eq!(rotated.rotate(&fresh).await.unwrap(), APPLIED);
    let target = RevokeTarget::All { except: Some(&rotated.id) };
    let ended = store.revoke(&principal, target).await.unwrap().answer;
    assert_eq!(ended.len(), revoked.len());
    for session in revoked {
        assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
    }
    let credentials = Credentials::new(&rotated.id, &fresh);
    let loaded = store.load(credentials, Projection::All, None).await.unwrap();
    assert!(loaded.is_ok(), "{loaded:?}");
    fs::remove_file(filler).unwrap();
    assert_eq!(refused.set("a", &value).await.unwrap(), APPLIED);
    assert_eq!(refused.get("a").await.unwrap(), Some(Bytes::from(value)));
}

/// Fills the rest of the disk with a file. Returns its path.
fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    path
}
