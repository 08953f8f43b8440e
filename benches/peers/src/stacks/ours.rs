use std::sync::Arc;

use axum::{Router, extract::FromRequestParts, http::request::Parts};
use ruts::{
    Error, Session, SessionLayer, session,
    store::{
        Store,
        layered::LayeredStore,
        memory::MemoryStore,
        postgres::{PostgresStore, PostgresStoreBuilder},
        redis::RedisStore,
    },
};

use super::{
    Backend, Gate, LARGE, Place, Stack,
    routes::{Answer, Visit, failed, routes},
    small,
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

struct Ours(Session);

impl<S: Sync> FromRequestParts<S> for Ours {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

impl Ours {
    fn typed<T: From<Session>>(&self) -> T {
        self.0.clone().into()
    }
}

impl Visit for Ours {
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
            return self.0.set(name, &small(), None, None).await.map_err(failed);
        }
        let [a, b, c, d, e] = [(); 5].map(|()| small());
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

    async fn out(&self) -> Answer<()> {
        self.0.delete().await.map(drop).map_err(failed)
    }

    async fn write_large(&self, name: &str) -> Answer<()> {
        self.0.set(name, &**LARGE, None, None).await.map_err(failed)
    }

    async fn set(&self, name: &str, number: u32) -> Answer<()> {
        self.0.set(name, &number, None, None).await.map_err(failed)
    }

    async fn has(&self, name: &str) -> Answer<bool> {
        let number: Option<u32> = self.0.get(name).await.map_err(failed)?;
        Ok(number.is_some())
    }
}

async fn redis(place: &Place, prefix: &str) -> RedisStore<fred::clients::Pool> {
    RedisStore::new(Arc::new(place.fred().await)).with_prefix(prefix)
}

async fn postgres(place: &Place, schema: &str) -> PostgresStore {
    let builder = PostgresStoreBuilder::new(place.sqlx().await, true).schema_name(schema);
    builder.cleanup_interval(None).build().await.expect("the server is there")
}

pub(super) async fn stack(backend: Backend, place: &Place) -> Stack {
    let gate = Gate::default();
    let app = match backend {
        Backend::Memory => app(MemoryStore::new(), &gate),
        Backend::Redis => app(redis(place, "ours").await, &gate),
        Backend::Postgres => app(postgres(place, "ours").await, &gate),
        Backend::Layered => {
            let (hot, cold) = (redis(place, "hot").await, postgres(place, "cold").await);
            app(LayeredStore::new(hot, cold), &gate)
        }
    };
    Stack { name: "ruts", app, gate }
}

fn app<S: Store>(store: S, gate: &Gate) -> Router {
    routes::<Ours>(gate).layer(SessionLayer::new(store))
}
