//! The floor: a router without sessions that calls the bare driver. Called by `build`.

use axum::{
    Router,
    routing::{MethodRouter, get},
};
use fred::interfaces::HashesInterface;
use sqlx::PgPool;

use super::app::{App, Backend, Gate, NAMES, Servers, small_value};

/// Builds the router.
pub(super) async fn app(backend: Backend, servers: &Servers) -> App {
    let routes = match backend {
        Backend::Memory => [(); 4].map(|()| get(|| async { "5" })),
        Backend::Redis => redis(servers).await,
        Backend::RedisRs => redis_rs(servers).await,
        Backend::Postgres => postgres(servers).await,
        Backend::Layered => {
            let [read1, read5, ..] = redis(servers).await;
            let [.., write1, write5] = postgres(servers).await;
            [read1, read5, write1, write5]
        }
    };
    let [read1, read5, write1, write5] = routes;
    let router = Router::new()
        .route("/nothing", get(|| async {}))
        .route("/begin", get(|| async {}))
        .route("/read1", read1)
        .route("/read5", read5)
        .route("/write1", write1)
        .route("/write5", write5);
    App { stack: "floor", router, gate: Gate::default() }
}

/// Returns the routes that read one field, read five, write one and write five.
async fn redis(servers: &Servers) -> [MethodRouter; 4] {
    let pool = servers.fred().await;
    let read = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move {
            let found: Vec<Option<String>> =
                pool.hmget("floor", names.to_vec()).await.expect("Redis should be up");
            found.iter().flatten().count().to_string()
        })
    };
    let write = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move {
            let fields: Vec<_> = names.iter().map(|name| (*name, small_value())).collect();
            pool.hset::<(), _, _>("floor", fields).await.expect("Redis should be up");
        })
    };
    [read(&NAMES[..1]), read(NAMES), write(&NAMES[..1]), write(NAMES)]
}

/// Returns the routes that read one field, read five, write one and write five.
async fn redis_rs(servers: &Servers) -> [MethodRouter; 4] {
    let client = redis::Client::open(servers.redis.as_str()).expect("the URL should be valid");
    let connection = client.get_multiplexed_async_connection().await.expect("Redis should be up");
    let read = |names: &'static [&'static str]| {
        let connection = connection.clone();
        get(move || async move {
            let command = redis::cmd("HMGET").arg("floor").arg(names).to_owned();
            let found: Vec<Option<String>> =
                command.query_async(&mut connection.clone()).await.expect("Redis should be up");
            found.iter().flatten().count().to_string()
        })
    };
    let write = |names: &'static [&'static str]| {
        let connection = connection.clone();
        get(move || async move {
            let fields: Vec<_> = names.iter().map(|name| (*name, small_value())).collect();
            let command = redis::cmd("HSET").arg("floor").arg(fields).to_owned();
            command.query_async::<()>(&mut connection.clone()).await.expect("Redis should be up");
        })
    };
    [read(&NAMES[..1]), read(NAMES), write(&NAMES[..1]), write(NAMES)]
}

const TABLE: &str = "create table if not exists floor \
    (session bigint, name text, value bytea, primary key (session, name))";
const READ: &str = "select value from floor where session = 1 and name = any($1)";
const WRITE: &str = "insert into floor select 1, * from unnest($1::text[], $2::bytea[]) \
    on conflict (session, name) do update set value = excluded.value";

async fn write_fields(pool: &PgPool, names: &[&str]) {
    let values: Vec<Vec<u8>> = names.iter().map(|_| small_value().into_bytes()).collect();
    let write = sqlx::query(WRITE).bind(names).bind(values).execute(pool);
    write.await.expect("PostgreSQL should be up");
}

/// Returns the routes that read one field, read five, write one and write five.
async fn postgres(servers: &Servers) -> [MethodRouter; 4] {
    let pool = servers.sqlx().await;
    sqlx::query(TABLE).execute(&pool).await.expect("PostgreSQL should be up");
    write_fields(&pool, NAMES).await;
    let read = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move {
            let found: Vec<Vec<u8>> = sqlx::query_scalar(READ)
                .bind(names)
                .fetch_all(&pool)
                .await
                .expect("PostgreSQL should be up");
            found.len().to_string()
        })
    };
    let write = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move { write_fields(&pool, names).await })
    };
    [read(&NAMES[..1]), read(NAMES), write(&NAMES[..1]), write(NAMES)]
}
