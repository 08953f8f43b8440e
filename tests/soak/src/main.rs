//! Puts each store under load while its servers fail over, stop responding, fill up, restart and
//! get different settings. Checks every answer against a history.
//!
//! ```text
//! cargo run -p soak -- [--seconds 3600] [--seed 7] [--only postgres]
//! ```
//!
//! The systems run at the same time, each on servers of its own. A seed repeats the faults, their
//! order and the choices of the load, but not how they interleave. Valkey, PostgreSQL and MariaDB
//! have clocks of their own, which two of the faults move forward and back.
//!
//! The exit status is 1 if a promise was broken, or if a store did not recover from a fault.

mod clock;
mod cluster_servers;
mod fault;
mod history;
mod load;
mod mysql_server;
mod network;
mod postgres_server;
mod redis_servers;
mod report;
mod run;
mod sqlite_file;
mod system;

use std::{process::ExitCode, time::Duration};

use ruts_tests_support::random;
use tokio::task::JoinSet;

use crate::{
    run::run,
    system::{
        cluster_through_redis_rs, layered, mysql, postgres, redis_through_fred,
        redis_through_redis_rs, sqlite, valkey_through_fred,
    },
};

const USAGE: &str = "soak [--seconds NUMBER] [--seed NUMBER] [--only SYSTEM]";

/// The arguments of the program.
struct Options {
    time: Duration,
    seed: u64,
    only: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let seed = u64::from_le_bytes(random());
        let mut options = Self { time: Duration::from_secs(3600), seed, only: None };
        while let Some(word) = words.next() {
            let value = words.next()?;
            match &*word {
                "--seconds" => options.time = Duration::from_secs(value.parse().ok()?),
                "--seed" => options.seed = value.parse().ok()?,
                "--only" => options.only = Some(value),
                _ => return None,
            }
        }
        Some(options)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let Some(Options { time, seed, only }) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed {seed}, {} s", time.as_secs());
    let mut runs = JoinSet::new();
    macro_rules! start {
        ($($system:ident),+) => {
            $(if only.as_ref().is_none_or(|only| only == stringify!($system)) {
                runs.spawn(async move {
                    run(stringify!($system), $system().await, seed, time).await
                });
            })+
        };
    }
    start!(
        redis_through_fred,
        redis_through_redis_rs,
        valkey_through_fred,
        cluster_through_redis_rs,
        postgres,
        layered,
        mysql,
        sqlite
    );
    if runs.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let (mut violations, mut panics) = (0, 0);
    while let Some(run) = runs.join_next().await {
        match run {
            Ok(summary) => violations += summary.violations,
            Err(_) => panics += 1,
        }
    }
    println!("seed {seed}: {violations} violations, {panics} systems panicked");
    ExitCode::from(u8::from(violations + panics > 0))
}
