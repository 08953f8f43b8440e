//! Servers that tests start: Redis, Valkey, Redis Cluster, Sentinel, PostgreSQL and PgBouncer.
//!
//! Each listens on a free loopback port and has a folder of its own. Both are gone when the test
//! process ends, in whatever way it ends. `scripts/servers` finds or downloads the programs.
//!
//! `REDIS_URL`, `VALKEY_URL` and `DATABASE_URL` name servers that tests share in place of their
//! own. A test that stops, pauses or fills a server always starts one.

mod cluster;
mod pgbouncer;
mod postgres;
mod process;
mod redis;
mod sentinel;

pub use self::{
    cluster::Cluster,
    pgbouncer::PgBouncer,
    postgres::{Postgres, Schema},
    process::free_port,
    redis::{Flavour, Prefix, Redis},
    sentinel::Sentinel,
};
