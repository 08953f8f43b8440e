use axum::{Router, extract::Path, extract::State, routing::get};
use tower_sessions::{Session, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;

use super::{Gate, LARGE, NAMES, Stack, small};

async fn write(session: &Session, names: &[&str]) {
    for name in names {
        session.insert(name, small()).await.expect("the store is there");
    }
}

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
    session.cycle_id().await.expect("the store is there");
    session.insert("user", "ada").await.expect("the store is there");
}

async fn fat(session: Session) {
    for number in 0..16 {
        session.insert(&format!("large{number}"), &*LARGE).await.expect("the store is there");
    }
    write(&session, &["thin"]).await;
}

async fn fields(session: Session) -> String {
    let mut found = 0;
    for number in 0..64 {
        let value: Option<u32> =
            session.get(&format!("field{number}")).await.expect("the store is there");
        found += usize::from(value.is_some());
    }
    found.to_string()
}

async fn slow(session: Session, State(gate): State<Gate>) {
    let _: Option<String> = session.get("user").await.expect("the store is there");
    gate.pass().await;
    let _ = session.insert("late", true).await;
}

pub(crate) async fn stack(url: &str, connections: usize) -> Stack {
    use tower_sessions_redis_store::fred::{
        clients::Pool, interfaces::ClientLike, types::config::Config,
    };
    let config = Config::from_url(url).expect("the address of a server");
    let pool = Pool::new(config, None, None, None, connections).expect("a pool");
    pool.init().await.expect("the server is there");
    let gate = Gate::default();
    let set = |session: Session, Path(number): Path<u32>| async move {
        session.insert(&format!("field{number}"), number).await.expect("the store is there");
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
                session.insert("number", next).await.expect("the store is there");
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
                session.flush().await.expect("the store is there");
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
        .layer(SessionManagerLayer::new(RedisStore::new(pool)));
    Stack { name: "tower-sessions 0.14", app, gate }
}
