#![allow(missing_docs, reason = "tests")]

//! Users alternate between an old program on a published library and a new one on ruts, over the
//! servers of both.

mod axum_session;
#[path = "../../../ruts-lift/tests/lift/old_program.rs"]
mod old_program;
mod ruts_013;
#[path = "../../../ruts-lift/tests/lift/scenarios.rs"]
mod scenarios;
mod tower_sessions;

use std::sync::Arc;

use ruts::store::{postgres::PostgresStore, redis::RedisStore};
use ruts_tests_stores::{
    backends::{fred_pool, postgres_on, redis_store},
    servers::{Flavour, Postgres, Redis},
};

/// Returns a server that no other test uses, because an old program uses the whole server. Also
/// returns the store of the new program.
async fn redis() -> (Redis, Arc<RedisStore<fred::clients::Pool>>) {
    let server = Redis::start(Flavour::Redis, &[]);
    let store = redis_store(fred_pool(server.url()).await, &server.prefix());
    (server, Arc::new(store))
}

/// Returns the shared PostgreSQL server, the store of the new program, and a schema for the old
/// one.
async fn postgres() -> (&'static Postgres, Arc<PostgresStore>, ruts_tests_stores::servers::Schema) {
    let server = Postgres::shared();
    let (store, _pool, schema) = postgres_on(server).await;
    (server, Arc::new(store), schema)
}
