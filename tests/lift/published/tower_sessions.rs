//! Lifts sessions of tower-sessions 0.14 from Redis and PostgreSQL.

use fred::{clients::Pool, interfaces::ClientLike, types::config::Config};
use ruts_lift::TowerSessions;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_sqlx_store::PostgresStore;

use crate::{old_program::program, postgres, redis, scenarios::Programs};

#[tokio::test]
async fn from_redis() {
    let (server, store) = redis().await;
    let pool = Pool::new(Config::from_url(server.url()).unwrap(), None, None, None, 2).unwrap();
    pool.init().await.unwrap();
    let old = RedisStore::new(pool);
    let programs = Programs::new(store, program(old.clone()), "id", TowerSessions::new(old));
    programs.check().await;
}

#[tokio::test]
async fn from_postgres() {
    let (server, store, schema) = postgres().await;
    let pool = sqlx_08::PgPool::connect(server.url()).await.unwrap();
    let old = PostgresStore::new(pool).with_schema_name(schema.name()).unwrap();
    old.migrate().await.unwrap();
    let programs = Programs::new(store, program(old.clone()), "id", TowerSessions::new(old));
    programs.check().await;
}
