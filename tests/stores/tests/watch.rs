//! Connections that outlive their request end when another process ends their session.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::Router;
use fred::clients::Pool;
use ruts::{
    SessionLayer,
    session::SessionChange,
    store::{
        Store,
        memory::MemoryStore,
        notify::{Channel, ChannelError, Listener, NotifyingStore},
        postgres::PostgresChannel,
        redis::{RedisChannel, RedisStore},
    },
    token::SessionId,
};
use ruts_tests_stores::{
    backends,
    servers::{Cluster, Flavour, Postgres, Redis},
};
use ruts_tests_support::{
    ClientExt, new_client, random,
    scenarios::watch::{
        a_channel_announces_changes, a_revocation_ends_a_connection, assert_ends, assert_prompt,
        connect, routes,
    },
    wait_until,
};
use sqlx::Executor;

macro_rules! on_each_store {
    ($($backend:ident),+ $(,)?) => {
        $(
            // proves: ASVS-4.4.3
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                let pair = backends::$backend().await;
                a_revocation_ends_a_connection(&pair.next(), &pair.next()).await;
            }
        )+
    };
}

on_each_store!(redis_through_fred, cluster_through_redis_rs, postgres, mysql, redis_over_postgres);

async fn redis_stores() -> [RedisStore<Pool>; 2] {
    let pair = backends::redis_through_fred().await;
    [(*pair.next()).clone(), (*pair.next()).clone()]
}

// proves: ASVS-4.4.3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_through_fred_announces_changes() {
    let url = Redis::shared(Flavour::Redis).url();
    let client = backends::fred_client(url).await;
    let pool = backends::fred_pool(url).await;
    let channels = [(); 2].map(|()| RedisChannel::new(pool.clone(), "fred"));
    a_channel_announces_changes(redis_stores().await, channels).await;
    let channels = [(); 2].map(|()| RedisChannel::new(client.clone(), "fred"));
    a_channel_announces_changes(redis_stores().await, channels).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_through_redis_rs_announces_changes() {
    let url = Redis::shared(Flavour::Valkey).url();
    let client = redis::Client::open(url).unwrap();
    let channels = [(); 2].map(|()| RedisChannel::new(client.clone(), "redis-rs"));
    a_channel_announces_changes(redis_stores().await, channels).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_announces_changes() {
    let client = backends::fred_cluster(Cluster::shared()).await;
    let channels = [(); 2].map(|()| RedisChannel::new(client.clone(), "cluster"));
    a_channel_announces_changes(redis_stores().await, channels).await;
}

// proves: ASVS-4.4.3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_announces_changes() {
    let pair = backends::postgres().await;
    let stores = [(*pair.next()).clone(), (*pair.next()).clone()];
    // The listeners have connections of their own.
    let pool = Postgres::shared().pool(1);
    let channels = [(); 2].map(|()| PostgresChannel::new(pool.clone(), "ruts"));
    a_channel_announces_changes(stores, channels).await;
}

/// The application shares the pool with the channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_announces_changes_despite_open_transactions() {
    for leave in ["begin", "begin; select 1/0"] {
        let pair = backends::postgres().await;
        let stores = [(*pair.next()).clone(), (*pair.next()).clone()];
        let pools = [(); 2].map(|()| Postgres::shared().pool(2));
        for pool in &pools {
            let mut both = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
            for connection in &mut both {
                // A statement of a failed transaction is an error.
                let _ = connection.execute(sqlx::raw_sql(leave)).await;
            }
        }
        let channels = pools.map(|pool| PostgresChannel::new(pool, "open"));
        a_channel_announces_changes(stores, channels).await;
    }
}

/// After its connection breaks, a listener subscribes again, and checks for changes that it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_channel_recovers() {
    let server = Redis::shared(Flavour::Redis);
    let client = redis::Client::open(server.url()).unwrap();
    let channel = || RedisChannel::new(client.clone(), "broken");
    let [one, other] = redis_stores().await;
    let one = Arc::new(NotifyingStore::new(one, channel()));
    let other = Arc::new(NotifyingStore::new(other, channel()));
    a_revocation_ends_a_connection(&one, &other).await;
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").to_owned();
    kill.query_async::<u32>(&mut admin).await.unwrap();
    a_revocation_ends_a_connection(&one, &other).await;
    assert_prompt(async || a_revocation_ends_a_connection(&one, &other).await).await;
}

/// A channel that counts its listeners.
struct Counting(Arc<AtomicUsize>);

impl Channel for Counting {
    async fn publish(&self, _: String) -> Result<(), ChannelError> {
        Ok(())
    }

    async fn listen(&self, _: &Listener) -> ChannelError {
        self.0.fetch_add(1, Ordering::Relaxed);
        pending().await
    }
}

#[test]
fn a_listener_is_replaced_after_its_runtime_has_ended() {
    let listeners = Arc::new(AtomicUsize::new(0));
    let store = NotifyingStore::new(MemoryStore::new(), Counting(Arc::clone(&listeners)));
    for expected in 1..=2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..2 {
                drop(store.wait_for_change(&SessionId::from_bytes(random())));
                let count = async || listeners.load(Ordering::Relaxed) == expected;
                wait_until("one task listens", count).await;
            }
        });
    }
}

#[tokio::test]
async fn an_unreachable_channel_delays_no_change() {
    let unreachable = redis::Client::open("redis://127.0.0.1:1").unwrap();
    let store = NotifyingStore::new(MemoryStore::new(), RedisChannel::new(unreachable, "dead"));
    let app: Router = routes().layer(SessionLayer::new(store));
    let client = new_client(app);
    assert_prompt(async || {
        client.text("/sign-in/ada").await;
        let connection = connect(&client).await;
        client.text("/delete").await;
        assert_ends(connection, SessionChange::Ended).await
    })
    .await;
}
