//! Servers whose clock steps back, as after a failover to a server whose clock is behind.

use std::{sync::Arc, time::Duration};

use ruts::{
    Ttl,
    store::{Create, Credentials, Projection, Refused, Store, Update, postgres::PostgresStore},
    token::{SecretHash, SessionId},
};
use ruts_tests_stores::{
    backends::{fred_client, mysql_builder, redis_store},
    servers::{Clock, MySql, Postgres, Prefix, Redis},
};
use ruts_tests_support::random;

/// A secret that was replaced at a sign-in stays invalid, even if the clock steps back to before
/// the replacement.
async fn a_replaced_secret_stays_invalid(store: Arc<impl Store>, clock: &Clock) {
    let id = SessionId::from_bytes(random());
    let [planted, own] = [random(), random()].map(SecretHash::from_bytes);
    store.create(Create::new(&id, &planted).idle(Ttl::from_secs(3600))).await.unwrap();
    let rotate = Update::new(&[]).rotate(&own);
    store.update(Credentials::new(&id, &planted), rotate).await.unwrap().unwrap();
    for seconds in [0, -600] {
        clock.set(seconds);
        let update = Update::new(&[]).touch(None);
        let answers = [
            store.load(Credentials::new(&id, &planted), Projection::All, None).await.unwrap().err(),
            store.update(Credentials::new(&id, &planted), update).await.unwrap().err(),
        ];
        for answer in answers {
            assert!(matches!(answer, Some(Refused::Replaced { .. })), "{seconds} s: {answer:?}");
        }
        let loaded = store.load(Credentials::new(&id, &own), Projection::All, None).await.unwrap();
        assert!(loaded.is_ok(), "{seconds} s: {loaded:?}");
    }
    let ago = store.load(Credentials::new(&id, &planted), Projection::All, None).await.unwrap();
    assert_eq!(ago.err(), Some(Refused::Replaced { ago: Duration::ZERO }));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_refuses_a_replaced_secret() {
    let clock = Clock::new();
    let server = Redis::start_by(&clock, &[]);
    let client = fred_client(server.url()).await;
    a_replaced_secret_stays_invalid(Arc::new(redis_store(client, &Prefix::unique())), &clock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_refuses_a_replaced_secret() {
    let clock = Clock::new();
    let server = Postgres::start_by(&clock, &[]);
    let store = PostgresStore::builder(server.pool(4)).create_tables(true).build().await.unwrap();
    a_replaced_secret_stays_invalid(Arc::new(store), &clock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_refuses_a_replaced_secret() {
    let clock = Clock::new();
    let server = MySql::start_by(&clock, &[]);
    let store = mysql_builder(&server, "clocks").create_tables(true).build().await.unwrap();
    a_replaced_secret_stays_invalid(Arc::new(store), &clock).await;
}
