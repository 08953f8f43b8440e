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
    Backend, Gate, LARGE, Place, Stack,
    routes::{Answer, Visit, routes},
    small,
};

struct Theirs<T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static>(Session<T>);

impl<T, S> FromRequestParts<S> for Theirs<T>
where
    T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
    S: Send + Sync,
{
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

/// All is in memory until the response.
impl<T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static> Visit for Theirs<T> {
    async fn read(&self, names: &'static [&'static str]) -> Answer<usize> {
        Ok(names.iter().filter_map(|name| self.0.get::<String>(name)).count())
    }

    async fn write(&self, names: &'static [&'static str]) -> Answer<()> {
        names.iter().for_each(|name| self.0.set(name, small()));
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

    async fn out(&self) -> Answer<()> {
        self.0.destroy();
        Ok(())
    }

    async fn write_large(&self, name: &str) -> Answer<()> {
        self.0.set(name, &*LARGE);
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

/// None over two tiers: its own cache is not shared by processes. With a server it asks that each time,
/// as several processes have to.
pub(super) async fn stack(backend: Backend, place: &Place) -> Option<Stack> {
    let gate = Gate::default();
    let config = || SessionConfig::default().with_table_name("axum_session");
    let each_time = || config().with_memory_lifetime(Duration::ZERO);
    let app = match backend {
        Backend::Memory => app::<SessionNullPool>(None, config(), &gate).await,
        Backend::Redis => {
            let client = redis::Client::open(&*place.redis).expect("the address of a server");
            let most = place.connections as usize;
            let pool = RedisPool::new(client, most, Some(most));
            app::<SessionRedisPool>(Some(pool.into()), each_time(), &gate).await
        }
        Backend::Postgres => {
            app::<SessionPgPool>(Some(place.sqlx().await.into()), each_time(), &gate).await
        }
        Backend::Layered => return None,
    };
    Some(Stack { name: "axum_session 0.22", app, gate })
}

async fn app<T>(pool: Option<T>, config: SessionConfig, gate: &Gate) -> Router
where
    T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    let store = SessionStore::<T>::new(pool, config).await.expect("the server is there");
    routes::<Theirs<T>>(gate).layer(SessionLayer::new(store))
}
