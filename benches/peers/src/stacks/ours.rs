//! The app on ruts, the library under test. Called by `build`.

use std::sync::Arc;

use axum::{Router, extract::FromRequestParts, http::request::Parts};
use ruts::{
    Error, Session, SessionLayer, session,
    store::{
        Store, layered::LayeredStore, memory::MemoryStore, postgres::PostgresStore,
        redis::RedisStore,
    },
};

use super::{
    app::{App, Backend, Gate, LARGE_VALUE, Servers, small_value},
    routes::{Answer, StackSession, failed, routes},
};

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

struct RutsSession(Session);

impl<S: Sync> FromRequestParts<S> for RutsSession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

impl RutsSession {
    fn typed<T: TryFrom<Session, Error: std::fmt::Debug>>(&self) -> T {
        T::try_from(self.0.clone()).expect("the layer should have no other schema")
    }
}

impl StackSession for RutsSession {
    async fn read(&self, names: &'static [&'static str]) -> Answer<usize> {
        if let [name] = names {
            let value: Option<String> = self.0.get(name).await.map_err(failed)?;
            return Ok(value.iter().count());
        }
        let fields = (Shop::A, Shop::B, Shop::C, Shop::D, Shop::E);
        let (a, b, c, d, e) = self.0.read(fields).await.map_err(failed)?;
        Ok([a, b, c, d, e].iter().flatten().count())
    }

    async fn write(&self, names: &'static [&'static str]) -> Answer<()> {
        if let [name] = names {
            return self.0.set(name, &small_value(), None, None).await.map_err(failed);
        }
        let [a, b, c, d, e] = [(); 5].map(|()| small_value());
        self.typed::<Shop>().edit().a(&a).b(&b).c(&c).d(&d).e(&e).commit().await.map_err(failed)
    }

    async fn number(&self) -> Answer<u64> {
        self.typed::<Counter>().number().await.map_err(failed)
    }

    async fn increment(&self) -> Answer<()> {
        let counter = self.typed::<Counter>();
        counter.number().update(|number| *number += 1).await.map_err(failed)
    }

    async fn login(&self) -> Answer<()> {
        self.typed::<Account>().set_user("ada").await.map_err(failed)
    }

    async fn is_signed_in(&self) -> Answer<bool> {
        let user = self.typed::<Account>().user().await.map_err(failed)?;
        Ok(user.is_some())
    }

    async fn logout(&self) -> Answer<()> {
        self.0.delete().await.map(drop).map_err(failed)
    }

    async fn write_large(&self, name: &str) -> Answer<()> {
        self.0.set(name, &**LARGE_VALUE, None, None).await.map_err(failed)
    }

    async fn set(&self, name: &str, number: u32) -> Answer<()> {
        self.0.set(name, &number, None, None).await.map_err(failed)
    }

    async fn has(&self, name: &str) -> Answer<bool> {
        let number: Option<u32> = self.0.get(name).await.map_err(failed)?;
        Ok(number.is_some())
    }
}

async fn redis(servers: &Servers, prefix: &str) -> RedisStore<fred::clients::Pool> {
    RedisStore::builder(Arc::new(servers.fred().await)).prefix(prefix).build()
}

fn redis_rs(servers: &Servers) -> RedisStore<redis::Client> {
    let client = redis::Client::open(servers.redis.as_str()).expect("the URL should be valid");
    RedisStore::builder(Arc::new(client)).prefix("ours-rs").build()
}

async fn postgres(servers: &Servers, schema: &str) -> PostgresStore {
    let builder = PostgresStore::builder(servers.sqlx().await).create_tables(true);
    let builder = builder.schema_name(schema).cleanup_interval(None);
    builder.build().await.expect("PostgreSQL should be up")
}

/// Builds the app.
pub(super) async fn app(backend: Backend, servers: &Servers) -> App {
    let gate = Gate::default();
    let router = match backend {
        Backend::Memory => router(MemoryStore::new(), &gate),
        Backend::Redis => router(redis(servers, "ours").await, &gate),
        Backend::RedisRs => router(redis_rs(servers), &gate),
        Backend::Postgres => router(postgres(servers, "ours").await, &gate),
        Backend::Layered => {
            let cache = redis(servers, "cache").await;
            let origin = postgres(servers, "origin").await;
            router(LayeredStore::builder(cache, origin).build(), &gate)
        }
    };
    App { stack: "ruts", router, gate }
}

fn router<S: Store>(store: S, gate: &Gate) -> Router {
    routes::<RutsSession>(gate).layer(SessionLayer::new(store))
}
