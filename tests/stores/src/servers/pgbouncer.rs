//! [`PgBouncer`]: a connection pooler in front of PostgreSQL.

use std::{fs, net::TcpStream, os::unix::fs::PermissionsExt};

use super::{
    postgres::{Postgres, is_root},
    process::{Process, free_port, new_folder, program},
};

/// A pooler in transaction mode: each transaction may run on a different connection to the server.
pub struct PgBouncer {
    _process: Process,
    url: String,
}

impl PgBouncer {
    /// Starts a pooler with at most `connections` connections to `server`, each with at most
    /// `prepared_statements` prepared statements.
    pub fn start(server: &Postgres, connections: u32, prepared_statements: u32) -> Self {
        let folder = new_folder("pgbouncer");
        let port = free_port();
        let (host, server_port) =
            server.address().split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let config = folder.join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n\
             postgres = host={host} port={server_port} user=postgres\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = {connections}\n\
             ignore_startup_parameters = extra_float_digits\n\
             max_prepared_statements = {prepared_statements}\n"
        );
        fs::write(&config, settings).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let config = config.to_string_lossy().into_owned();
        let mut command = vec![program("pgbouncer")];
        if is_root() {
            // PgBouncer refuses to run as root.
            command.extend(["-u", "postgres"]);
        }
        command.push(&config);
        let process = Process::start(folder, "INT", &command);
        process.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _process: process, url: format!("postgres://postgres@127.0.0.1:{port}/postgres") }
    }

    /// Returns the URL of the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }
}
