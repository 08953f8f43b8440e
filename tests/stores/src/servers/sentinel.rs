//! [`Sentinel`]: Redis Sentinel with a leader and a replica.

use std::{fs, time::Duration};

use redis::Client;

use super::{
    process::{Process, free_port, new_folder, program},
    redis::{Flavour, Redis, is_ready},
};

/// Name of the leader.
const NAME: &str = "sessions";

/// A leader, a replica, and one Sentinel, which decides alone.
pub struct Sentinel {
    /// Both servers. The first one is the leader at the start.
    pub servers: [Redis; 2],
    process: Process,
    port: u16,
}

impl Sentinel {
    /// Starts all three. Sentinel promotes the replica when the leader has not answered for
    /// `down_after`.
    pub fn start(down_after: Duration) -> Self {
        let settings = ["--repl-diskless-sync-delay", "0", "--appendonly", "yes"];
        let servers = [(); 2].map(|()| Redis::start(Flavour::Redis, &settings));
        let [leader, replica] = servers.each_ref().map(Redis::address);
        let (host, leader_port) =
            leader.split_once(':').expect("the address should have a host and a port");
        servers[1].command::<()>(&["REPLICAOF", host, leader_port]);
        let (folder, port) = (new_folder("sentinel"), free_port());
        let config = folder.join("sentinel.conf");
        let lines = format!(
            "port {port}\n\
             bind 127.0.0.1\n\
             dir {}\n\
             sentinel monitor {NAME} {host} {leader_port} 1\n\
             sentinel down-after-milliseconds {NAME} {}\n\
             sentinel failover-timeout {NAME} 5000\n",
            folder.display(),
            down_after.as_millis(),
        );
        fs::write(&config, lines).expect("the folder should be writable");
        let config = config.to_string_lossy().into_owned();
        let process = Process::start(folder, "TERM", &[program("redis"), &config, "--sentinel"]);
        let sentinel = Self { servers, process, port };
        sentinel.process.wait_until(|| is_ready(&sentinel.url()));
        let knows_replica = || {
            let answer = sentinel.ask(&["SENTINEL", "REPLICAS", NAME]);
            let text = format!("{answer:?}");
            text.contains(&replica) && text.contains("\"ok\"")
        };
        sentinel.process.wait_until(knows_replica);
        sentinel
    }

    /// Returns the URL of Sentinel.
    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the URL of Sentinel for fred.
    pub fn fred_url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName={NAME}", self.port)
    }

    /// Returns the address of Sentinel and the name of the leader, for redis-rs.
    pub fn address(&self) -> (redis::ConnectionAddr, &'static str) {
        (redis::ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port), NAME)
    }

    /// Asks Sentinel to promote the replica of a healthy leader.
    pub fn fail_over(&self) {
        self.ask(&["SENTINEL", "FAILOVER", NAME]);
    }

    /// Waits until Sentinel names this server as the leader.
    pub fn wait_until_leading(&self, server: &Redis) {
        let address = server.address();
        let port = address.split(':').nth(1).expect("the address should have a port");
        self.process.wait_until(|| {
            let answer = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
            format!("{answer:?}").contains(&format!("\"{port}\""))
        });
    }

    fn ask(&self, words: &[&str]) -> redis::Value {
        let mut connection = Client::open(self.url()).unwrap().get_connection().unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
    }
}
