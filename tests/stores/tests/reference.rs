//! The examples in the documentation of ruts 0.9 that need a driver. They must compile unchanged,
//! and run where they can. `tests/http` has the examples that need no driver.

#![allow(clippy::let_and_return, unused_variables, reason = "the examples stay as they are")]

use std::sync::Arc;

use axum::{Router, routing::get};
use ruts::store::{layered::LayeredStore, postgres::PostgresStoreBuilder, redis::RedisStore};
use ruts_tests_stores::{
    backends::fred_client,
    servers::{Flavour, Postgres, Redis},
};
use ruts_tests_support::{ClientExt, new_client};

mod redis {
    pub(super) fn store() {
        use fred::clients::Client;
        use ruts::store::redis::RedisStore;
        use std::sync::Arc;

        let fred_client_or_pool = Client::default();
        let store = RedisStore::new(Arc::new(fred_client_or_pool));
    }
}

mod postgres {
    pub(super) async fn store(database_url: String) {
        use ruts::store::postgres::PostgresStoreBuilder;
        use sqlx::PgPool;

        let pool = PgPool::connect(&database_url).await.unwrap();

        // 2. Create the session store using the builder.
        // This will also run a migration to create the `sessions` table.
        let store = PostgresStoreBuilder::new(pool, true)
            // Optionally, you can customize the schema and table name
            // .schema_name("my_app")
            // .table_name("user_sessions")
            .build()
            .await
            .unwrap();
    }
}

mod layered_usage {
    use fred::clients::Client;
    use ruts::Session;
    use ruts::store::layered::LayeredStore;
    use ruts::store::postgres::PostgresStore;
    use ruts::store::redis::RedisStore;

    // Define a type alias for your specific layered store setup
    pub(super) type MyLayeredStore = LayeredStore<RedisStore<Client>, PostgresStore>;
    type MySession = Session<MyLayeredStore>;

    #[derive(serde::Serialize)]
    struct User {
        id: i32,
    }

    pub(super) async fn handler(session: MySession) {
        let user = User { id: 1 };

        // This session field is valid for 1 month in the persistent store.
        let long_term_expiry = 60 * 60 * 24 * 30;

        // However, we only want it to live in the hot cache (Redis) for 1 hour.
        let short_term_hot_cache_expiry = 60 * 60;

        // The cold store (Postgres) will get the long-term expiry,
        // but the hot store (Redis) will be capped at the shorter TTL.
        session.set("user", &user, None, Some(short_term_hot_cache_expiry)).await.unwrap();
        session.set("user", &user, Some(long_term_expiry), None).await.unwrap();
    }
}

#[tokio::test]
async fn the_stores_are_built() {
    redis::store();
    postgres::store(Postgres::start(&[]).url().to_owned()).await;
}

#[tokio::test]
async fn the_layered_store_keeps_sessions() {
    let (redis, postgres) = (Redis::start(Flavour::Redis, &[]), Postgres::start(&[]));
    let cache = RedisStore::new(Arc::new(fred_client(redis.url()).await));
    let origin = PostgresStoreBuilder::new(postgres.pool(2), true).build().await.unwrap();
    let store: layered_usage::MyLayeredStore = LayeredStore::new(cache, origin);
    let app =
        Router::new().route("/", get(layered_usage::handler)).layer(ruts::SessionLayer::new(store));
    let client = new_client(app);
    client.text("/").await;
    client.text("/").await;
}
