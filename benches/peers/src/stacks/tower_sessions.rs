use axum::{
    Router,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use tower_sessions::{
    CachingSessionStore, MemoryStore, Session, SessionManagerLayer, SessionStore,
};
use tower_sessions_redis_store::{
    RedisStore,
    fred::{clients::Pool, interfaces::ClientLike, types::config::Config},
};
use tower_sessions_sqlx_store::PostgresStore;

use super::{
    Backend, Gate, LARGE, Place, Stack,
    routes::{Answer, Visit, failed, routes},
    small,
};

struct Theirs(Session);

impl<S: Send + Sync> FromRequestParts<S> for Theirs {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

impl Visit for Theirs {
    async fn read(&self, names: &'static [&'static str]) -> Answer<usize> {
        let mut found = 0;
        for name in names {
            let value: Option<String> = self.0.get(name).await.map_err(failed)?;
            found += usize::from(value.is_some());
        }
        Ok(found)
    }

    async fn write(&self, names: &'static [&'static str]) -> Answer<()> {
        for name in names {
            self.0.insert(name, small()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn number(&self) -> Answer<u64> {
        let number: Option<u64> = self.0.get("number").await.map_err(failed)?;
        Ok(number.unwrap_or(0))
    }

    async fn increment(&self) -> Answer<()> {
        let next = self.number().await? + 1;
        self.0.insert("number", next).await.map_err(failed)
    }

    async fn login(&self) -> Answer<()> {
        self.0.cycle_id().await.map_err(failed)?;
        self.0.insert("user", "ada").await.map_err(failed)
    }

    async fn is_signed_in(&self) -> Answer<bool> {
        let user: Option<String> = self.0.get("user").await.map_err(failed)?;
        Ok(user.is_some())
    }

    async fn out(&self) -> Answer<()> {
        self.0.flush().await.map_err(failed)
    }

    async fn write_large(&self, name: &str) -> Answer<()> {
        self.0.insert(name, &*LARGE).await.map_err(failed)
    }

    async fn set(&self, name: &str, number: u32) -> Answer<()> {
        self.0.insert(name, number).await.map_err(failed)
    }

    async fn has(&self, name: &str) -> Answer<bool> {
        let number: Option<u32> = self.0.get(name).await.map_err(failed)?;
        Ok(number.is_some())
    }
}

async fn redis(place: &Place) -> RedisStore<Pool> {
    let config = Config::from_url(&place.redis).expect("the address of a server");
    let pool = Pool::new(config, None, None, None, place.connections as usize).expect("a pool");
    pool.init().await.expect("the server is there");
    RedisStore::new(pool)
}

async fn postgres(place: &Place) -> PostgresStore {
    let store = PostgresStore::new(place.former_sqlx().await);
    store.migrate().await.expect("the server is there");
    store
}

pub(super) async fn stack(backend: Backend, place: &Place) -> Stack {
    let gate = Gate::default();
    let app = match backend {
        Backend::Memory => app(MemoryStore::default(), &gate),
        Backend::Redis => app(redis(place).await, &gate),
        Backend::Postgres => app(postgres(place).await, &gate),
        Backend::Layered => {
            app(CachingSessionStore::new(redis(place).await, postgres(place).await), &gate)
        }
    };
    Stack { name: "tower-sessions 0.14", app, gate }
}

fn app<S: SessionStore + Clone>(store: S, gate: &Gate) -> Router {
    routes::<Theirs>(gate).layer(SessionManagerLayer::new(store))
}
