use axum::{
    Router,
    routing::{MethodRouter, get},
};
use fred::interfaces::HashesInterface;
use sqlx::PgPool;

use super::{Backend, Gate, NAMES, Place, Stack, small};

pub(super) async fn stack(backend: Backend, place: &Place) -> Stack {
    let routes = match backend {
        Backend::Memory => [(); 4].map(|()| get(|| async { "5" })),
        Backend::Redis => redis(place).await,
        Backend::Postgres => postgres(place).await,
        Backend::Layered => {
            let [read1, read5, ..] = redis(place).await;
            let [.., write1, write5] = postgres(place).await;
            [read1, read5, write1, write5]
        }
    };
    let [read1, read5, write1, write5] = routes;
    let app = Router::new()
        .route("/nothing", get(|| async {}))
        .route("/begin", get(|| async {}))
        .route("/read1", read1)
        .route("/read5", read5)
        .route("/write1", write1)
        .route("/write5", write5);
    Stack { name: "floor", app, gate: Gate::default() }
}

/// Reads and writes of one and of five fields.
async fn redis(place: &Place) -> [MethodRouter; 4] {
    let pool = place.fred().await;
    let read = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move {
            let found: Vec<Option<String>> =
                pool.hmget("floor", names.to_vec()).await.expect("the server is there");
            found.iter().flatten().count().to_string()
        })
    };
    let write = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move {
            let fields: Vec<_> = names.iter().map(|name| (*name, small())).collect();
            pool.hset::<(), _, _>("floor", fields).await.expect("the server is there");
        })
    };
    [read(&NAMES[..1]), read(NAMES), write(&NAMES[..1]), write(NAMES)]
}

const TABLE: &str = "create table if not exists floor \
    (session bigint, name text, value bytea, primary key (session, name))";
const READ: &str = "select value from floor where session = 1 and name = any($1)";
const WRITE: &str = "insert into floor select 1, * from unnest($1::text[], $2::bytea[]) \
    on conflict (session, name) do update set value = excluded.value";

async fn put(pool: &PgPool, names: &[&str]) {
    let values: Vec<Vec<u8>> = names.iter().map(|_| small().into_bytes()).collect();
    let write = sqlx::query(WRITE).bind(names).bind(values).execute(pool);
    write.await.expect("the server is there");
}

async fn postgres(place: &Place) -> [MethodRouter; 4] {
    let pool = place.sqlx().await;
    sqlx::query(TABLE).execute(&pool).await.expect("the server is there");
    put(&pool, NAMES).await;
    let read = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move {
            let found: Vec<Vec<u8>> = sqlx::query_scalar(READ)
                .bind(names)
                .fetch_all(&pool)
                .await
                .expect("the server is there");
            found.len().to_string()
        })
    };
    let write = |names: &'static [&'static str]| {
        let pool = pool.clone();
        get(move || async move { put(&pool, names).await })
    };
    [read(&NAMES[..1]), read(NAMES), write(&NAMES[..1]), write(NAMES)]
}
