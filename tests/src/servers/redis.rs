use std::{env, sync::OnceLock};

use redis::{Client, Commands};

use super::process::{Process, free_port, new_folder, program};

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Redis itself.
    Redis,
    /// Its free descendant.
    Valkey,
}

/// A server for one key space.
pub struct Redis {
    process: Option<Process>,
    url: String,
}

impl Redis {
    /// Starts one. `settings` are those of its configuration file, as arguments.
    pub fn start(flavour: Flavour, settings: &[&str]) -> Self {
        let port = free_port();
        let (process, url) = start(flavour, port, settings);
        let server = Self { process: Some(process), url };
        server.wait();
        server
    }

    /// Starts one that is a whole cluster: it has all slots, and no command for keys of two.
    pub fn start_with_slots(flavour: Flavour) -> Self {
        let bus = free_port().to_string();
        let server = Self::start(flavour, &["--cluster-enabled", "yes", "--cluster-port", &bus]);
        server.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let is_up = |info: String| info.contains("cluster_state:ok");
        server.process().wait_until(|| is_up(server.command(&["CLUSTER", "INFO"])));
        server
    }

    /// The one that all tests of this process share, or that the environment names.
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

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The host and port of [`url`](Self::url).
    pub fn address(&self) -> String {
        self.url.trim_start_matches("redis://").to_owned()
    }

    /// Runs a command and returns its answer.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = Client::open(&*self.url).unwrap().get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).unwrap()
    }

    /// How often a command was run so far, scripts' own calls included.
    pub fn calls(&self, command: &str) -> u64 {
        let stats: String = self.command(&["INFO", "commandstats"]);
        stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")))
            .and_then(|line| line.split(',').next())
            .map_or(0, |calls| calls.parse().unwrap())
    }

    /// A part of the key space for one test.
    pub fn prefix(&self) -> Prefix {
        let mut prefix = Prefix::unique();
        prefix.borrowed = self.process.is_none().then(|| self.url.clone());
        prefix
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a server of the tests' own")
    }

    /// Kills it.
    pub fn kill(&self) {
        self.process().tell("kill");
    }

    /// Stops it in good order.
    pub fn stop(&self) {
        self.process().tell("stop");
    }

    /// Starts it again where it was, with what it had saved.
    pub fn restart(&self) {
        self.process().tell("start");
        self.wait();
    }

    /// Stops it from answering. Connections stay.
    pub fn pause(&self) {
        self.process().tell("pause");
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process().tell("resume");
    }

    fn wait(&self) {
        self.process().wait_until(|| is_ready(&self.url));
    }
}

pub(super) fn start(flavour: Flavour, port: u16, settings: &[&str]) -> (Process, String) {
    let folder = new_folder("redis");
    let binary = program(match flavour {
        Flavour::Redis => "redis",
        Flavour::Valkey => "valkey",
    });
    let (dir, port) = (folder.to_string_lossy().into_owned(), port.to_string());
    let mut command = vec![binary, "--port", &port, "--bind", "127.0.0.1", "--dir", &dir];
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

/// A prefix that no other test uses. On a server that is not the tests' own, what stands under it is
/// removed in the end.
pub struct Prefix {
    name: String,
    borrowed: Option<String>,
}

impl Prefix {
    /// One for a server of the tests' own.
    pub fn unique() -> Self {
        let number = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Self { name: format!("test-{number:016x}"), borrowed: None }
    }

    /// The prefix.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let Some(url) = self.borrowed.take() else { return };
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
