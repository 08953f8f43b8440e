//! How long sessions live, what they ask of their users, and where they are kept: the only file that knows.

use std::{env, error::Error, sync::Arc, time::Duration};

use fred::{
    clients::Pool,
    interfaces::ClientLike,
    types::config::{Config, ConnectionConfig, ReconnectPolicy},
};
use ruts::{
    ClearSiteData, ClientChangeAction, ClientFingerprint, KeyRing, SessionLayer,
    http::{HeaderMap, header},
    store::{
        IntoStore, OnLimit,
        layered::LayeredStore,
        memory::MemoryStore,
        notify::NotifyingStore,
        postgres::{PostgresChannel, PostgresStore, PostgresStoreBuilder},
        redis::{RedisChannel, RedisStore},
    },
};
use sqlx::{PgPool, postgres::PgPoolOptions};

/// What goes around the routes.
pub(crate) struct Sessions {
    pub(crate) layer: SessionLayer,
    /// What kind of store it is.
    pub(crate) store: &'static str,
}

type Failure = Box<dyn Error>;

const MINUTE: Duration = Duration::from_secs(60);

/// Connects to the store of a URL, or says what is wrong with it.
pub(crate) async fn connect(
    url: &str,
    name: &str,
    is_production: bool,
) -> Result<Sessions, Failure> {
    let keys = keys(is_production)?;
    let layer = |layer, store| Sessions { layer, store };
    Ok(match url.split_once(':') {
        None if url == "memory" => {
            layer(sessions(MemoryStore::new(), keys, is_production), "memory")
        }
        Some(("redis" | "rediss" | "redis-cluster", _)) => {
            let (store, pool) = redis(url, name).await?;
            store.check().await?;
            let store = NotifyingStore::new(store, RedisChannel::new(pool, name));
            layer(sessions(store, keys, is_production), "redis")
        }
        Some(("postgres" | "postgresql", _)) => {
            let (store, pool) = postgres(url, name).await?;
            let store = NotifyingStore::new(store, PostgresChannel::new(pool, name));
            layer(sessions(store, keys, is_production), "postgres")
        }
        Some(("layered", tiers)) => {
            let (hot, cold) = tiers
                .split_once(',')
                .ok_or("a layered store is named as layered:redis://..,postgres://..")?;
            let ((hot, pool), (cold, _)) = (redis(hot, name).await?, postgres(cold, name).await?);
            let store = LayeredStore::new(hot, cold);
            store.check().await?;
            let store = NotifyingStore::new(store, RedisChannel::new(pool, name));
            layer(sessions(store, keys, is_production), "layered")
        }
        _ => return Err(format!("`{url}` is no store that this shop knows; see --help").into()),
    })
}

/// The policy, whatever the store.
pub(crate) fn sessions(store: impl IntoStore, keys: KeyRing, is_production: bool) -> SessionLayer {
    let layer = SessionLayer::new(store)
        .idle_timeout(30 * MINUTE)
        .absolute_timeout(24 * 60 * MINUTE)
        .renew_every(15 * MINUTE)
        .max_sessions(10, OnLimit::EndOldest)
        .encryption_keys(keys)
        .clear_site_data(&[ClearSiteData::Cache, ClearSiteData::Storage])
        .watch_clients(describe, |_changed| ClientChangeAction::StepUp)
        .sign_in_page("/sign-in");
    tracing::info!(policy = layer.describe(), "sessions");
    if is_production { layer } else { layer.development() }
}

/// A cookie that turns up in another browser is good for looking only.
fn describe(headers: &HeaderMap, _: &ruts::http::Extensions) -> ClientFingerprint {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    ClientFingerprint::new().with("browser", agent)
}

fn keys(is_production: bool) -> Result<KeyRing, Failure> {
    match env::var("STOREFRONT_KEY") {
        Ok(secrets) => {
            Ok(KeyRing::new(secrets.split(','))
                .map_err(|error| format!("STOREFRONT_KEY: {error}"))?)
        }
        Err(_) if is_production => Err("STOREFRONT_KEY has to be set in production".into()),
        Err(_) => Ok(ruts::Key::generate().into()),
    }
}

async fn redis(url: &str, name: &str) -> Result<(RedisStore<Pool>, Pool), Failure> {
    let unreachable = |error| format!("no Redis at {}: {error}", without_password(url));
    let config = Config::from_url(url).map_err(unreachable)?;
    let connection = ConnectionConfig {
        connection_timeout: Duration::from_secs(3),
        ..ConnectionConfig::default()
    };
    let reconnect = ReconnectPolicy::new_constant(0, 250);
    let pool = Pool::new(config, None, Some(connection), Some(reconnect), 4)?;
    pool.init().await.map_err(unreachable)?;
    Ok((RedisStore::new(Arc::new(pool.clone())).with_prefix(name), pool))
}

async fn postgres(url: &str, name: &str) -> Result<(PostgresStore, PgPool), Failure> {
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy(url);
    let pool = pool.map_err(|error| format!("{}: {error}", without_password(url)))?;
    let builder = PostgresStoreBuilder::new(pool.clone(), true).table_name(name);
    let store = builder.build().await;
    let store = store.map_err(|error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        format!("no PostgreSQL at {}: {error}: {cause}", without_password(url))
    })?;
    Ok((store, pool))
}

/// For messages.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}
