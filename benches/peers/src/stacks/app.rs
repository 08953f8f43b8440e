//! An app on a stack, its backend, and the values that it writes.
//!
//! Used by every stack and every measurement. Does not know the stacks.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::sync::Notify;

/// Names of the five small fields.
pub(super) const NAMES: &[&str] = &["a", "b", "c", "d", "e"];

/// Returns 16 bytes that were never written before. Some stacks do not write an unchanged value.
pub(super) fn small_value() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) static LARGE_VALUE: LazyLock<String> = LazyLock::new(|| "x".repeat(1024));

/// Holds the slow request until a measurement resumes it.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) reached: Arc<Notify>,
    pub(crate) resume: Arc<Notify>,
}

impl Gate {
    /// Waits until the measurement resumes the request.
    pub(super) async fn pass(&self) {
        self.reached.notify_one();
        self.resume.notified().await;
    }
}

/// An app on one stack.
pub(crate) struct App {
    /// Name of the stack.
    pub(crate) stack: &'static str,
    pub(crate) router: Router,
    pub(crate) gate: Gate,
}

/// The servers behind a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Redis,
    /// Redis through redis-rs. axum_session is the only peer that uses it, over a pool of its own.
    RedisRs,
    Postgres,
    /// Redis as the cache of PostgreSQL.
    Layered,
}

impl Backend {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memory, Self::Redis, Self::RedisRs, Self::Postgres, Self::Layered];

    /// Returns the argument that selects the backend.
    pub(crate) const fn argument(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::RedisRs => "redis-rs",
            Self::Postgres => "postgres",
            Self::Layered => "layered",
        }
    }

    /// Returns the name in a report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "Redis",
            Self::RedisRs => "Redis through redis-rs",
            Self::Postgres => "PostgreSQL",
            Self::Layered => "Redis over PostgreSQL",
        }
    }
}

/// URLs of the servers.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(crate) redis: String,
    pub(crate) postgres: String,
    /// Number of connections of each stack to each server.
    pub(crate) connections: u32,
}

impl Servers {
    pub(super) async fn fred(&self) -> fred::clients::Pool {
        use fred::{clients::Pool, interfaces::ClientLike, types::config::Config};
        let config = Config::from_url(&self.redis).expect("the URL should be valid");
        let size = self.connections as usize;
        let pool = Pool::new(config, None, None, None, size).expect("the size should not be zero");
        pool.init().await.expect("Redis should be up");
        pool
    }

    pub(super) async fn sqlx(&self) -> sqlx::PgPool {
        sqlx::postgres::PgPoolOptions::new()
            .max_connections(self.connections)
            .test_before_acquire(false)
            .connect(&self.postgres)
            .await
            .expect("PostgreSQL should be up")
    }

    /// Connects with the former sqlx, for the stacks that do not use 0.9.
    pub(super) async fn former_sqlx(&self) -> tower_sessions_sqlx_store::sqlx::PgPool {
        tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .connect(&self.postgres)
            .await
            .expect("PostgreSQL should be up")
    }
}
