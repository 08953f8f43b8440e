//! The conformance suite on PostgreSQL, directly and through a pooler.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use ruts::{
    conformance::Subject,
    store::postgres::{PostgresStore, PostgresStoreBuilder},
};
use ruts_tests::servers::{PgBouncer, Postgres, Schema};
use sqlx::{PgPool, postgres::PgPoolOptions};

/// A store for one test, twice: each with connections of its own.
struct Stores {
    stores: [Arc<PostgresStore>; 2],
    next: AtomicUsize,
    _schema: Schema,
}

impl Stores {
    async fn new(pool: impl Fn() -> PgPool) -> Self {
        let schema = Postgres::shared().schema();
        let store = async || {
            let builder = PostgresStoreBuilder::new(pool(), true).schema_name(schema.name());
            Arc::new(builder.cleanup_interval(None).build().await.unwrap())
        };
        Self { stores: [store().await, store().await], next: AtomicUsize::new(0), _schema: schema }
    }

    fn next(&self) -> Arc<PostgresStore> {
        Arc::clone(&self.stores[self.next.fetch_add(1, Ordering::Relaxed) % 2])
    }
}

mod direct {
    use super::*;

    struct It(Stores);

    impl Subject for It {
        type Store = PostgresStore;

        async fn set_up() -> Self {
            Self(Stores::new(|| Postgres::shared().pool(5)).await)
        }

        fn store(&self) -> Arc<PostgresStore> {
            self.0.next()
        }
    }

    ruts::conformance_tests!(It);
}

mod through_a_pooler {
    use super::*;

    struct It(Stores);

    fn pooler() -> &'static PgBouncer {
        static POOLER: OnceLock<PgBouncer> = OnceLock::new();
        POOLER.get_or_init(|| PgBouncer::start(Postgres::shared(), 4))
    }

    impl Subject for It {
        type Store = PostgresStore;

        async fn set_up() -> Self {
            let pool = || PgPoolOptions::new().max_connections(8).connect_lazy(pooler().url());
            Self(Stores::new(|| pool().unwrap()).await)
        }

        fn store(&self) -> Arc<PostgresStore> {
            self.0.next()
        }
    }

    ruts::conformance_tests!(It);
}
