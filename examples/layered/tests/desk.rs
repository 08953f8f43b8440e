#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Tests the desk with sessions in PostgreSQL, read through Redis.

use axum::http::StatusCode;
use ruts_tests_stores::backends::redis_over_postgres;
use ruts_tests_support::{ClientExt, new_client_on};

#[tokio::test]
async fn a_day_at_the_desk() {
    let pair = redis_over_postgres().await;
    // Two processes behind one address.
    let [first, other] = [pair.next(), pair.next()]
        .map(|store| new_client_on("localhost", layered_example::app((*store).clone())));
    assert_eq!(first.text("/").await, "The desk is empty.\n");
    assert_eq!(first.post("/sign-in", "name=Ada").await.text(), "Good morning, Ada.\n");
    for guest in 1..=3 {
        let welcome = format!("Guest {guest}, welcome.\n");
        assert_eq!(first.post("/guest", "").await.text(), welcome);
    }
    assert_eq!(first.post("/safe", "").await.status, StatusCode::OK);
    let second = first.steal().after_a_restart(&other);
    assert_eq!(second.text("/").await, "Ada has served 3 guests.\n");

    assert_eq!(first.post("/sign-out", "").await.text(), "Good night.\n");
    assert_eq!(second.text("/").await, "The desk is empty.\n");
    assert_eq!(second.post("/safe", "").await.status, StatusCode::FORBIDDEN);
    let bob = second.stranger();
    assert_eq!(bob.post("/sign-in", "name=Bob").await.text(), "Good morning, Bob.\n");
    assert_eq!(bob.post("/safe", "").await.status, StatusCode::FORBIDDEN);
}
