//! No acknowledged write is lost when a process is killed. Only `Durability::Normal` loses
//! acknowledged writes in a simulated power cut.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use ruts::store::{Refused, Store, sqlite::SqliteStore};
use ruts_tests_sqlite::{WRITERS, counter, ended};
use tempfile::TempDir;

/// The writes and deletions that a process acknowledged before it was killed.
#[derive(Debug, Default)]
struct Acknowledged {
    /// The last number of each writer.
    written: HashMap<u64, u64>,
    /// The last session that was deleted.
    ended: Option<u64>,
}

/// Lets a process write for `wait` after its first acknowledged deletion, and kills the process.
fn kill_while_writing(mut command: Command, wait: Duration) -> Acknowledged {
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut is_waited_for = false;
    // The loop reads all output of the process, up to the moment at which it was killed.
    thread::scope(|scope| {
        let (output, mut process) = (process.stdout.take().unwrap(), Some(&mut process));
        for line in BufReader::new(output).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            let (word, mut number) = (words.next().unwrap(), || words.next()?.parse::<u64>().ok());
            match (word, number(), number()) {
                ("wrote", Some(writer), Some(number)) => {
                    acknowledged.written.insert(writer, number);
                }
                ("ended", Some(number), None) => acknowledged.ended = Some(number),
                // The last line may be cut.
                _ => {}
            }
            is_waited_for |= acknowledged.ended.is_some();
            if is_waited_for && let Some(process) = process.take() {
                scope.spawn(move || {
                    thread::sleep(wait);
                    process.kill().unwrap();
                    process.wait().unwrap();
                });
            }
        }
    });
    acknowledged
}

/// Returns the number of acknowledged writes and deletions that are missing.
async fn missing(path: &Path, acknowledged: &Acknowledged) -> u64 {
    let store = Arc::new(SqliteStore::builder(path).build().await.unwrap());
    let mut missing = 0;
    for writer in 0..WRITERS {
        let session = counter(&store, writer);
        let acknowledged = acknowledged.written.get(&writer).copied().unwrap_or_default();
        let number = match session.load().await.unwrap() {
            Ok(loaded) => loaded.fields.first().map_or(0, |field| {
                std::str::from_utf8(&field.value).unwrap().parse::<u64>().unwrap()
            }),
            Err(_) => 0,
        };
        missing += acknowledged.saturating_sub(number);
        assert!(
            number <= acknowledged + 1_000_000,
            "no session should hold a number that was never written"
        );
    }
    for number in acknowledged.ended.iter().flat_map(|last| 0..=*last) {
        let answer = ended(&store, number).load().await.unwrap();
        missing += u64::from(!matches!(answer, Err(Refused::Deleted { .. })));
    }
    assert_eq!(store.delete_expired(usize::MAX).await.unwrap(), 0);
    missing
}

fn counting(operation: &str, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_process"));
    command.arg(operation).arg(path);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing() {
    for (kill, operation) in ["count", "count-normal"].into_iter().cycle().take(6).enumerate() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("sessions.db");
        let wait = Duration::from_millis(37 * kill as u64);
        let acknowledged = kill_while_writing(counting(operation, &path), wait);
        assert_eq!(missing(&path, &acknowledged).await, 0, "{acknowledged:?}");
    }
}

/// Number of simulated power cuts.
const POWER_CUTS: u64 = 50;

/// Builds the library that keeps copies of synced files.
fn synced_library(folder: &Path) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keep_synced.c");
    let library = folder.join("keep_synced.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success(), "the library should be built");
    library
}

/// Simulates a power cut, which leaves only synced data. Returns the folder of that data.
fn cut_power(library: &Path, operation: &str, wait: Duration) -> (TempDir, Acknowledged) {
    let (folder, synced) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut command = counting(operation, &folder.path().join("sessions.db"));
    command.env("LD_PRELOAD", library).env("KEEP_SYNCED_IN", synced.path());
    let acknowledged = kill_while_writing(command, wait);
    for file in fs::read_dir(synced.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(path).unwrap();
        }
    }
    (synced, acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let library = synced_library(folder.path());
    for cut in 0..POWER_CUTS {
        let (synced, acknowledged) =
            cut_power(&library, "count", Duration::from_millis(cut * 7 % 100));
        let missing = missing(&synced.path().join("sessions.db"), &acknowledged).await;
        assert_eq!(missing, 0, "{acknowledged:?}");
    }
}

/// According to its documentation, `Durability::Normal` may lose commits. The simulation shows such
/// a loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_commits_that_were_not_synced() {
    let folder = TempDir::new().unwrap();
    let library = synced_library(folder.path());
    let mut lost = 0;
    for cut in 0..10 {
        let wait = Duration::from_millis(5 + cut);
        let (synced, acknowledged) = cut_power(&library, "count-normal", wait);
        lost += missing(&synced.path().join("sessions.db"), &acknowledged).await;
    }
    assert!(lost > 0, "the simulation should lose data that was not synced");
}
