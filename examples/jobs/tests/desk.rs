#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Tests the orders of a user, and jobs in the same process and in a second one.

use std::{path::Path, sync::Arc};

use axum::http::StatusCode;
use jobs_example::{Desk, Order, app, export, notify, work};
use ruts::{Error, store::sqlite::SqliteStore, testing::Client};
use ruts_tests_support::new_client_on;
use tempfile::TempDir;
use tokio::sync::mpsc::{self, Receiver};

/// Opens the file once more, as another process does.
async fn open(folder: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::builder(folder.join("jobs.db")).build().await.unwrap())
}

/// A client that is signed in as ada, and the orders of its app.
async fn ada(store: &Arc<SqliteStore>) -> (Client, Receiver<Order>) {
    let (queue, orders) = mpsc::channel(1);
    let client = new_client_on("localhost", app(store, queue));
    client.post("/sign-in", "name=ada").await;
    (client, orders)
}

#[tokio::test]
async fn a_worker_writes_into_the_session_of_the_order() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let (client, orders) = ada(&store).await;
    assert_eq!(client.get("/").await.text(), "no export\n");
    assert_eq!(client.post("/export", "").await.status, StatusCode::ACCEPTED);
    assert_eq!(client.get("/").await.text(), "export: 0 of 3\n");
    let full = client.post("/export", "").await;
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);

    let worker = tokio::spawn(work(Desk::sessions(&store), orders));
    while client.get("/").await.text() != "export: /exports/ada.zip\n" {
        tokio::task::yield_now().await;
    }
    drop(client);
    worker.await.unwrap();
}

#[tokio::test]
async fn an_order_whose_session_has_ended_revives_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let (client, mut orders) = ada(&store).await;
    client.post("/export", "").await;
    let order = orders.recv().await.unwrap();
    client.post("/sign-out", "").await;

    let sessions = Desk::sessions(&store);
    assert!(matches!(export(&sessions, &order).await, Err(Error::Ended)));
    assert!(sessions.by_user("ada").list((), None, 10).await.unwrap().sessions.is_empty());
}

/// Before the export of ada is done, bob signs in with the same browser.
#[tokio::test]
async fn an_export_never_reaches_another_user() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let (client, mut orders) = ada(&store).await;
    client.post("/export", "").await;
    let order = orders.recv().await.unwrap();
    client.post("/sign-in", "name=bob").await;
    let done = export(&Desk::sessions(&store), &order).await;
    assert!(matches!(done, Err(Error::Ended)));
    assert_eq!(client.get("/").await.text(), "no export\n");
}

#[tokio::test]
async fn a_refused_order_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let (client, mut orders) = ada(&store).await;
    client.post("/export", "").await;
    let order = orders.recv().await.unwrap();
    export(&Desk::sessions(&store), &order).await.unwrap();
    drop(orders);
    assert_eq!(client.post("/export", "").await.status, 503);
    assert_eq!(client.get("/").await.text(), "export: /exports/ada.zip\n");
}

#[tokio::test]
async fn a_message_reaches_every_session_of_its_user_from_another_process() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let (phone, _orders) = ada(&store).await;
    let (desktop, _orders) = ada(&store).await;
    let other = desktop.stranger();
    other.post("/sign-in", "name=bob").await;

    let job = Desk::sessions(open(folder.path()).await);
    assert_eq!(notify(&job, "ada", "first").await.unwrap(), 2);
    assert_eq!(notify(&job, "ada", "second").await.unwrap(), 2);
    for client in [&phone, &desktop] {
        assert_eq!(client.get("/").await.text(), "first\nsecond\nno export\n");
        assert_eq!(client.get("/").await.text(), "no export\n");
    }
    assert_eq!(other.get("/").await.text(), "no export\n");
}
