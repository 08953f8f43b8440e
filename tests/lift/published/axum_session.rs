//! Lifts sessions of axum_session 0.22 from Redis and PostgreSQL.

use std::{fmt, time::Duration};

use axum::{
    Form, Router,
    routing::{get, post},
};
use axum_session::{DatabasePool, Session, SessionConfig, SessionLayer, SessionStore};
use axum_session_redispool::SessionRedisPool;
use axum_session_sqlx::SessionPgPool;
use redis_pool::RedisPool;
use ruts_lift::AxumSessions;

use crate::{
    postgres, redis,
    scenarios::{Item, Programs, User, page},
};

/// Returns the old program. It keeps no sessions in memory, so that several processes can share
/// them.
async fn program<T>(pool: T, table: &str) -> Router
where
    T: DatabasePool + Clone + fmt::Debug + Send + Sync + 'static,
{
    let config = SessionConfig::default()
        .with_table_name(table.to_owned())
        .with_memory_lifetime(Duration::ZERO.try_into().unwrap());
    let store = SessionStore::<T>::new(Some(pool), config).await.unwrap();
    Router::new()
        .route("/show", get(show::<T>))
        .route("/sign-in", post(sign_in::<T>))
        .route("/sign-out", post(sign_out::<T>))
        .route("/add", post(add::<T>))
        .layer(SessionLayer::new(store))
}

async fn show<T>(session: Session<T>) -> String
where
    T: DatabasePool + Clone + fmt::Debug + Send + Sync + 'static,
{
    let cart: Vec<String> = session.get("cart").unwrap_or_default();
    page(session.get("user"), &cart)
}

async fn sign_in<T>(session: Session<T>, Form(User { name }): Form<User>)
where
    T: DatabasePool + Clone + fmt::Debug + Send + Sync + 'static,
{
    session.renew();
    session.set("user", name);
}

async fn sign_out<T>(session: Session<T>)
where
    T: DatabasePool + Clone + fmt::Debug + Send + Sync + 'static,
{
    session.destroy();
}

async fn add<T>(session: Session<T>, Form(Item { item }): Form<Item>)
where
    T: DatabasePool + Clone + fmt::Debug + Send + Sync + 'static,
{
    let mut cart: Vec<String> = session.get("cart").unwrap_or_default();
    cart.push(item);
    session.set("cart", cart);
}

#[tokio::test]
async fn from_redis() {
    let (server, store) = redis().await;
    let client = redis::Client::open(server.url()).unwrap();
    let pool = SessionRedisPool::from(RedisPool::new(client, 4, Some(4)));
    let old = AxumSessions::new(pool.clone(), "old");
    let programs = Programs::new(store, program(pool, "old").await, "session", old);
    programs.check().await;
}

#[tokio::test]
async fn from_postgres() {
    let (server, store, schema) = postgres().await;
    let pool = SessionPgPool::from(server.pool(4));
    let table = format!("old_{}", schema.name());
    let old = AxumSessions::new(pool.clone(), &table);
    let programs = Programs::new(store, program(pool, &table).await, "session", old);
    programs.check().await;
}
