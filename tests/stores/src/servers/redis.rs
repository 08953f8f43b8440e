//! [`Redis`]: a Redis or Valkey server that a test starts, or that the environment names.

use std::{env, fs, path::PathBuf, sync::OnceLock};

use redis::{Client, Commands};

use super::clock::Clock;
use super::process::{Process, free_port, new_folder, program};

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

/// A server.
pub struct Redis {
    process: Option<Process>,
    url: String,
}

impl Redis {
    /// Starts a server with settings, as command-line arguments.
    pub fn start(flavour: Flavour, settings: &[&str]) -> Self {
        Self::start_with(None, flavour, settings)
    }

    /// Starts Valkey with a clock of its own.
    pub fn start_by(clock: &Clock, settings: &[&str]) -> Self {
        Self::start_with(Some(clock), Flavour::Valkey, settings)
    }

    fn start_with(clock: Option<&Clock>, flavour: Flavour, settings: &[&str]) -> Self {
        let (process, url) = start(clock, flavour, free_port(), settings);
        let server = Self { process: Some(process), url };
        server.wait();
        server
    }

    /// Starts a cluster of one node, which has all slots. It refuses commands with keys in two
    /// slots.
    pub fn start_with_slots(flavour: Flavour) -> Self {
        let bus = free_port().to_string();
        let server = Self::start(flavour, &["--cluster-enabled", "yes", "--cluster-port", &bus]);
        server.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let is_up = |info: String| info.contains("cluster_state:ok");
        server.process().wait_until(|| is_up(server.command(&["CLUSTER", "INFO"])));
        server
    }

    /// Returns the server that all tests of this process share, or that the environment names.
    pub fn shared(flavour: Flavour) -> &'static Self {
        static REDIS: OnceLock<Redis> = OnceLock::new();
        static VALKEY: OnceLock<Redis> = OnceLock::new();
        let (server, variable) = match flavour {
            Flavour::Redis => (&REDIS, "REDIS_URL"),
            Flavour::Valkey => (&VALKEY, "VALKEY_URL"),
        };
        server.get_or_init(|| match env::var(variable) {
            Ok(url) => Self { process: None, url },
            Err(_) => Self::start(flavour, &[]),
        })
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the host and port of [`url`](Self::url).
    pub fn address(&self) -> String {
        self.url.trim_start_matches("redis://").to_owned()
    }

    /// Runs a command and returns its answer.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).unwrap()
    }

    /// Runs a command that a server may refuse.
    pub fn try_command<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = Client::open(&*self.url)?.get_connection()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection)
    }

    /// Makes the dumps of the server fail, as a full disk does. The server then refuses writes with
    /// `MISCONF`.
    pub fn fill_disk(&self) {
        let dump = self.dump();
        // A dump fails if a folder has the name of the dump file.
        let _ = fs::remove_file(&dump);
        fs::create_dir(&dump).expect("the folder should be created");
        self.command::<()>(&["CONFIG", "SET", "save", "3600 1"]);
        self.process().wait_until(|| {
            let info: String = self.command(&["INFO", "persistence"]);
            let has_failed = info.contains("rdb_last_bgsave_status:err");
            if !has_failed {
                // Refused while another dump is in progress, such as one for a replica.
                let _ = self.try_command::<redis::Value>(&["BGSAVE"]);
            }
            has_failed
        });
    }

    /// Ends a [`fill_disk`](Self::fill_disk).
    pub fn free_disk(&self) {
        fs::remove_dir(self.dump()).expect("the folder should be empty");
        // Without dumps, the server no longer refuses writes because a dump failed.
        self.command::<()>(&["CONFIG", "SET", "save", ""]);
    }

    fn dump(&self) -> PathBuf {
        self.process().folder().join("dump.rdb")
    }

    /// Returns the number of calls of a command so far, including calls from scripts.
    pub fn calls(&self, command: &str) -> u64 {
        let stats: String = self.command(&["INFO", "commandstats"]);
        stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")))
            .and_then(|line| line.split(',').next())
            .map_or(0, |calls| calls.parse().unwrap())
    }

    /// Returns a key prefix for one test.
    pub fn prefix(&self) -> Prefix {
        let mut prefix = Prefix::unique();
        prefix.borrowed_from = self.process.is_none().then(|| self.url.clone());
        prefix
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the server should be one that the test started")
    }

    /// Kills the server.
    pub fn kill(&self) {
        self.process().send("kill");
    }

    /// Shuts the server down.
    pub fn stop(&self) {
        self.process().send("stop");
    }

    /// Starts the server again at the same address, with its saved data.
    pub fn restart(&self) {
        self.process().send("start");
        self.wait();
    }

    /// Suspends the process of the server. Open connections stay open.
    pub fn pause(&self) {
        self.process().send("pause");
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process().send("resume");
    }

    fn wait(&self) {
        self.process().wait_until(|| is_ready(&self.url));
    }
}

pub(super) fn start(
    clock: Option<&Clock>,
    flavour: Flavour,
    port: u16,
    settings: &[&str],
) -> (Process, String) {
    let folder = new_folder("redis");
    let binary = program(match flavour {
        Flavour::Redis => "redis",
        Flavour::Valkey => "valkey",
    });
    let (dir, port) = (folder.to_string_lossy().into_owned(), port.to_string());
    let clock = clock.map(Clock::words).unwrap_or_default();
    let mut command: Vec<&str> = clock.iter().map(String::as_str).collect();
    command.extend([binary, "--port", &port, "--bind", "127.0.0.1", "--dir", &dir]);
    command.extend(["--save", "", "--enable-debug-command", "local"]);
    command.extend(settings);
    let process = Process::start(folder, "TERM", &command);
    (process, format!("redis://127.0.0.1:{port}"))
}

pub(super) fn is_ready(url: &str) -> bool {
    Client::open(url)
        .and_then(|client| client.get_connection())
        .and_then(|mut connection| redis::cmd("PING").query::<()>(&mut connection))
        .is_ok()
}

/// A key prefix that no other test uses. Its keys are removed at the end if the test did not start
/// the server.
pub struct Prefix {
    name: String,
    /// URL of a server that the test did not start.
    borrowed_from: Option<String>,
}

impl Prefix {
    /// Returns a prefix for a server that the test started.
    pub fn unique() -> Self {
        let number = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Self { name: format!("test-{number:016x}"), borrowed_from: None }
    }

    /// Returns the prefix.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let Some(url) = self.borrowed_from.take() else { return };
        let pattern = format!("{}:*", self.name);
        let _ = std::thread::spawn(move || {
            let mut connection = Client::open(url)?.get_connection()?;
            let keys: Vec<Vec<u8>> =
                connection.scan_match(pattern)?.collect::<Result<_, redis::RedisError>>()?;
            for key in keys {
                connection.del::<_, ()>(key)?;
            }
            Ok::<_, redis::RedisError>(())
        })
        .join();
    }
}
