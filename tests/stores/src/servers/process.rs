//! A server process that ends with the test process.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ruts_tests_support::LONG_TIMEOUT;

/// Script that runs a server in a folder, and carries out one command per line of input. At the end
/// of its input it kills the server and removes the folder, even if the test process was killed.
/// Under the library that changes the clock, a process of PostgreSQL may hang in its signal
/// handler. So after 20 s, a shutdown becomes an immediate one.
const KEEPER: &str = r#"
trap '' INT TERM HUP
folder=$1 stop=$2 pid=
shift 2
while read -r word; do
  case $word in
    start) "$@" >>"$folder/log" 2>&1 </dev/null & pid=$! ;;
    stop)
      kill -CONT $pid; kill -$stop $pid
      (sleep 20; kill -QUIT $pid) >/dev/null </dev/null & timer=$!
      wait $pid; kill -KILL $timer ;;
    kill) kill -KILL $pid; wait $pid ;;
    pause) kill -STOP $pid ;;
    resume) kill -CONT $pid ;;
  esac 2>/dev/null
  echo done
done
[ -z "$pid" ] || kill -KILL $pid 2>/dev/null
wait
for try in 1 2 3 4 5; do rm -rf "$folder" 2>/dev/null && break; sleep 0.1; done
"#;

/// A server process and its folder.
pub(super) struct Process {
    keeper: Child,
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    folder: PathBuf,
}

impl Process {
    /// Starts `command` in `folder`, and removes this folder at the end. `stop` is the signal that
    /// shuts the server down.
    pub(super) fn start(folder: PathBuf, stop: &str, command: &[&str]) -> Self {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .arg(stop)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell should start");
        let pipes = keeper.stdin.take().zip(keeper.stdout.take().map(BufReader::new));
        let process = Self { keeper, pipes: Mutex::new(pipes), folder };
        process.send("start");
        process
    }

    /// Sends a command, and returns when it is done.
    pub(super) fn send(&self, command: &str) {
        let mut pipes = self.pipes.lock().unwrap();
        let (to, from) = pipes.as_mut().expect("the pipes should exist until the drop");
        writeln!(to, "{command}").expect("the keeper should read commands");
        let mut answer = String::new();
        from.read_line(&mut answer).expect("the keeper should answer");
        assert_eq!(answer, "done\n", "the keeper of {:?} should still run", self.folder);
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until `ready` returns true. Panics with the log of the server if that takes too long.
    pub(super) fn wait_until(&self, ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !ready() {
            if start.elapsed() > LONG_TIMEOUT {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                panic!("the server is not ready. Its log:\n{log}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing the keeper's input ends it.
        drop(self.pipes.lock().map(|mut pipes| pipes.take()));
        let _ = self.keeper.wait();
    }
}

/// Creates a folder in the system's temporary folder.
pub(super) fn new_folder(name: &str) -> PathBuf {
    new_folder_in(&std::env::temp_dir(), name)
}

/// Creates a folder in `parent`.
pub(super) fn new_folder_in(parent: &Path, name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let unique =
        format!("ruts-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = parent.join(unique);
    std::fs::create_dir(&folder).expect("the folder should be writable");
    folder
}

/// Returns a free port, a different one each time.
///
/// The port is below the range that systems use for outgoing connections. Such a connection could
/// otherwise take the port before the server does.
pub fn free_port() -> u16 {
    const PORTS: Range<u16> = 10_240..32_768;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let random = RandomState::new().hash_one(0) % PORTS.len() as u64;
        let port = PORTS.start + random as u16;
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Returns the path of a program. For `postgres`, returns the folder of its programs.
pub(super) fn program(name: &str) -> &'static str {
    static PROGRAMS: OnceLock<HashMap<String, String>> = OnceLock::new();
    PROGRAMS
        .get_or_init(|| find_servers(std::env::var("RUTS_MYSQL").ok().as_deref()))
        .get(name)
        .unwrap_or_else(|| panic!("scripts/servers should print a path for {name}"))
}

/// Returns the paths that `scripts/servers` prints, by their names.
pub(super) fn find_servers(more: Option<&str>) -> HashMap<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/servers");
    let output = Command::new(script)
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .expect("scripts/servers should run");
    assert!(output.status.success(), "scripts/servers should succeed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, path)| (name.to_owned(), path.to_owned()))
        .collect()
}
