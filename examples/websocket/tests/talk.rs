#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Tests that connections at one instance end after a sign-out at another instance.

use std::time::{Duration, Instant};

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
};
use futures_util::{SinkExt, StreamExt};
use ruts::store::notify::NotifyingStore;
use ruts_tests_stores::{
    backends::{fred_pool, redis_store},
    servers::{Flavour, Prefix, Redis},
};
use ruts_tests_support::new_client_on;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message, client::IntoClientRequest, error::Error, protocol::frame::coding::CloseCode,
    },
};

const COOKIE: &str = "dev-id";

/// An instance of the app, with connections of its own to the server.
async fn instance(server: &Redis, prefix: &Prefix) -> Router {
    let store = redis_store(fred_pool(server.url()).await, prefix);
    let pool = fred_pool(server.url()).await;
    let channel = ruts::store::redis::RedisChannel::new(pool, prefix.name());
    websocket_example::app(NotifyingStore::new(store, channel))
}

async fn connect(
    port: u16,
    cookie: &str,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
    let mut request = format!("ws://localhost:{port}/talk").into_client_request()?;
    let cookie = HeaderValue::try_from(format!("{COOKIE}={cookie}")).unwrap();
    request.headers_mut().insert(header::COOKIE, cookie);
    Ok(connect_async(request).await?.0)
}

#[tokio::test]
async fn a_connection_ends_with_its_session_at_another_instance() {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let (here, there) = (instance(server, &prefix).await, instance(server, &prefix).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(axum::serve(listener, here).into_future());
    let client = new_client_on("localhost", there);

    let mut times = Vec::new();
    for _ in 0..5 {
        client.post("/sign-in", "name=ada").await;
        let mut socket = connect(port, &client.cookie(COOKIE).unwrap()).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("ada: hello"));

        let start = Instant::now();
        client.post("/sign-out", "").await;
        let Some(Ok(Message::Close(Some(close)))) = socket.next().await else {
            panic!("the connection should end with a reason")
        };
        assert_eq!(close.code, CloseCode::Policy);
        times.push(start.elapsed());
    }
    // Without a notification, the watcher of the other instance checks every five seconds. The
    // fastest of five attempts counts, because other tests may keep the machine busy.
    let fastest = times.iter().min().unwrap();
    assert!(*fastest < Duration::from_millis(100), "{times:?}");
}

#[tokio::test]
async fn a_guest_opens_no_connection() {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = instance(server, &prefix).await;
    tokio::spawn(axum::serve(listener, app).into_future());
    let Err(Error::Http(response)) = connect(port, "none").await else {
        panic!("the connection of a guest should be refused")
    };
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
