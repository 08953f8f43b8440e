#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! The door, with sessions in Redis.

use axum::http::StatusCode;
use ruts_tests::{
    Browser,
    backends::{fred_client, redis_store},
    servers::{Flavour, Redis},
};

#[tokio::test]
async fn it_answers_three_knocks() {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let store = redis_store(fred_client(server.url()).await, &prefix);
    let browser = Browser::new(redis_example::app(store)).on_host("localhost");
    for _ in 0..3 {
        assert_eq!(browser.post("/knock", "").await.body, "Who is there?\n");
    }
    assert_eq!(browser.post("/knock", "").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(browser.text("/").await, "A door. You knocked 4 times just now, 4 times in all.\n");
}
