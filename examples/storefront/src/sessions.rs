//! The session layer: lifetimes, limits, checks of the client, and the store.
//!
//! This is the only file with these settings.

use std::{
    env,
    error::Error,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
    time::Duration,
};

use fred::{
    clients::Pool,
    types::config::{Config, ConnectionConfig},
};
use ruts::{
    SessionLayer,
    client::{ClientChangeAction, ClientFingerprint},
    crypto::KeyRing,
    http::{Extensions, HeaderMap, header},
    layer::ClearSiteData,
    store::{
        IntoStore, OnLimit,
        layered::LayeredStore,
        memory::MemoryStore,
        mysql::MySqlStore,
        notify::NotifyingStore,
        postgres::{PostgresChannel, PostgresStore},
        redis::{RedisChannel, RedisStore},
        sqlite::SqliteStore,
    },
};
use sqlx::{PgPool, mysql::MySqlConnectOptions, postgres::PgPoolOptions};

/// The layer for the routes.
pub(crate) struct SessionSetup {
    pub(crate) layer: SessionLayer,
    /// Name of the kind of store.
    pub(crate) store: &'static str,
}

type BoxError = Box<dyn Error>;

const MINUTE: Duration = Duration::from_secs(60);

/// Connects to the store of a URL.
pub(crate) async fn connect(
    url: &str,
    name: &str,
    is_production: bool,
) -> Result<SessionSetup, BoxError> {
    let file = url.strip_prefix("sqlite:");
    let keys = keys(is_production, file)?;
    let setup = |layer, store| SessionSetup { layer, store };
    Ok(match url.split_once(':') {
        None if url == "memory" => {
            setup(session_layer(MemoryStore::new(), keys, is_production), "memory")
        }
        Some(("sqlite", file)) => {
            let store = SqliteStore::builder(file).build().await;
            let store = store.map_err(|error| unusable("SQLite in", file, &error))?;
            setup(session_layer(store, keys, is_production), "sqlite")
        }
        Some(("redis" | "rediss" | "redis-cluster", _)) => {
            let (store, pool) = redis(url, name).await?;
            let store = NotifyingStore::new(store, RedisChannel::new(pool, name));
            setup(session_layer(store, keys, is_production), "redis")
        }
        Some(("postgres" | "postgresql", _)) => {
            let (store, pool) = postgres(url, name).await?;
            let store = NotifyingStore::new(store, PostgresChannel::new(pool, name));
            setup(session_layer(store, keys, is_production), "postgres")
        }
        Some(("mysql" | "mariadb", _)) => {
            setup(session_layer(mysql(url, name).await?, keys, is_production), "mysql")
        }
        Some(("layered", urls)) => {
            let (cache_url, origin_url) = urls
                .split_once(',')
                .ok_or("a layered store needs two URLs: layered:redis://..,postgres://..")?;
            let (cache, pool) = redis(cache_url, name).await?;
            let (origin, _) = postgres(origin_url, name).await?;
            let store = LayeredStore::builder(cache, origin).build();
            store.check().await?;
            let store = NotifyingStore::new(store, RedisChannel::new(pool, name));
            setup(session_layer(store, keys, is_production), "layered")
        }
        _ => return Err(format!("unknown store `{url}`; see --help").into()),
    })
}

/// Returns the layer, which is the same for every store.
pub(crate) fn session_layer(
    store: impl IntoStore,
    keys: KeyRing,
    is_production: bool,
) -> SessionLayer {
    let layer = SessionLayer::new(store)
        .idle_timeout(30 * MINUTE)
        .absolute_timeout(24 * 60 * MINUTE)
        .renew_every(15 * MINUTE)
        .max_sessions(10, OnLimit::EndOldest)
        .encryption_keys(keys)
        .clear_site_data(&[ClearSiteData::Cache, ClearSiteData::Storage])
        .watch_clients(fingerprint, |_changed| ClientChangeAction::StepUp)
        .sign_in_page("/sign-in");
    tracing::info!(policy = layer.describe(), "sessions");
    if is_production { layer } else { layer.development() }
}

/// Describes the browser. In another browser, a session counts as remembered, and guarded pages ask
/// for an authentication.
fn fingerprint(headers: &HeaderMap, _: &Extensions) -> ClientFingerprint {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    ClientFingerprint::new().with("browser", agent)
}

/// Returns the keys of encrypted fields. `file` is the SQLite file of the sessions, if there is
/// one.
fn keys(is_production: bool, file: Option<&str>) -> Result<KeyRing, BoxError> {
    match env::var("STOREFRONT_KEY") {
        Ok(secrets) => {
            Ok(KeyRing::new(secrets.split(','))
                .map_err(|error| format!("STOREFRONT_KEY: {error}"))?)
        }
        Err(_) if is_production => Err("STOREFRONT_KEY is required in production".into()),
        Err(_) => match file {
            Some(file) => Ok(KeyRing::new([kept_secret(&format!("{file}-key"))?])?),
            None => Ok(ruts::Key::generate().into()),
        },
    }
}

/// Returns the secret in a file that only its owner may read. Creates the file with a new secret if
/// it is missing.
fn kept_secret(path: &str) -> Result<Vec<u8>, BoxError> {
    let unusable = |error| format!("the secret in {path}: {error}");
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let secret = ruts::Key::generate().master().to_vec();
            file.write_all(&secret).map_err(unusable)?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(fs::read(path).map_err(unusable)?)
        }
        Err(error) => Err(unusable(error).into()),
    }
}

async fn redis(url: &str, name: &str) -> Result<(RedisStore<Pool>, Pool), BoxError> {
    let unreachable = |error: &dyn Error| {
        format!("cannot connect to Redis at {}: {error}", without_password(url))
    };
    let config = Config::from_url(url).map_err(|error| unreachable(&error))?;
    let connection = ConnectionConfig {
        connection_timeout: Duration::from_secs(3),
        ..ConnectionConfig::default()
    };
    let pool = Pool::new(config, None, Some(connection), None, 4)?;
    let store = RedisStore::builder(Arc::new(pool.clone())).prefix(name).build();
    store.check().await.map_err(|error| unreachable(&error))?;
    Ok((store, pool))
}

async fn postgres(url: &str, name: &str) -> Result<(PostgresStore, PgPool), BoxError> {
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy(url);
    let pool = pool.map_err(|error| format!("{}: {error}", without_password(url)))?;
    let builder = PostgresStore::builder(pool.clone()).table_name(name).create_tables(true);
    let store = builder.build().await;
    let store = store.map_err(|error| unusable("PostgreSQL at", &without_password(url), &error))?;
    Ok((store, pool))
}

async fn mysql(url: &str, name: &str) -> Result<MySqlStore, BoxError> {
    let place = without_password(url);
    let options = url.parse::<MySqlConnectOptions>();
    let options = options.map_err(|error| format!("{place}: {error}"))?;
    let store = MySqlStore::builder(options).table_name(name).create_tables(true).build().await;
    store.map_err(|error| unusable("MySQL at", &place, &error).into())
}

/// Returns the message for a store that cannot be used, with the cause.
fn unusable(kind: &str, place: &str, error: &dyn Error) -> String {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    format!("cannot use {kind} {place}: {error}: {cause}")
}

/// Returns a URL without user and password, for messages.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}
