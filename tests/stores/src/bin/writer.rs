//! A process that writes to a session in two tiers on command, so that tests can kill it.
//!
//! Arguments, in this order:
//!
//! - URL and prefix of the cache,
//! - URL and schema of the origin,
//! - session id as a number,
//! - secret as numbers with commas between them,
//! - `set` or `delete`.

use std::{env, io, sync::Arc};

use ruts::{
    store::{layered::LayeredStore, postgres::PostgresStore, redis::RedisStore},
    token::{SecretHash, SessionId},
};
use ruts_tests_stores::backends::fred_client;
use ruts_tests_support::{LONG_TIMEOUT, TestSession};
use sqlx::PgPool;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [cache, prefix, origin, schema, id, secret, operation] = &*arguments else {
        panic!("the program needs seven arguments")
    };
    let cache = RedisStore::builder(Arc::new(fred_client(cache).await));
    let cache = cache.prefix(prefix).timeout(LONG_TIMEOUT).build();
    let origin = PostgresStore::builder(PgPool::connect(origin).await.unwrap());
    let origin = origin.schema_name(schema).timeout(LONG_TIMEOUT).cleanup_interval(None);
    let store = LayeredStore::builder(cache, origin.build().await.unwrap())
        .cache_timeout(LONG_TIMEOUT)
        .origin_timeout(LONG_TIMEOUT)
        .build();
    let session = TestSession {
        store: Arc::new(store),
        id: SessionId::from_bytes(id.parse::<u128>().unwrap().to_be_bytes()),
        secret: SecretHash::from_bytes(std::array::from_fn(|index| {
            secret.split(',').nth(index).unwrap().parse().unwrap()
        })),
    };
    // Connects to both tiers, so that later only the write is sent.
    session.get("a").await.unwrap();
    println!("ready");
    wait_for_command();
    match &**operation {
        "set" => drop(session.set("a", "new").await.unwrap()),
        _ => drop(session.delete().await.unwrap()),
    }
    println!("done");
    wait_for_command();
}

fn wait_for_command() {
    io::stdin().read_line(&mut String::new()).unwrap();
}
