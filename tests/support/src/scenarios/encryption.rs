//! An application with encrypted fields, and the bytes in its store.

use std::{error::Error as _, fmt::Debug, sync::Arc};

use axum::{Router, extract::Path, routing::get};
use ruts::{
    Error, Session, SessionLayer,
    auth::PrincipalKey,
    codec::CodecError,
    crypto::KeyRing,
    session,
    store::{PageRequest, Projection, Store},
};
use tokio::sync::mpsc;

use crate::{ClientExt, new_client};

/// The value of every encrypted field.
pub const PLAINTEXT: &str = "1 Infinite Loop";
/// The first encryption secret.
pub const FIRST_SECRET: &str = "a secret from the vault, 32 bytes";
/// The encryption secret that replaces it.
pub const SECOND_SECRET: &str = "the secret that came after it, 38 bytes";

#[session]
pub struct Shop {
    #[field(principal)]
    user: String,
    #[field(encrypt, ttl = "1h")]
    address: String,
    #[field(encrypt, default, rename = "visits")]
    visits: u32,
    #[field(encrypt, once)]
    note: String,
    open: String,
}

/// The same field without encryption.
#[session]
pub struct Unencrypted {
    address: String,
}

/// The same field in a different version.
#[session]
pub struct NextVersion {
    #[field(encrypt, version = 2, migrate(1 => discard))]
    address: String,
}

/// Returns the value as text, or the codec's error.
fn text<T: Debug>(read: Result<T, Error>) -> String {
    match read {
        Ok(value) => format!("{value:?}"),
        Err(error) => match error.source().and_then(|source| source.downcast_ref::<CodecError>()) {
            Some(codec) => format!("{codec:?}"),
            None => format!("{error:?}"),
        },
    }
}

async fn sign_in(shop: Shop, Path(user): Path<String>) -> Result<(), Error> {
    shop.set_user(&user).await
}

async fn read_all(shop: Shop) -> String {
    text(shop.load().await.map(|all| (all.address, all.visits, all.open)))
}

async fn read_from_map(session: Session) -> Result<String, Error> {
    let map = session.get_all().await?.expect("the session should exist");
    Ok(text(map.read(Shop::ADDRESS)))
}

async fn visit(shop: &Shop) -> String {
    let visit = shop.visits().update(|visits| {
        *visits += 1;
        *visits
    });
    text(visit.await)
}

async fn write_and_visit(shop: Shop) -> Result<String, Error> {
    shop.set_visits(&7).await?;
    Ok(visit(&shop).await)
}

async fn edit(shop: Shop) -> String {
    let edit = shop.edit().address(PLAINTEXT).note(PLAINTEXT).open("for all to see");
    text(edit.commit().await)
}

async fn list(shop: Shop) -> Result<String, Error> {
    let sessions = shop.session().sessions().await?.expect("a principal should be signed in");
    let page = sessions.list((Shop::ADDRESS, Shop::OPEN), None, 1).await?;
    let fields = &page.sessions[0].fields;
    Ok(text(fields.read(Shop::ADDRESS)) + &text(fields.read(Shop::OPEN)))
}

/// Returns the routes of the application.
pub fn routes() -> Router {
    Router::new()
        .route("/in/{user}", get(sign_in))
        .route("/write", get(|shop: Shop| async move { text(shop.set_address(PLAINTEXT).await) }))
        .route("/read", get(|shop: Shop| async move { text(shop.address().await) }))
        .route("/all", get(read_all))
        .route("/map", get(read_from_map))
        .route(
            "/untyped",
            get(|session: Session| async move { text(session.get::<String>("address").await) }),
        )
        .route(
            "/untyped/write",
            get(|session: Session| async move {
                text(session.set("address", PLAINTEXT, None, None).await)
            }),
        )
        .route("/visit", get(|shop: Shop| async move { visit(&shop).await }))
        .route("/write-and-visit", get(write_and_visit))
        .route("/edit", get(edit))
        .route("/note", get(|shop: Shop| async move { text(shop.note().take().await) }))
        .route("/list", get(list))
}

/// Returns the routes of a release without encryption.
fn plain_routes() -> Router {
    Router::new()
        .route(
            "/plain/write",
            get(|plain: Unencrypted| async move { text(plain.set_address(PLAINTEXT).await) }),
        )
        .route("/plain/read", get(|plain: Unencrypted| async move { text(plain.address().await) }))
}

/// Returns the routes of a release with a different version.
fn next_routes() -> Router {
    Router::new()
        .route("/next/read", get(|next: NextVersion| async move { text(next.address().await) }))
}

/// Returns the application with these secrets, the current one first. Without secrets, it has no
/// key ring.
pub fn app<S: Store>(store: &Arc<S>, secrets: &[&str]) -> Router {
    let layer = || match (SessionLayer::new(Arc::clone(store)), secrets) {
        (layer, []) => layer,
        (layer, secrets) => layer.encryption_keys(KeyRing::new(secrets).unwrap()),
    };
    // Each router has a layer of its own, because their schemas conflict.
    routes().layer(layer()).merge(plain_routes().layer(layer())).merge(next_routes().layer(layer()))
}

/// Returns all bytes that a store holds for the only session of a principal.
async fn stored_bytes<S: Store>(store: &S, principal: &PrincipalKey) -> Vec<u8> {
    let page = PageRequest::new(None, 2);
    let found = store.list_by_principal(principal, page, Projection::All).await.unwrap();
    let [session] = &found.sessions[..] else {
        panic!("the principal should have one session: {found:?}")
    };
    session.loaded.fields.iter().flat_map(|field| field.value.to_vec()).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Checks that every access reads and writes encrypted fields, while the store holds no plaintext
/// of them.
pub async fn a_store_holds_no_plaintext<S: Store>(store: &Arc<S>) {
    let (send, mut principals) = mpsc::unbounded_channel();
    let principal = move |session: Session| async move {
        send.send(session.signed_in().await.unwrap().unwrap().principal).unwrap();
    };
    let layer = SessionLayer::new(Arc::clone(store));
    let layer = layer.encryption_keys(KeyRing::new([FIRST_SECRET]).unwrap());
    let client = new_client(routes().route("/principal", get(principal)).layer(layer));
    let plaintext = format!("Some({PLAINTEXT:?})");
    // The first write creates the session, or finds the one that the sign-in created.
    for sign_in_first in [false, true] {
        let client = client.stranger();
        let sign_in = format!("/in/{sign_in_first}");
        if sign_in_first {
            client.text(&sign_in).await;
        }
        assert_eq!(client.text("/edit").await, "()");
        if !sign_in_first {
            client.text(&sign_in).await;
        }
        assert_eq!(client.text("/visit").await, "1");
        assert_eq!(client.text("/visit").await, "2");
        for path in ["/read", "/untyped", "/map"] {
            assert_eq!(client.text(path).await, plaintext, "{path}");
        }
        assert_eq!(client.text("/untyped/write").await, "()");
        assert_eq!(client.text("/read").await, plaintext);
        let all = format!("(Some({PLAINTEXT:?}), 2, Some(\"for all to see\"))");
        assert_eq!(client.text("/all").await, all);

        client.text("/principal").await;
        let stored = stored_bytes(&**store, &principals.recv().await.unwrap()).await;
        assert!(contains(&stored, "for all to see"));
        let is_plain = contains(&stored, PLAINTEXT) || contains(&stored, &PLAINTEXT[..6]);
        assert!(!is_plain, "the store should hold no plaintext: {stored:?}");
        assert_eq!(client.text("/note").await, plaintext);
        assert_eq!(client.text("/note").await, "None");
        assert_eq!(client.text("/write-and-visit").await, "8");
        assert_eq!(client.text("/list").await, format!("{plaintext}Some(\"for all to see\")"));
    }
}
