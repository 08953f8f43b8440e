//! Servers that tests start: Redis, Valkey, Redis Cluster, Sentinel, PostgreSQL,
//! PgBouncer, MariaDB and MySQL.
//!
//! Each listens on a free loopback port and has a folder of its own. The server and its folder are
//! gone when the test process ends, even if it is killed. `scripts/servers` finds or downloads the
//! programs.
//!
//! `REDIS_URL`, `VALKEY_URL` and `DATABASE_URL` name servers for the tests that would otherwise
//! start a shared one. A test that stops, pauses or fills a server always starts one of its own.

mod clock;
mod cluster;
mod mysql;
mod pgbouncer;
mod postgres;
mod process;
mod redis;
mod sentinel;

pub use self::{
    clock::Clock,
    cluster::Cluster,
    mysql::{MySql, kill_others, mysql_options, unique_tables},
    pgbouncer::PgBouncer,
    postgres::{Postgres, Schema},
    process::free_port,
    redis::{Flavour, Prefix, Redis},
    sentinel::Sentinel,
};
