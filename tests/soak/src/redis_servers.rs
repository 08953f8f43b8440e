//! A leader and a replica behind a proxy, and their faults: [`RedisServers`]. Used by the systems.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use ruts_tests_stores::{
    Proxy,
    servers::{Clock, Flavour, Redis},
};
use ruts_tests_support::LONG_TIMEOUT;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    clock::{STEP, step},
    fault::RedisFault,
};

/// Settings of a server that loses no acknowledged write.
pub const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Two servers, and a proxy that leads to the leader.
pub struct RedisServers {
    servers: [Redis; 2],
    /// The clock of both servers, if they are Valkey.
    clock: Clock,
    leader: AtomicUsize,
    name: Proxy,
}

impl RedisServers {
    /// Starts both servers.
    pub async fn start(flavour: Flavour) -> Self {
        let settings = [&DURABLE[..], &["--repl-diskless-sync-delay", "0"]].concat();
        let clock = Clock::new();
        let start = || match flavour {
            Flavour::Redis => Redis::start(flavour, &settings),
            Flavour::Valkey => Redis::start_by(&clock, &settings),
        };
        let servers = block_in_place(|| [(); 2].map(|()| start()));
        let name = Proxy::before(&servers[0].address()).await;
        let servers = Self { servers, clock, leader: AtomicUsize::new(0), name };
        let (leader, replica) = servers.roles();
        block_in_place(|| follow(replica, leader));
        servers.wait_for_replica().await;
        servers
    }

    /// Returns the URL of the proxy.
    pub fn url(&self) -> String {
        format!("redis://{}", self.name.address())
    }

    /// Returns the leader and the replica.
    fn roles(&self) -> (&Redis, &Redis) {
        let leader = self.leader.load(Ordering::Relaxed);
        (&self.servers[leader], &self.servers[1 - leader])
    }

    async fn wait_for_replica(&self) {
        let (leader, replica) = self.roles();
        let state = redis::Value::BulkString("connected".into());
        until("the replica has synchronised", || {
            let role: Vec<redis::Value> = replica.try_command(&["ROLE"]).unwrap_or_default();
            let info: String = leader.try_command(&["INFO", "replication"]).unwrap_or_default();
            role.get(3) == Some(&state) && info.contains("state=online")
        })
        .await;
    }

    /// Causes a fault, waits for `duration`, and ends it. Returns when the server can be used.
    pub async fn strike(&self, fault: RedisFault, duration: Duration) {
        let (leader, _) = self.roles();
        match fault {
            RedisFault::Failover => self.fail_over().await,
            RedisFault::Network(fault) => fault.strike(&self.name, duration).await,
            RedisFault::CloseConnections => {
                command(leader, &["CLIENT", "KILL", "TYPE", "normal"]);
            }
            RedisFault::IdleTimeout => {
                self.set(["timeout", "1"], duration + Duration::from_secs(2), "0").await;
            }
            RedisFault::Restart => {
                block_in_place(|| leader.stop());
                sleep(duration / 2).await;
                block_in_place(|| leader.restart());
            }
            RedisFault::Kill => {
                block_in_place(|| leader.kill());
                sleep(duration / 2).await;
                block_in_place(|| leader.restart());
            }
            RedisFault::Pause => {
                block_in_place(|| leader.pause());
                sleep(duration).await;
                block_in_place(|| leader.resume());
            }
            RedisFault::SlowCommand => {
                let seconds = duration.as_secs_f32().to_string();
                command(leader, &["DEBUG", "SLEEP", &seconds]);
            }
            RedisFault::BusyScript => self.run_endless_script(leader, duration).await,
            RedisFault::FullMemory => self.set(["maxmemory", "1"], duration, "0").await,
            RedisFault::FewReplicas => {
                self.set(["min-replicas-to-write", "3"], duration, "0").await;
            }
            RedisFault::FullDisk => {
                block_in_place(|| leader.fill_disk());
                sleep(duration).await;
                block_in_place(|| leader.free_disk());
            }
            RedisFault::ClockAhead => step(&self.clock, STEP, duration).await,
            RedisFault::ClockBehind => step(&self.clock, -STEP, duration).await,
            RedisFault::ScriptFlush => command(leader, &["SCRIPT", "FLUSH"]),
            RedisFault::Flush => command(leader, &["FLUSHALL"]),
            RedisFault::Evict => self.evict(leader),
        }
    }

    async fn set(&self, [setting, value]: [&str; 2], duration: Duration, default: &str) {
        let (leader, _) = self.roles();
        command(leader, &["CONFIG", "SET", setting, value]);
        sleep(duration).await;
        command(leader, &["CONFIG", "SET", setting, default]);
    }

    /// Makes the replica the leader. `FAILOVER` waits until the replica has all data, so that no
    /// write is lost.
    async fn fail_over(&self) {
        self.wait_for_replica().await;
        let (leader, replica) = self.roles();
        let address = replica.address();
        let (host, port) =
            address.split_once(':').expect("the address should have a host and a port");
        command(leader, &["FAILOVER", "TO", host, port]);
        until("the replica is the leader", || {
            let info: String = replica.try_command(&["INFO", "replication"]).unwrap_or_default();
            info.contains("role:master")
        })
        .await;
        self.leader.fetch_xor(1, Ordering::Relaxed);
        self.name.lead_to(&address);
    }

    async fn run_endless_script(&self, leader: &Redis, duration: Duration) {
        command(leader, &["CONFIG", "SET", "busy-reply-threshold", "100"]);
        let url = leader.url().to_owned();
        let script = tokio::task::spawn_blocking(move || {
            let mut connection = redis::Client::open(url)?.get_connection()?;
            redis::cmd("EVAL").arg(&["while true do end", "0"]).exec(&mut connection)
        });
        sleep(duration).await;
        while !script.is_finished() {
            let _ = block_in_place(|| leader.try_command::<()>(&["SCRIPT", "KILL"]));
            sleep(Duration::from_millis(20)).await;
        }
        command(leader, &["CONFIG", "SET", "busy-reply-threshold", "5000"]);
    }

    fn evict(&self, leader: &Redis) {
        for _ in 0..20 {
            let key: Option<Vec<u8>> = block_in_place(|| leader.command(&["RANDOMKEY"]));
            let key = key.and_then(|key| String::from_utf8(key).ok());
            key.into_iter().for_each(|key| command(leader, &["UNLINK", &key]));
        }
    }
}

fn command(server: &Redis, words: &[&str]) {
    block_in_place(|| server.command::<redis::Value>(words));
}

fn follow(server: &Redis, leader: &Redis) {
    let address = leader.address();
    let (host, port) = address.split_once(':').expect("the address should have a host and a port");
    server.command::<()>(&["REPLICAOF", host, port]);
}

/// Waits until `ready` returns true. `ready` may block, for example while it asks a server.
pub async fn until(description: &str, mut ready: impl FnMut() -> bool + Send) {
    let start = Instant::now();
    while !block_in_place(&mut ready) {
        assert!(start.elapsed() < LONG_TIMEOUT, "timed out while waiting until {description}");
        sleep(Duration::from_millis(10)).await;
    }
}
