//! The same app on each stack, over each backend.

mod axum_session;
mod floor;
mod ours;
mod routes;
mod tower_sessions;
mod upstream;

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::sync::Notify;

pub(crate) const NAMES: &[&str] = &["a", "b", "c", "d", "e"];

/// 16 bytes that were not written before: what has not changed, some stacks do not write.
pub(crate) fn small() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) static LARGE: LazyLock<String> = LazyLock::new(|| "x".repeat(1024));

/// Where a slow request stops, and what lets it go on.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) reached: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

impl Gate {
    pub(crate) async fn pass(&self) {
        self.reached.notify_one();
        self.go_on.notified().await;
    }
}

/// An app on a stack of its own.
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) app: Router,
    pub(crate) gate: Gate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Redis,
    Postgres,
    /// Redis before PostgreSQL.
    Layered,
}

impl Backend {
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Redis, Self::Postgres, Self::Layered];

    /// By which it is asked for.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Layered => "layered",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
            Self::Layered => "Redis over PostgreSQL",
        }
    }
}

/// Where the servers are, and how many connections each stack has to each.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) redis: String,
    pub(crate) postgres: String,
    pub(crate) connections: u32,
}

impl Place {
    async fn fred(&self) -> fred::clients::Pool {
        use fred::{clients::Pool, interfaces::ClientLike, types::config::Config};
        let config = Config::from_url(&self.redis).expect("the address of a server");
        let pool = Pool::new(config, None, None, None, self.connections as usize).expect("a pool");
        pool.init().await.expect("the server is there");
        pool
    }

    async fn sqlx(&self) -> sqlx::PgPool {
        sqlx::postgres::PgPoolOptions::new()
            .max_connections(self.connections)
            .test_before_acquire(false)
            .connect(&self.postgres)
            .await
            .expect("the server is there")
    }

    /// The sqlx of those that are not at 0.9 yet.
    async fn former_sqlx(&self) -> tower_sessions_sqlx_store::sqlx::PgPool {
        tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .connect(&self.postgres)
            .await
            .expect("the server is there")
    }
}

/// A router without sessions that asks the driver for as much; over memory, for nothing.
pub(crate) async fn floor(backend: Backend, place: &Place) -> Stack {
    floor::stack(backend, place).await
}

/// ruts alone.
pub(crate) async fn ours(backend: Backend, place: &Place) -> Stack {
    ours::stack(backend, place).await
}

/// All that have that backend, ruts first, each with its own connections.
pub(crate) async fn all(backend: Backend, place: &Place) -> Vec<Stack> {
    let mut stacks = vec![ours::stack(backend, place).await];
    stacks.extend(upstream::stack(backend, place).await);
    stacks.push(tower_sessions::stack(backend, place).await);
    stacks.extend(axum_session::stack(backend, place).await);
    stacks
}
