#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! The desk, with sessions in PostgreSQL, read through Redis.

use axum::http::StatusCode;
use ruts_tests::{Browser, backends::redis_over_postgres};

#[tokio::test]
async fn a_day_at_the_desk() {
    let pair = redis_over_postgres().await;
    // Two processes behind one address.
    let [one, other] =
        [pair.next(), pair.next()].map(|store| layered_example::app((*store).clone()));
    let door = Browser::new(one).on_host("localhost");
    assert_eq!(door.text("/").await, "Nobody is here.\n");
    assert_eq!(door.post("/sign-in", "name=Ada").await.body, "Good morning, Ada.\n");
    for guest in 1..=3 {
        let welcome = format!("Guest {guest}, welcome.\n");
        assert_eq!(door.post("/guest", "").await.body, welcome);
    }
    assert_eq!(door.post("/safe", "").await.status, StatusCode::OK);
    let window = door.steal().after_a_restart(other);
    assert_eq!(window.text("/").await, "Ada has seen to 3 guests.\n");

    assert_eq!(door.post("/sign-out", "").await.body, "Good night.\n");
    assert_eq!(window.text("/").await, "Nobody is here.\n");
    assert_eq!(window.post("/safe", "").await.status, StatusCode::FORBIDDEN);
    let bob = window.stranger();
    assert_eq!(bob.post("/sign-in", "name=Bob").await.body, "Good morning, Bob.\n");
    assert_eq!(bob.post("/safe", "").await.status, StatusCode::FORBIDDEN);
}
