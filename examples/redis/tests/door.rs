#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Tests the door with sessions in Redis.

use axum::http::StatusCode;
use ruts_tests_stores::{
    backends::{fred_client, redis_store},
    servers::{Flavour, Redis},
};
use ruts_tests_support::{ClientExt, new_client_on};

#[tokio::test]
async fn a_door_answers_three_knocks() {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let store = redis_store(fred_client(server.url()).await, &prefix);
    let client = new_client_on("localhost", redis_example::app(store));
    for _ in 0..3 {
        assert_eq!(client.post("/knock", "").await.text(), "Who is there?\n");
    }
    assert_eq!(client.post("/knock", "").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(client.text("/").await, "A door. You knocked 4 times just now, 4 times in all.\n");
}
