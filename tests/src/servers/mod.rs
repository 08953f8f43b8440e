//! Servers of the tests' own: Redis, Valkey, Redis Cluster, PostgreSQL, PgBouncer, on free loopback
//! ports, in folders of their own, gone when the test process is, however it ends.
//!
//! `scripts/servers` finds or gets the programs. `REDIS_URL`, `VALKEY_URL` and `DATABASE_URL` name
//! servers to use instead where tests only need one that works; tests that stop, pause or starve a
//! server always start their own.

mod cluster;
mod pgbouncer;
mod postgres;
mod process;
mod redis;

pub use self::{
    cluster::Cluster,
    pgbouncer::PgBouncer,
    postgres::{Postgres, Schema},
    process::free_port,
    redis::{Flavour, Prefix, Redis},
};
