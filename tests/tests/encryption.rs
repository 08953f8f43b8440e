//! Fields that are encrypted at rest: what a store gets to see, on every store, and what becomes of
//! values that were moved, planted or written with another key.

use std::{error::Error as _, sync::Arc};

use axum::{Router, extract::Path, routing::get};
use ruts::{
    CodecError, Error, KeyRing, PrincipalKey, Session, SessionLayer, session,
    store::{PageRequest, Projection, Store, memory::MemoryStore},
};
use ruts_tests::{Browser, backends, servers::Postgres};
use sqlx::AssertSqlSafe;
use tokio::sync::mpsc;

const PLAIN: &str = "1 Infinite Loop";
const OLD: &str = "a secret from the vault, 32 bytes";
const NEW: &str = "the secret that came after it, 38 bytes";

#[session]
struct Shop {
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

/// The same names, without the promise.
#[session]
struct Before {
    address: String,
}

/// The same names, in another version.
#[session]
struct Later {
    #[field(encrypt, version = 2)]
    address: String,
}

fn said(error: &Error) -> String {
    match error.source().and_then(|source| source.downcast_ref::<CodecError>()) {
        Some(codec) => format!("{codec:?}"),
        None => format!("{error:?}"),
    }
}

fn text<T: std::fmt::Debug>(read: Result<T, Error>) -> String {
    read.map_or_else(|error| said(&error), |value| format!("{value:?}"))
}

fn routes() -> Router {
    Router::new()
        .route(
            "/in/{user}",
            get(|shop: Shop, Path(user): Path<String>| async move { shop.set_user(&user).await }),
        )
        .route("/write", get(|shop: Shop| async move { text(shop.set_address(PLAIN).await) }))
        .route("/read", get(|shop: Shop| async move { text(shop.address().await) }))
        .route(
            "/all",
            get(|shop: Shop| async move {
                text(shop.load().await.map(|all| (all.address, all.visits, all.open)))
            }),
        )
        .route(
            "/map",
            get(|session: Session| async move {
                let map = session.get_all().await?.expect("there is a session");
                Ok::<_, Error>(text(map.read(Shop::ADDRESS)))
            }),
        )
        .route(
            "/untyped",
            get(|session: Session| async move { text(session.get::<String>("address").await) }),
        )
        .route(
            "/visit",
            get(|shop: Shop| async move {
                text(
                    shop.visits()
                        .update(|visits| {
                            *visits += 1;
                            *visits
                        })
                        .await,
                )
            }),
        )
        .route(
            "/twice",
            get(|shop: Shop| async move {
                shop.set_visits(&7).await?;
                Ok::<_, Error>(text(
                    shop.visits()
                        .update(|visits| {
                            *visits += 1;
                            *visits
                        })
                        .await,
                ))
            }),
        )
        .route(
            "/edit",
            get(|shop: Shop| async move {
                text(shop.edit().address(PLAIN).note(PLAIN).open("for all to see").commit().await)
            }),
        )
        .route("/note", get(|shop: Shop| async move { text(shop.note().take().await) }))
        .route("/plant", get(|before: Before| async move { text(before.set_address(PLAIN).await) }))
        .route("/before", get(|before: Before| async move { text(before.address().await) }))
        .route("/later", get(|later: Later| async move { text(later.address().await) }))
        .route(
            "/list",
            get(|shop: Shop| async move {
                let sessions = shop.session().sessions().await?.expect("somebody is signed in");
                let page = sessions.list((Shop::ADDRESS, Shop::OPEN), None, 1).await?;
                let fields = &page.sessions[0].fields;
                Ok::<_, Error>(text(fields.read(Shop::ADDRESS)) + &text(fields.read(Shop::OPEN)))
            }),
        )
}

fn app<S: Store>(store: &Arc<S>, secrets: &[&str]) -> Browser {
    let layer = SessionLayer::new(Arc::clone(store));
    let layer = match secrets {
        [] => layer,
        secrets => layer.encryption_keys(KeyRing::new(secrets).unwrap()),
    };
    Browser::new(routes().layer(layer))
}

/// What a store keeps of the only session of a user.
async fn kept<S: Store>(store: &S, principal: &PrincipalKey) -> Vec<u8> {
    let page = PageRequest { after: None, limit: 2 };
    let found = store.list_by_principal(principal, page, Projection::All).await.unwrap();
    let [session] = &found.sessions[..] else { panic!("one session: {found:?}") };
    session.loaded.fields.iter().flat_map(|field| field.value.to_vec()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn whole_story<S: Store>(store: &Arc<S>) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let principal = move |session: Session| async move {
        tell.send(session.signed_in().await.unwrap().unwrap().principal).unwrap();
    };
    let layer = SessionLayer::new(Arc::clone(store)).encryption_keys(KeyRing::new([OLD]).unwrap());
    let browser = Browser::new(routes().route("/principal", get(principal)).layer(layer));
    // A new session, and one that is there.
    for sign_in_first in [false, true] {
        let browser = browser.stranger();
        let user = format!("/in/{sign_in_first}");
        if sign_in_first {
            browser.text(&user).await;
        }
        assert_eq!(browser.text("/edit").await, "()");
        if !sign_in_first {
            browser.text(&user).await;
        }
        assert_eq!(browser.text("/visit").await, "1");
        assert_eq!(browser.text("/visit").await, "2");
        assert_eq!(browser.text("/read").await, format!("Some({PLAIN:?})"));
        assert_eq!(browser.text("/untyped").await, format!("Some({PLAIN:?})"));
        assert_eq!(browser.text("/map").await, format!("Some({PLAIN:?})"));
        let all = format!("(Some({PLAIN:?}), 2, Some(\"for all to see\"))");
        assert_eq!(browser.text("/all").await, all);

        browser.text("/principal").await;
        let kept = kept(&**store, &told.recv().await.unwrap()).await;
        assert!(holds(&kept, "for all to see"));
        assert!(!holds(&kept, PLAIN) && !holds(&kept, &PLAIN[..6]), "in the clear: {kept:?}");
        assert_eq!(browser.text("/note").await, format!("Some({PLAIN:?})"));
        assert_eq!(browser.text("/note").await, "None");
        assert_eq!(browser.text("/twice").await, "8");
        assert_eq!(browser.text("/list").await, "NoKeySome(\"for all to see\")");
    }
}

macro_rules! on {
    ($($backend:ident)+) => {$(
        mod $backend {
            use super::*;

            // proves: CS-3
            #[tokio::test]
            async fn keeps_nothing_in_the_clear() {
                let pair = backends::$backend().await;
                whole_story(&pair.next()).await;
            }
        }
    )+};
}

on!(memory redis_through_fred redis_through_redis_rs valkey_through_fred postgres redis_over_postgres memory_over_postgres);

#[tokio::test]
async fn keys_can_be_changed() {
    let store = Arc::new(MemoryStore::new());
    let browser = app(&store, &[OLD]);
    browser.text("/write").await;
    let browser = browser.after_a_restart(router(&store, &[NEW, OLD]));
    assert_eq!(browser.text("/read").await, format!("Some({PLAIN:?})"));
    browser.text("/write").await;
    let browser = browser.after_a_restart(router(&store, &[NEW]));
    assert_eq!(browser.text("/read").await, format!("Some({PLAIN:?})"));
    let browser = browser.after_a_restart(router(&store, &[OLD]));
    assert_eq!(browser.text("/read").await, "NoKey");
}

fn router(store: &Arc<MemoryStore>, secrets: &[&str]) -> Router {
    let ring = KeyRing::new(secrets).unwrap();
    routes().layer(SessionLayer::new(Arc::clone(store)).encryption_keys(ring))
}

#[tokio::test]
async fn without_a_key_nothing_is_written() {
    let browser = app(&Arc::new(MemoryStore::new()), &[]);
    for path in ["/write", "/edit"] {
        assert_eq!(browser.text(path).await, "NoKey");
    }
    assert_eq!(browser.token(), None);
}

#[tokio::test]
async fn what_was_planted_in_the_clear_is_refused() {
    let browser = app(&Arc::new(MemoryStore::new()), &[OLD]);
    browser.text("/plant").await;
    assert_eq!(browser.text("/read").await, "NotEncrypted");
    assert_eq!(browser.text("/map").await, "NotEncrypted");
    // What was declared anew is not seen in place of an error.
    assert_eq!(browser.text("/later").await, "None");
    // It can be written over, and a field that is not marked any more stays readable.
    browser.text("/write").await;
    assert_eq!(browser.text("/read").await, format!("Some({PLAIN:?})"));
    assert_eq!(browser.text("/before").await, format!("Some({PLAIN:?})"));
}

// proves: CS-3
#[tokio::test]
async fn values_that_change_places_are_refused() {
    let server = Postgres::shared();
    let (schema, pool) = (server.schema(), server.pool(4));
    let builder = ruts::store::postgres::PostgresStoreBuilder::new(pool.clone(), true);
    let store = builder.schema_name(schema.name()).cleanup_interval(None).build().await.unwrap();
    let browser = app(&Arc::new(store), &[OLD]);
    let other = browser.stranger();
    for browser in [&browser, &other] {
        browser.text("/edit").await;
        browser.text("/visit").await;
    }
    let fields: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select table_name::text from information_schema.columns \
         where table_schema = '{}' and column_name = 'value'",
        schema.name()
    )))
    .fetch_all(&pool)
    .await
    .unwrap();
    let [fields] = &fields[..] else { panic!("one table of fields: {fields:?}") };
    // Each address goes to the other session.
    let swapped = sqlx::query(AssertSqlSafe(format!(
        "update {0}.{fields} a set value = b.value from {0}.{fields} b \
         where a.name = 'address' and b.name = 'address' and a.session <> b.session",
        schema.name()
    )))
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(swapped.rows_affected(), 2);
    assert_eq!(browser.text("/read").await, "Sealed");
    assert_eq!(other.text("/map").await, "Sealed");
    // And a note takes the place of an address.
    sqlx::query(AssertSqlSafe(format!(
        "update {0}.{fields} a set value = b.value from {0}.{fields} b \
         where a.name = 'address' and b.name = 'note' and a.session = b.session",
        schema.name()
    )))
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(browser.text("/read").await, "Sealed");
    assert_eq!(browser.text("/visit").await, "2");
}

#[tokio::test]
async fn a_planted_cookie_does_not_confuse_the_session() {
    let browser = app(&Arc::new(MemoryStore::new()), &[OLD]);
    let planted = browser.stranger();
    planted.text("/write").await;
    planted.text("/in/somebody").await;
    browser.text("/visit").await;
    let good = browser.token().unwrap();
    // A token that opens nothing comes first, as a sibling domain could have it.
    let header = format!("__Host-id=AAAAAAAAAAAAAAAAAAAAAA.{}; __Host-id={good}", "A".repeat(43));
    let page = browser.stranger().get_with("/write", &[("cookie", &header)]).await;
    assert_eq!((page.body.as_str(), page.set_cookies().len()), ("()", 0));
    assert_eq!(browser.text("/read").await, format!("Some({PLAIN:?})"));
}
