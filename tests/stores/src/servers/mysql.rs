//! [`MySql`]: a MariaDB or MySQL server that a test starts.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::OnceLock,
};

use sqlx::{
    MySqlConnection, MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use super::clock::Clock;
use super::process::{Process, free_port, new_folder_in, program};

/// A MariaDB server, or MySQL if `RUTS_MYSQL=mysql` is set. `scripts/servers mysql` gets MySQL.
pub struct MySql {
    process: Process,
    port: u16,
    is_mysql: bool,
}

impl MySql {
    /// Starts a server with settings, such as `max_connections=20`.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(&env::temp_dir(), settings)
    }

    /// Starts a server with a clock of its own.
    pub fn start_by(clock: &Clock, settings: &[&str]) -> Self {
        Self::start_with(Some(clock), &env::temp_dir(), settings)
    }

    /// Starts a server whose files are in a folder below `parent`.
    pub fn start_in(parent: &Path, settings: &[&str]) -> Self {
        Self::start_with(None, parent, settings)
    }

    fn start_with(clock: Option<&Clock>, parent: &Path, settings: &[&str]) -> Self {
        let is_mysql = env::var("RUTS_MYSQL").is_ok_and(|server| server == "mysql");
        let binary = if is_mysql { "mysql" } else { "mariadb" };
        let folder = new_folder_in(parent, binary);
        let (binary, port) = (Path::new(program(binary)), free_port());
        let unpacked = binary.parent().expect("the program should be in a folder");
        let copied = Command::new("cp").arg("-r").arg(unpacked.join("data")).arg(&folder).status();
        assert!(copied.is_ok_and(|status| status.success()), "the empty database should be copied");
        let share =
            unpacked.join(if is_mysql { "root/usr/share/mysql" } else { "root/usr/share/mariadb" });
        let user =
            Command::new("id").arg("-un").output().expect("the program `id` should run").stdout;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut command = clock.map(Clock::words).unwrap_or_default();
        command.extend([
            path(binary),
            "--no-defaults".to_owned(),
            format!("--user={}", String::from_utf8_lossy(&user).trim()),
            format!("--datadir={}", path(&folder.join("data"))),
            format!("--socket={}", path(&folder.join("socket"))),
            // In a shared folder, a server removes the temporary files of other servers.
            format!("--tmpdir={}", path(&folder)),
            format!("--pid-file={}", path(&folder.join("pid"))),
            format!("--lc-messages-dir={}", path(&share)),
            format!("--character-sets-dir={}", path(&share.join("charsets"))),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-log-bin".to_owned(),
            "--innodb-buffer-pool-size=64M".to_owned(),
            "--performance-schema=OFF".to_owned(),
        ]);
        // No test simulates a power cut, so nothing has to be synced.
        let unsynced = ["mysqlx=OFF", "secure-file-priv=NULL", "innodb-flush-method=nosync"];
        let unsynced = if is_mysql { &unsynced[..] } else { &["debug-no-sync"] };
        let defaults = ["innodb_flush_log_at_trx_commit=0", "max_connections=500"];
        let settings = unsynced.iter().chain(&defaults).chain(settings);
        command.extend(settings.map(|setting| format!("--{setting}")));
        let command: Vec<&str> = command.iter().map(|word| &**word).collect();
        let server = Self { process: Process::start(folder, "TERM", &command), port, is_mysql };
        server.wait();
        server
    }

    /// Returns the server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MySql> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// Returns whether the server is MySQL.
    pub fn is_mysql(&self) -> bool {
        self.is_mysql
    }

    /// Returns the host and port of the server.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the URL of a connection as root.
    pub fn url(&self) -> String {
        url_of(&self.address())
    }

    /// Returns the options of a connection as root.
    pub fn options(&self) -> MySqlConnectOptions {
        mysql_options(&self.address())
    }

    /// Creates a pool for queries that bypass the store.
    pub fn pool(&self) -> MySqlPool {
        MySqlPoolOptions::new().max_connections(4).connect_lazy_with(self.options())
    }

    /// Kills the server.
    pub fn kill(&self) {
        self.process.send("kill");
    }

    /// Suspends the process of the server. Open connections stay open.
    pub fn pause(&self) {
        self.process.send("pause");
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.send("resume");
    }

    /// Shuts the server down.
    pub fn stop(&self) {
        self.process.send("stop");
    }

    /// Starts the server again with its data.
    pub fn restart(&self) {
        self.process.send("start");
        self.wait();
    }

    fn wait(&self) {
        self.process.wait_until(|| greets(&self.address()).unwrap_or(false));
    }
}

/// Returns the options of a connection as root to a server, or to a proxy in front of it.
pub fn mysql_options(address: &str) -> MySqlConnectOptions {
    url_of(address).parse().expect("the URL should be valid")
}

/// Returns a URL without TLS, so that a proxy sees plain text.
fn url_of(address: &str) -> String {
    format!("mysql://root@{address}/test?ssl-mode=DISABLED")
}

/// Closes all connections of root except the given one.
pub async fn kill_others(connection: &mut MySqlConnection) {
    let others = "select group_concat(id) from information_schema.processlist \
                  where id <> connection_id() and user = 'root'";
    let ids: Option<String> = sqlx::query_scalar(others)
        .fetch_one(&mut *connection)
        .await
        .expect("the server should list its connections");
    for id in ids.iter().flat_map(|ids| ids.split(',')) {
        // The connection may have ended by itself.
        let kill = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("kill connection {id}")));
        let _ = kill.execute(&mut *connection).await;
    }
}

/// Returns the name of tables that no other test uses.
pub fn unique_tables() -> String {
    format!("test_{:016x}", RandomState::new().hash_one(0))
}

/// Returns whether the server greets a client. A server that is still starting answers with an
/// error.
fn greets(address: &str) -> io::Result<bool> {
    const PROTOCOL: u8 = 10;
    let mut greeting = [0; 5];
    TcpStream::connect(address)?.read_exact(&mut greeting)?;
    Ok(greeting[4] == PROTOCOL)
}
