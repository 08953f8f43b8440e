//! [`Postgres`]: a PostgreSQL server that a test starts, or that `DATABASE_URL` names.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::TcpStream,
    process::Command,
    sync::OnceLock,
};

use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};

use super::clock::Clock;
use super::process::{Process, free_port, new_folder, program};

/// A PostgreSQL server.
pub struct Postgres {
    process: Option<Process>,
    url: String,
}

impl Postgres {
    /// Starts a server with settings of `postgresql.conf`, such as `max_connections=20`.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_with(None, settings)
    }

    /// Starts a server with a clock of its own.
    pub fn start_by(clock: &Clock, settings: &[&str]) -> Self {
        Self::start_with(Some(clock), settings)
    }

    fn start_with(clock: Option<&Clock>, settings: &[&str]) -> Self {
        let folder = new_folder("postgres");
        let data = folder.join("data").to_string_lossy().into_owned();
        let bin = program("postgres");
        let library = format!("{bin}/../../..");
        let (initdb, postgres) = (format!("{bin}/initdb"), format!("{bin}/postgres"));
        let port = free_port().to_string();
        let owner = owner(&folder);
        let mut prepare: Vec<&str> = owner.clone();
        prepare.extend(["env", "LC_ALL=C"]);
        prepare.extend([&*initdb, "-D", &data, "-U", "postgres", "-A", "trust", "-N"]);
        prepare.extend(["-E", "UTF8", "--no-instructions"]);
        let output = Command::new(prepare[0])
            .args(&prepare[1..])
            .env("LD_LIBRARY_PATH", &library)
            .output()
            .expect("initdb should run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let socket = folder.to_string_lossy().into_owned();
        let mut command = owner;
        let clock = clock.map(Clock::words).unwrap_or_default();
        command.extend(clock.iter().map(String::as_str));
        command.extend([&*postgres, "-D", &data, "-p", &port, "-k", &socket]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "jit=off",
        ]
        .iter()
        .chain(settings)
        {
            command.extend(["-c", setting]);
        }
        // `INT` asks for a fast shutdown, which does not wait for clients.
        let process = Process::start(folder, "INT", &command);
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let server = Self { process: Some(process), url };
        server.wait();
        server
    }

    /// Returns the server that all tests of this process share, or that `DATABASE_URL` names.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match env::var("DATABASE_URL") {
            Ok(url) => Self { process: None, url },
            Err(_) => Self::start(&[]),
        })
    }

    /// Returns the URL of the server, with the role.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the host and port of [`url`](Self::url).
    pub fn address(&self) -> String {
        let address = self.url.split('@').nth(1).and_then(|rest| rest.split('/').next());
        address.expect("the URL should have a host").to_owned()
    }

    /// Creates a pool that connects as the documentation advises.
    pub fn pool(&self, connections: u32) -> PgPool {
        PgPoolOptions::new().max_connections(connections).connect_lazy(&self.url).unwrap()
    }

    /// Returns a schema for one test, with a name that no other test uses.
    pub fn schema(&self) -> Schema {
        let borrowed_from = self.process.is_none().then(|| self.url.clone());
        let number = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Schema { name: format!("test_{number:016x}"), borrowed_from }
    }

    /// Returns the log of the server so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.process().folder().join("log"))
            .expect("the log file should be readable")
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the server should be one that the test started")
    }

    /// Kills the server.
    pub fn kill(&self) {
        self.process().send("kill");
        // The child processes end a moment later, and hold the shared memory until then. If this
        // file existed, the next start would refuse to run alongside them.
        let pid = self.process().folder().join("data/postmaster.pid");
        let _ = fs::remove_file(pid);
    }

    /// Stops the server from accepting connections. Open connections still work.
    pub fn pause(&self) {
        self.process().send("pause");
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process().send("resume");
    }

    /// Shuts the server down without waiting for its clients.
    pub fn stop(&self) {
        self.process().send("stop");
    }

    /// Starts the server again with its data.
    pub fn restart(&self) {
        self.process().send("start");
        self.wait();
    }

    /// Starts the server again as a standby, which accepts reads and follows no other server.
    pub fn restart_as_standby(&self) {
        fs::write(self.process().folder().join("data/standby.signal"), "").unwrap();
        self.restart();
    }

    fn wait(&self) {
        self.process().wait_until(|| accepts(&self.address()).unwrap_or(false));
    }
}

/// Returns whether the server accepts a login. A server that is still starting answers with an
/// error.
fn accepts(address: &str) -> io::Result<bool> {
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let mut message = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
    message.extend(0x0003_0000_u32.to_be_bytes());
    message.extend(parameters);
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(&message)?;
    let mut kind = [0];
    connection.read_exact(&mut kind)?;
    Ok(kind == *b"R")
}

pub(super) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("the program `id` should run");
    id.stdout.trim_ascii() == b"0"
}

/// Returns the words to put before a command so that it runs as the user `postgres`, because
/// PostgreSQL refuses to run as root. Gives the folder to this user. Returns no words if the tests
/// do not run as root.
fn owner(folder: &std::path::Path) -> Vec<&'static str> {
    if !is_root() {
        return Vec::new();
    }
    let given = Command::new("chown").arg("postgres:").arg(folder).status();
    assert!(given.is_ok_and(|status| status.success()), "the system should have a user postgres");
    vec!["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
}

/// A schema that no other test uses. It is dropped at the end if the test did not start the server.
pub struct Schema {
    name: String,
    /// URL of a server that the test did not start.
    borrowed_from: Option<String>,
}

impl Schema {
    /// Returns the name of the schema.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let Some(url) = self.borrowed_from.take() else { return };
        let drop = format!("drop schema if exists {} cascade", self.name);
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&url).await?;
                connection.execute(sqlx::AssertSqlSafe(drop)).await.map(std::mem::drop)
            })?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })
        .join();
    }
}
