use std::sync::Arc;

use axum::{Router, extract::Path, extract::State, routing::get};
use fred::clients::Pool;
use tower_cookies::CookieManagerLayer;
use upstream::{
    CookieOptions, Session as AnySession, SessionLayer,
    store::{Ttl, redis::RedisStore},
};

use super::{Gate, LARGE, NAMES, Stack, pool, small};

type Session = AnySession<RedisStore<Pool>>;

fn hour() -> Ttl {
    Ttl::new(3600).expect("an hour is a lifetime")
}

/// It has no way to write several fields together.
async fn write(session: &Session, names: &[&str]) {
    for name in names {
        session.set(name, &small(), hour(), None).await.expect("the store is there");
    }
}

/// Nor to read some of them.
async fn read(session: &Session, names: &[&str]) -> String {
    let mut found = 0;
    for name in names {
        let value: Option<String> = session.get(name).await.expect("the store is there");
        found += usize::from(value.is_some());
    }
    found.to_string()
}

async fn number(session: &Session) -> u64 {
    session.get("number").await.expect("the store is there").unwrap_or(0)
}

async fn login(session: Session) {
    session.prepare_regenerate();
    session.set("user", &"ada", hour(), None).await.expect("the store is there");
}

async fn fat(session: Session) {
    for number in 0..16 {
        let name = format!("large{number}");
        session.set(&name, &*LARGE, hour(), None).await.expect("the store is there");
    }
    write(&session, &["thin"]).await;
}

async fn fields(session: Session) -> String {
    let mut found = 0;
    for number in 0..64 {
        let name = format!("field{number}");
        let value: Option<u32> = session.get(&name).await.expect("the store is there");
        found += usize::from(value.is_some());
    }
    found.to_string()
}

async fn slow(session: Session, State(gate): State<Gate>) {
    let _: Option<String> = session.get("user").await.expect("the store is there");
    gate.pass().await;
    let _ = session.set("late", &true, hour(), None).await;
}

pub(crate) async fn stack(url: &str, connections: usize) -> Stack {
    let gate = Gate::default();
    let client = Arc::new(pool(url, connections).await);
    let store = RedisStore::new(client).await.expect("the server is there");
    let options = CookieOptions::build()
        .name("session")
        .http_only(true)
        .same_site(cookie::SameSite::Lax)
        .secure(true)
        .max_age(3600)
        .path("/");
    let set = |session: Session, Path(number): Path<u32>| async move {
        let name = format!("field{number}");
        session.set(&name, &number, hour(), None).await.expect("the store is there");
    };
    let app = Router::new()
        .route("/begin", get(|session: Session| async move { write(&session, &NAMES).await }))
        .route("/read1", get(|session: Session| async move { read(&session, &NAMES[..1]).await }))
        .route("/read5", get(|session: Session| async move { read(&session, &NAMES).await }))
        .route("/write1", get(|session: Session| async move { write(&session, &NAMES[..1]).await }))
        .route("/write5", get(|session: Session| async move { write(&session, &NAMES).await }))
        .route(
            "/increment",
            get(|session: Session| async move {
                let next = number(&session).await + 1;
                session.set("number", &next, hour(), None).await.expect("the store is there");
            }),
        )
        .route("/number", get(|session: Session| async move { number(&session).await.to_string() }))
        .route("/login", get(login))
        .route("/fat", get(fat))
        .route("/thin/read", get(|session: Session| async move { read(&session, &["thin"]).await }))
        .route(
            "/thin/write",
            get(|session: Session| async move { write(&session, &["thin"]).await }),
        )
        .route("/set/{number}", get(set))
        .route("/fields", get(fields))
        .route("/slow", get(slow))
        .route(
            "/out",
            get(|session: Session| async move {
                session.delete().await.expect("the store is there");
            }),
        )
        .route(
            "/who",
            get(|session: Session| async move {
                let user: Option<String> = session.get("user").await.expect("the store is there");
                user.is_some().to_string()
            }),
        )
        .with_state(gate.clone())
        .layer(SessionLayer::new(Arc::new(store)).with_cookie_options(options))
        .layer(CookieManagerLayer::new());
    Stack { name: "ruts 0.13 upstream", app, gate }
}
