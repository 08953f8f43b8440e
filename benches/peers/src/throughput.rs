//! Requests a second with 64 in flight, as a share of what the bare driver does, taking turns.

use std::time::Instant;

use axum::{Router, routing::get};
use fred::{clients::Pool, interfaces::HashesInterface};
use ruts_tests::servers::Redis;
use tokio::task::JoinSet;

use crate::{
    client::Visitor,
    stacks::{self, NAMES, small},
};

const IN_FLIGHT: usize = 64;
const REQUESTS: usize = 12_800;
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 8;

/// The bare driver in a bare router.
async fn floor(url: &str) -> Router {
    let pool = stacks::pool(url, CONNECTIONS).await;
    let fields = || NAMES.map(|name| (name, small())).to_vec();
    pool.hset::<(), _, _>("floor", fields()).await.expect("the server is there");
    let read = |names: &'static [&'static str]| {
        let pool: Pool = pool.clone();
        get(move || async move {
            let found: Vec<Option<String>> =
                pool.hmget("floor", names.to_vec()).await.expect("the server is there");
            found.iter().flatten().count().to_string()
        })
    };
    let write = {
        let pool = pool.clone();
        get(move || async move {
            pool.hset::<(), _, _>("floor", fields()).await.expect("the server is there");
        })
    };
    Router::new()
        .route("/begin", get(|| async {}))
        .route("/read1", read(&NAMES[..1]))
        .route("/read5", read(&NAMES))
        .route("/write5", write)
}

async fn per_second(app: &Router, path: &'static str) -> f64 {
    let mut visitors = Vec::new();
    for _ in 0..IN_FLIGHT {
        let mut visitor = Visitor::new(app);
        visitor.text("/begin").await;
        visitors.push(visitor);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut visitor in visitors {
        tasks.spawn(async move {
            for _ in 0..REQUESTS / IN_FLIGHT {
                visitor.text(path).await;
            }
        });
    }
    tasks.join_all().await;
    REQUESTS as f64 / begun.elapsed().as_secs_f64()
}

pub(crate) async fn print(server: &Redis) {
    let floor = floor(server.url()).await;
    let stacks = stacks::all(server.url(), CONNECTIONS).await;
    println!(
        "| what | floor, requests a second | stack | share of the floor (least to most of {ROUNDS}) |"
    );
    println!("| --- | --- | --- | --- |");
    for (what, path) in
        [("read 1 field", "/read1"), ("read 5 fields", "/read5"), ("write 5 fields", "/write5")]
    {
        let mut shares: Vec<Vec<f64>> = stacks.iter().map(|_| Vec::new()).collect();
        let mut floors = Vec::new();
        for _ in 0..ROUNDS {
            let bare = per_second(&floor, path).await;
            floors.push(bare);
            for (stack, shares) in stacks.iter().zip(&mut shares) {
                shares.push(per_second(&stack.app, path).await / bare);
            }
        }
        floors.sort_by(f64::total_cmp);
        for (stack, shares) in stacks.iter().zip(&mut shares) {
            shares.sort_by(f64::total_cmp);
            println!(
                "| {what} | {:.0} | {} | {:.2} ({:.2} to {:.2}) |",
                floors[ROUNDS / 2],
                stack.name,
                shares[ROUNDS / 2],
                shares[0],
                shares[ROUNDS - 1],
            );
        }
    }
}
