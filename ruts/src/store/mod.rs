//! Session stores, and the [`Store`] contract that each of them keeps.
//!
//! A store works with ids, hashes and bytes. It knows nothing about types, codecs, cookies or HTTP.
//! A [`SessionLayer`](crate::SessionLayer) can use any store that passes the conformance suite
//! (`ruts::conformance`):
//!
//! | store | feature | survives a restart | shared by processes |
//! | --- | --- | --- | --- |
//! | [`memory::MemoryStore`] | none needed | no | no |
//! | `sqlite::SqliteStore` | `sqlite-store` | yes | yes, on one host |
//! | `redis::RedisStore` | `redis-store`, `redis-rs-store` | if the server persists its data | yes |
//! | `postgres::PostgresStore` | `postgres-store` | yes | yes |
//! | `mysql::MySqlStore` | `mysql-store` | yes | yes |
//! | `layered::LayeredStore` | `layered-store` | if its origin does | if its origin and cache are |
//!
//! [`notify::NotifyingStore`] wraps any of these stores. It notifies other processes immediately
//! when a session is deleted or revoked, or its principal changes. A custom store implements
//! [`RecordStore`], or [`Store`] itself. The repository's `examples/custom-store` keeps sessions in
//! files.

#[cfg(any(
    feature = "mysql-store",
    feature = "postgres-store",
    feature = "redis-store",
    feature = "redis-rs-store"
))]
mod batch;
#[cfg(feature = "layered-store")]
mod cache;
#[cfg(any(feature = "mysql-store", feature = "postgres-store", feature = "sqlite-store"))]
mod cleanup_interval;
#[cfg(any(feature = "layered-store", feature = "redis-store", feature = "redis-rs-store"))]
mod contention;
mod contract;
mod dyn_store;
mod error;
#[cfg(any(
    feature = "mysql-store",
    feature = "postgres-store",
    feature = "redis-store",
    feature = "redis-rs-store"
))]
mod fair_queue;
#[cfg(feature = "layered-store")]
pub mod layered;
pub mod memory;
#[cfg(feature = "mysql-store")]
pub mod mysql;
pub mod notify;
#[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
mod owned_request;
#[cfg(feature = "postgres-store")]
pub mod postgres;
mod record;
mod record_store;
#[cfg(any(feature = "redis-store", feature = "redis-rs-store"))]
pub mod redis;
mod request;
mod response;
#[cfg(any(feature = "mysql-store", feature = "postgres-store"))]
mod sql;
#[cfg(feature = "sqlite-store")]
pub mod sqlite;
mod watchers;

#[cfg(feature = "layered-store")]
pub use self::cache::{
    Cache, CacheLookup, CachedField, CachedRecord, InvalidationScope, Lease, SharedCache,
    WriteIntent,
};
pub(crate) use self::dyn_store::{DynStore, StoreFuture, StoreType};
pub use self::{
    contract::{DELETED_RETENTION, IntoStore, REVOKED_RETENTION, Store, StoreResult},
    error::{StoreError, StoreErrorKind},
    record::{CorruptRecord, SessionRecord},
    record_store::RecordStore,
    request::{
        AbsoluteDeadline, AuthChange, Change, Create, Credentials, FieldWrite, NewSignIn, OnLimit,
        PageRequest, Precondition, Projection, Proof, Renew, RevokeTarget, SessionLimit, TakeField,
        Touch, Update,
    },
    response::{
        Expiry, ListedSession, Loaded, Refused, SessionMeta, SessionPage, SignedIn, StoredField,
        Updated, Written,
    },
};
pub use crate::cache_policy::CachePolicy;
/// All fields of a session, not yet decoded.
pub use crate::session::map::SessionMap;
