//! Connections that outlive their request, and end with their session.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Path, routing::get};
use ruts::{
    Error, Session, SessionLayer, session,
    session::SessionChange,
    store::{
        Store,
        notify::{Channel, NotifyingStore},
    },
    testing::Client,
    token::SessionId,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{ClientExt, LONG_TIMEOUT, new_client};

/// Less than the 5 seconds after which a watcher checks the session without a notification.
pub const PROMPT: Duration = Duration::from_secs(3);

/// Maximum number of attempts to see a connection end promptly. On a busy machine, some connections
/// end late.
const ATTEMPTS: usize = 8;

#[session]
pub struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

/// Returns the routes of the application. `/connect` answers when the session changes, with the
/// reason.
pub fn routes() -> Router {
    Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/sign-in/{user}",
            get(|shop: Shop, Path(user): Path<String>| async move { shop.set_user(&user).await }),
        )
        .route("/sign-out", get(|shop: Shop| async move { shop.user().remove().await.map(|_| ()) }))
        .route("/regenerate", get(|session: Session| async move { session.regenerate().await }))
        .route("/delete", get(|session: Session| async move { session.delete().await }))
        .route(
            "/connect",
            get(|session: Session| async move {
                Ok::<_, Error>(format!("{:?}", session.watch().await?.await))
            }),
        )
}

/// Paths that end a connection, and the reason that it reports.
pub const ENDINGS: [(&str, SessionChange); 3] = [
    ("/delete", SessionChange::Ended),
    ("/sign-in/bob", SessionChange::PrincipalChanged),
    ("/sign-out", SessionChange::PrincipalChanged),
];

/// Opens a connection, and checks that it stays open.
pub async fn connect(client: &Client) -> JoinHandle<String> {
    let client = client.clone();
    let mut connection = tokio::spawn(async move { client.text("/connect").await });
    assert_open(&mut connection).await;
    connection
}

/// Checks that a connection stays open.
pub async fn assert_open(connection: &mut JoinHandle<String>) {
    let ended = timeout(Duration::from_millis(100), connection).await;
    assert!(ended.is_err(), "the connection should stay open: {ended:?}");
}

/// Waits for the end of a connection, checks the reason, and returns the time that it took.
pub async fn assert_ends(connection: JoinHandle<String>, reason: SessionChange) -> Duration {
    let start = Instant::now();
    let ended =
        timeout(LONG_TIMEOUT, connection).await.expect("the connection should end").unwrap();
    assert_eq!(ended, format!("{reason:?}"));
    start.elapsed()
}

/// Checks that at least one of several attempts takes less than [`PROMPT`]. A check by the watcher
/// itself would take longer.
pub async fn assert_prompt(mut attempt: impl AsyncFnMut() -> Duration) {
    for _ in 0..ATTEMPTS {
        if attempt().await < PROMPT {
            return;
        }
    }
    panic!("some attempt should be faster than the watcher's own checks");
}

fn app<S: Store>(store: &Arc<S>) -> Client {
    new_client(routes().layer(SessionLayer::new(Arc::clone(store))))
}

/// Checks that a revocation through one store ends a connection through another one. Returns the
/// time that it took.
pub async fn a_revocation_ends_a_connection<S: Store>(one: &Arc<S>, other: &Arc<S>) -> Duration {
    let client = app(one);
    client.text("/sign-in/ada").await;
    let connection = connect(&client).await;
    let id: SessionId = client.token().unwrap()[..22].parse().unwrap();
    assert!(Shop::sessions(other).by_user("ada").revoke(&id).await.unwrap());
    assert_ends(connection, SessionChange::Ended).await
}

/// Checks that a channel promptly notifies watchers of one store of changes through another store.
pub async fn a_channel_announces_changes<S: Store, C: Channel>(stores: [S; 2], channels: [C; 2]) {
    let [one, other] = stores;
    let [here, there] = channels;
    let one = Arc::new(NotifyingStore::new(one, here));
    let other = Arc::new(NotifyingStore::new(other, there));
    assert_prompt(async || a_revocation_ends_a_connection(&one, &other).await).await;
    let (client, elsewhere) = (app(&one), app(&other));
    for (ending, reason) in ENDINGS {
        assert_prompt(async || {
            client.text("/sign-in/ada").await;
            let connection = connect(&client).await;
            let same = elsewhere.stranger();
            same.plant("__Host-id", &client.token().unwrap());
            same.text(ending).await;
            client.plant("__Host-id", "");
            assert_ends(connection, reason).await
        })
        .await;
    }
    assert_prompt(async || {
        client.text("/sign-in/ada").await;
        let connection = connect(&client).await;
        Shop::sessions(&other).revoke_everyone().await.unwrap();
        assert_ends(connection, SessionChange::Ended).await
    })
    .await;
}
