//! Lifts sessions of ruts 0.13, as published in the registry, from Redis and PostgreSQL.

use std::sync::Arc;

use axum::{
    Form, Router,
    routing::{get, post},
};
use fred::{clients::Pool, interfaces::ClientLike, types::config::Config};
use ruts_lift::Ruts013;
use tower_cookies::CookieManagerLayer;
use upstream::{
    CookieOptions, Session, SessionLayer,
    store::{SessionStore, Ttl, postgres::PostgresStoreBuilder, redis::RedisStore},
};

use crate::{
    postgres, redis,
    scenarios::{Item, Programs, User, page},
};

fn program<S: SessionStore>(store: S) -> Router {
    let options = CookieOptions::build().name("id").http_only(true).secure(true).path("/");
    Router::new()
        .route("/show", get(show::<S>))
        .route("/sign-in", post(sign_in::<S>))
        .route("/sign-out", post(sign_out::<S>))
        .route("/add", post(add::<S>))
        .layer(SessionLayer::new(Arc::new(store)).with_cookie_options(options.max_age(3600)))
        .layer(CookieManagerLayer::new())
}

fn hour() -> Ttl {
    Ttl::new(3600).unwrap()
}

async fn show<S: SessionStore>(session: Session<S>) -> String {
    let cart: Option<Vec<String>> = session.get("cart").await.unwrap();
    page(session.get("user").await.unwrap(), &cart.unwrap_or_default())
}

async fn sign_in<S: SessionStore>(session: Session<S>, Form(User { name }): Form<User>) {
    session.prepare_regenerate();
    session.set("user", &name, hour(), None).await.unwrap();
}

async fn sign_out<S: SessionStore>(session: Session<S>) {
    session.delete().await.unwrap();
}

async fn add<S: SessionStore>(session: Session<S>, Form(Item { item }): Form<Item>) {
    let mut cart: Vec<String> = session.get("cart").await.unwrap().unwrap_or_default();
    cart.push(item);
    session.set("cart", &cart, hour(), None).await.unwrap();
}

fn old<S: SessionStore>(store: S) -> Ruts013<S> {
    Ruts013::new(store).field::<String>("user").field::<Vec<String>>("cart")
}

#[tokio::test]
async fn from_redis() {
    let (server, store) = redis().await;
    let pool = Pool::new(Config::from_url(server.url()).unwrap(), None, None, None, 2).unwrap();
    pool.init().await.unwrap();
    let upstream = RedisStore::new(Arc::new(pool)).await.unwrap();
    let programs = Programs::new(store, program(upstream.clone()), "id", old(upstream));
    programs.check().await;
}

#[tokio::test]
async fn from_postgres() {
    let (server, store, schema) = postgres().await;
    let pool = sqlx_08::PgPool::connect(server.url()).await.unwrap();
    let builder = PostgresStoreBuilder::new(pool).create_table(true);
    let builder = builder.table_name(format!("old_{}", schema.name())).unwrap();
    let upstream = builder.build().await.unwrap();
    let programs = Programs::new(store, program(upstream.clone()), "id", old(upstream));
    programs.check().await;
}
