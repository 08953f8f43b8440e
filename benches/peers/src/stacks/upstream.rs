//! The app on ruts 0.13, as published in the registry. Called by `build`.

use std::sync::Arc;

use axum::{
    Router,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use tower_cookies::CookieManagerLayer;
use upstream::{
    CookieOptions, Session, SessionLayer,
    store::{
        SessionStore, Ttl,
        layered::LayeredStore,
        postgres::{PostgresStore, PostgresStoreBuilder},
        redis::RedisStore,
    },
};

use super::{
    app::{App, Backend, Gate, LARGE_VALUE, Servers, small_value},
    routes::{Answer, StackSession, failed, routes},
};

struct UpstreamSession<S: SessionStore>(Session<S>);

impl<S: SessionStore, St: Send + Sync> FromRequestParts<St> for UpstreamSession<S> {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &St) -> Result<Self, Self::Rejection> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

fn hour() -> Ttl {
    Ttl::new(3600).expect("an hour should be a valid lifetime")
}

impl<S: SessionStore> StackSession for UpstreamSession<S> {
    /// Reads one field after the other: this stack cannot read several fields together.
    async fn read(&self, names: &'static [&'static str]) -> Answer<usize> {
        let mut found = 0;
        for name in names {
            let value: Option<String> = self.0.get(name).await.map_err(failed)?;
            found += usize::from(value.is_some());
        }
        Ok(found)
    }

    /// Writes one field after the other: this stack cannot write several fields together.
    async fn write(&self, names: &'static [&'static str]) -> Answer<()> {
        for name in names {
            self.0.set(name, &small_value(), hour(), None).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn number(&self) -> Answer<u64> {
        let number: Option<u64> = self.0.get("number").await.map_err(failed)?;
        Ok(number.unwrap_or(0))
    }

    async fn increment(&self) -> Answer<()> {
        let next = self.number().await? + 1;
        self.0.set("number", &next, hour(), None).await.map(drop).map_err(failed)
    }

    async fn login(&self) -> Answer<()> {
        self.0.prepare_regenerate();
        self.0.set("user", &"ada", hour(), None).await.map(drop).map_err(failed)
    }

    async fn is_signed_in(&self) -> Answer<bool> {
        let user: Option<String> = self.0.get("user").await.map_err(failed)?;
        Ok(user.is_some())
    }

    async fn logout(&self) -> Answer<()> {
        self.0.delete().await.map(drop).map_err(failed)
    }

    async fn write_large(&self, name: &str) -> Answer<()> {
        self.0.set(name, &*LARGE_VALUE, hour(), None).await.map(drop).map_err(failed)
    }

    async fn set(&self, name: &str, number: u32) -> Answer<()> {
        self.0.set(name, &number, hour(), None).await.map(drop).map_err(failed)
    }

    async fn has(&self, name: &str) -> Answer<bool> {
        let number: Option<u32> = self.0.get(name).await.map_err(failed)?;
        Ok(number.is_some())
    }
}

async fn redis(servers: &Servers) -> RedisStore<fred::clients::Pool> {
    RedisStore::new(Arc::new(servers.fred().await)).await.expect("Redis should be up")
}

async fn postgres(servers: &Servers, table: &str) -> PostgresStore {
    let builder = PostgresStoreBuilder::new(servers.former_sqlx().await).create_table(true);
    let builder = builder.table_name(table).expect("the name should be valid");
    builder.build().await.expect("PostgreSQL should be up")
}

/// Builds the app. Returns `None` over memory and through redis-rs, because this stack has no such
/// stores.
pub(super) async fn app(backend: Backend, servers: &Servers) -> Option<App> {
    let gate = Gate::default();
    let router = match backend {
        Backend::Memory | Backend::RedisRs => return None,
        Backend::Redis => router(redis(servers).await, &gate),
        Backend::Postgres => router(postgres(servers, "upstream").await, &gate),
        Backend::Layered => {
            let origin = postgres(servers, "upstream_origin").await;
            router(LayeredStore::new(redis(servers).await, origin), &gate)
        }
    };
    Some(App { stack: "ruts 0.13 upstream", router, gate })
}

fn router<S: SessionStore>(store: S, gate: &Gate) -> Router {
    let options = CookieOptions::build()
        .name("session")
        .http_only(true)
        .same_site(cookie::SameSite::Lax)
        .secure(true)
        .max_age(3600)
        .path("/");
    routes::<UpstreamSession<S>>(gate)
        .layer(SessionLayer::new(Arc::new(store)).with_cookie_options(options))
        .layer(CookieManagerLayer::new())
}
