//! Several processes use one file: they write in turn, can create the file at the same time, and
//! notice each other's changes.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ruts_tests_sqlite::{builder, sqlite};
use ruts_tests_support::{
    APPLIED, TestSession,
    scenarios::watch::{a_revocation_ends_a_connection, assert_prompt},
};
use tempfile::TempDir;

/// Maximum duration of a write while two processes compete.
const LONGEST: Duration = Duration::from_millis(250);

/// Maximum number of attempts. On a busy machine, the system may suspend a process for longer than
/// [`LONGEST`].
const ATTEMPTS: usize = 5;

/// Returns a folder in memory if there is one, so that no disk delays the writes.
fn folder_in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// Runs two processes with 32 writers each. Returns the number of writes by each process, and the
/// duration of the longest write.
fn compete() -> ([u64; 2], Duration) {
    let folder = folder_in_memory();
    let processes = [(); 2].map(|()| {
        Command::new(env!("CARGO_BIN_EXE_process"))
            .arg("compete")
            .arg(folder.path().join("sessions.db"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let answers = processes.map(|process| {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "no write should fail");
        let output = String::from_utf8(output.stdout).unwrap();
        let (writes, longest) = output.trim().split_once(' ').unwrap();
        (writes.parse().unwrap(), Duration::from_micros(longest.parse().unwrap()))
    });
    let longest = answers.iter().map(|(_, longest)| *longest).max().unwrap();
    (answers.map(|(writes, _)| writes), longest)
}

#[test]
fn two_processes_write_in_turn() {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let ([one, other], longest) = compete();
        if longest < LONGEST && one.min(other) * 4 > one + other - one.min(other) {
            return;
        }
        seen.push((one, other, longest));
    }
    panic!("in some attempt, both processes should write in turn: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_can_create_the_file_at_once() {
    let folder = Arc::new(TempDir::new().unwrap());
    let stores = (0..16).map(|_| {
        let folder = Arc::clone(&folder);
        tokio::spawn(async move { builder(&folder).build().await })
    });
    for store in stores.collect::<Vec<_>>() {
        let session = TestSession::begin(&Arc::new(store.await.unwrap().unwrap())).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    }
}

/// The stores share only a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_ends_a_watched_session() {
    let pair = sqlite().await;
    let [one, other] = &pair.stores;
    assert_prompt(async || a_revocation_ends_a_connection(one, other).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_survive_a_restart() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(builder(&folder).build().await.unwrap());
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    store.close().await;
    let log = folder.path().join("sessions.db-wal");
    assert!(!log.exists(), "the log should be removed, because no connection has the file open");
    let store = Arc::new(builder(&folder).build().await.unwrap());
    assert_eq!(session.through(&store).get("a").await.unwrap().unwrap(), "1");
}
