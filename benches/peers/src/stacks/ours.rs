use std::sync::Arc;

use axum::{Router, extract::Path, extract::State, routing::get};
use ruts::{Error, Session, SessionLayer, session, store::redis::RedisStore};

use super::{Gate, LARGE, NAMES, Stack, pool, small};

#[session]
struct Shop {
    a: String,
    b: String,
    c: String,
    d: String,
    e: String,
}

#[session]
struct Account {
    #[field(principal)]
    user: String,
}

#[session]
struct Counter {
    #[field(default)]
    number: u64,
}

#[session]
struct Thin {
    thin: String,
}

async fn write5(shop: Shop) -> Result<(), Error> {
    let [a, b, c, d, e] = [(); 5].map(|()| small());
    shop.edit().a(&a).b(&b).c(&c).d(&d).e(&e).commit().await
}

async fn read5(shop: Shop) -> Result<String, Error> {
    let values = shop.session().read((Shop::A, Shop::B, Shop::C, Shop::D, Shop::E)).await?;
    let (a, b, c, d, e) = values;
    Ok([a, b, c, d, e].iter().flatten().count().to_string())
}

async fn fat(session: Session) -> Result<(), Error> {
    for number in 0..16 {
        session.set(&format!("large{number}"), &**LARGE, None, None).await?;
    }
    session.set("thin", &small(), None, None).await
}

async fn fields(session: Session) -> Result<String, Error> {
    let fields = session.get_all().await?;
    let there = fields.iter().flat_map(|fields| fields.names());
    Ok(there.filter(|name| name.starts_with("field")).count().to_string())
}

async fn slow(account: Account, State(gate): State<Gate>) -> Result<(), Error> {
    account.user().await?;
    gate.pass().await;
    account.session().set("late", &true, None, None).await
}

pub(crate) async fn stack(url: &str, connections: usize) -> Stack {
    let gate = Gate::default();
    let store = RedisStore::new(Arc::new(pool(url, connections).await)).with_prefix("ours");
    let set = |session: Session, Path(number): Path<u32>| async move {
        session.set(&format!("field{number}"), &number, None, None).await
    };
    let app =
        Router::new()
            .route("/begin", get(write5))
            .route(
                "/read1",
                get(|session: Session| async move {
                    session.get::<String>(NAMES[0]).await.map(|value| value.is_some().to_string())
                }),
            )
            .route("/read5", get(read5))
            .route("/write1", get(|shop: Shop| async move { shop.set_a(&small()).await }))
            .route("/write5", get(write5))
            .route(
                "/increment",
                get(|counter: Counter| async move {
                    counter.number().update(|number| *number += 1).await
                }),
            )
            .route(
                "/number",
                get(|counter: Counter| async move {
                    counter.number().await.map(|number| number.to_string())
                }),
            )
            .route("/login", get(|account: Account| async move { account.set_user("ada").await }))
            .route("/fat", get(fat))
            .route(
                "/thin/read",
                get(|thin: Thin| async move {
                    thin.thin().await.map(|value| value.is_some().to_string())
                }),
            )
            .route("/thin/write", get(|thin: Thin| async move { thin.set_thin(&small()).await }))
            .route("/set/{number}", get(set))
            .route("/fields", get(fields))
            .route("/slow", get(slow))
            .route("/out", get(|session: Session| async move { session.delete().await }))
            .route(
                "/who",
                get(|account: Account| async move {
                    account.user().await.map(|user| user.is_some().to_string())
                }),
            )
            .with_state(gate.clone())
            .layer(SessionLayer::new(store).development());
    Stack { name: "ruts", app, gate }
}
