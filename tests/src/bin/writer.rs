//! A process that writes to a session in two tiers when it is told to, so that tests can kill it.
//! Arguments: the cache's URL and prefix, the database's URL and schema, handle and secret as numbers,
//! `set` or `delete`.

use std::{env, io, sync::Arc, time::Duration};

use ruts::{
    SecretHash, SessionId,
    store::{layered::LayeredStore, postgres::PostgresStoreBuilder, redis::RedisStore},
};
use ruts_tests::{Visitor, backends::fred_client};
use sqlx::PgPool;

const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [hot, prefix, cold, schema, id, secret, what] = &*arguments else {
        panic!("seven arguments are needed")
    };
    let hot = RedisStore::new(Arc::new(fred_client(hot).await));
    let hot = hot.with_prefix(prefix).with_timeout(PATIENCE);
    let builder = PostgresStoreBuilder::new(PgPool::connect(cold).await.unwrap(), false);
    let cold = builder.schema_name(schema).timeout(PATIENCE).cleanup_interval(None).build().await;
    let store = LayeredStore::new(hot, cold.unwrap());
    let store = store.with_hot_timeout(PATIENCE).with_cold_timeout(PATIENCE);
    let visitor = Visitor {
        store: Arc::new(store),
        id: SessionId::from_bytes(id.parse::<u128>().unwrap().to_be_bytes()),
        secret: SecretHash::from_bytes(std::array::from_fn(|index| {
            secret.split(',').nth(index).unwrap().parse().unwrap()
        })),
    };
    // So that nothing but the write itself is left to do.
    visitor.get("a").await.unwrap();
    tell("ready");
    io::stdin().read_line(&mut String::new()).unwrap();
    match &**what {
        "set" => drop(visitor.set("a", "new").await.unwrap()),
        _ => drop(visitor.delete().await.unwrap()),
    }
    tell("done");
    io::stdin().read_line(&mut String::new()).unwrap();
}

fn tell(word: &str) {
    println!("{word}");
}
