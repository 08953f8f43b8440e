//! The app on axum_session 0.22. Called by `build`.

use axum::{
    Router,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use axum_session::{
    DatabasePool, Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore,
};
use axum_session_redispool::SessionRedisPool;
use axum_session_sqlx::SessionPgPool;
use cookie::time::Duration;
use redis_pool::RedisPool;

use super::{
    app::{App, Backend, Gate, LARGE_VALUE, Servers, small_value},
    routes::{Answer, StackSession, routes},
};

struct PeerSession<T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static>(Session<T>);

impl<T, S> FromRequestParts<S> for PeerSession<T>
where
    T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
    S: Send + Sync,
{
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

/// The stack writes nothing before the response.
impl<T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static> StackSession
    for PeerSession<T>
{
    async fn read(&self, names: &'static [&'static str]) -> Answer<usize> {
        Ok(names.iter().filter_map(|name| self.0.get::<String>(name)).count())
    }

    async fn write(&self, names: &'static [&'static str]) -> Answer<()> {
        names.iter().for_each(|name| self.0.set(name, small_value()));
        Ok(())
    }

    async fn number(&self) -> Answer<u64> {
        Ok(self.0.get("number").unwrap_or(0))
    }

    async fn increment(&self) -> Answer<()> {
        self.0.set("number", self.number().await? + 1);
        Ok(())
    }

    async fn login(&self) -> Answer<()> {
        self.0.renew();
        self.0.set("user", "ada");
        Ok(())
    }

    async fn is_signed_in(&self) -> Answer<bool> {
        Ok(self.0.get::<String>("user").is_some())
    }

    async fn logout(&self) -> Answer<()> {
        self.0.destroy();
        Ok(())
    }

    async fn write_large(&self, name: &str) -> Answer<()> {
        self.0.set(name, &*LARGE_VALUE);
        Ok(())
    }

    async fn set(&self, name: &str, number: u32) -> Answer<()> {
        self.0.set(name, number);
        Ok(())
    }

    async fn has(&self, name: &str) -> Answer<bool> {
        Ok(self.0.get::<u32>(name).is_some())
    }
}

/// Builds the app. Returns `None` over two tiers, because processes do not share the cache of this
/// stack. Over a server, each request reads the session from the server, so that several processes
/// can share sessions.
pub(super) async fn app(backend: Backend, servers: &Servers) -> Option<App> {
    let gate = Gate::default();
    let config = || SessionConfig::default().with_table_name("axum_session");
    let without_cache = || config().with_memory_lifetime(Duration::ZERO);
    let router = match backend {
        Backend::Memory => router::<SessionNullPool>(None, config(), &gate).await,
        Backend::Redis | Backend::RedisRs => {
            let client = redis::Client::open(&*servers.redis).expect("the URL should be valid");
            let size = servers.connections as usize;
            let pool = RedisPool::new(client, size, Some(size));
            router::<SessionRedisPool>(Some(pool.into()), without_cache(), &gate).await
        }
        Backend::Postgres => {
            let pool = servers.sqlx().await.into();
            router::<SessionPgPool>(Some(pool), without_cache(), &gate).await
        }
        Backend::Layered => return None,
    };
    Some(App { stack: "axum_session 0.22", router, gate })
}

async fn router<T>(pool: Option<T>, config: SessionConfig, gate: &Gate) -> Router
where
    T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    let store = SessionStore::<T>::new(pool, config).await.expect("the server should be up");
    routes::<PeerSession<T>>(gate).layer(SessionLayer::new(store))
}
