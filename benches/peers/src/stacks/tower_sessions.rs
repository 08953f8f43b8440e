//! The app on tower-sessions 0.14. Called by `build`.

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
    app::{App, Backend, Gate, LARGE_VALUE, Servers, small_value},
    routes::{Answer, StackSession, failed, routes},
};

struct PeerSession(Session);

impl<S: Send + Sync> FromRequestParts<S> for PeerSession {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

impl StackSession for PeerSession {
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
            self.0.insert(name, small_value()).await.map_err(failed)?;
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

    async fn logout(&self) -> Answer<()> {
        self.0.flush().await.map_err(failed)
    }

    async fn write_large(&self, name: &str) -> Answer<()> {
        self.0.insert(name, &*LARGE_VALUE).await.map_err(failed)
    }

    async fn set(&self, name: &str, number: u32) -> Answer<()> {
        self.0.insert(name, number).await.map_err(failed)
    }

    async fn has(&self, name: &str) -> Answer<bool> {
        let number: Option<u32> = self.0.get(name).await.map_err(failed)?;
        Ok(number.is_some())
    }
}

async fn redis(servers: &Servers) -> RedisStore<Pool> {
    let config = Config::from_url(&servers.redis).expect("the URL should be valid");
    let size = servers.connections as usize;
    let pool = Pool::new(config, None, None, None, size).expect("the size should not be zero");
    pool.init().await.expect("Redis should be up");
    RedisStore::new(pool)
}

async fn postgres(servers: &Servers) -> PostgresStore {
    let store = PostgresStore::new(servers.former_sqlx().await);
    store.migrate().await.expect("PostgreSQL should be up");
    store
}

/// Builds the app. Returns `None` through redis-rs, because this stack has no such store.
pub(super) async fn app(backend: Backend, servers: &Servers) -> Option<App> {
    let gate = Gate::default();
    let router = match backend {
        Backend::Memory => router(MemoryStore::default(), &gate),
        Backend::Redis => router(redis(servers).await, &gate),
        Backend::RedisRs => return None,
        Backend::Postgres => router(postgres(servers).await, &gate),
        Backend::Layered => {
            router(CachingSessionStore::new(redis(servers).await, postgres(servers).await), &gate)
        }
    };
    Some(App { stack: "tower-sessions 0.14", router, gate })
}

fn router<S: SessionStore + Clone>(store: S, gate: &Gate) -> Router {
    routes::<PeerSession>(gate).layer(SessionManagerLayer::new(store))
}
