//! Where sessions are kept, and the contract that every place keeps.
//!
//! A [`Store`] deals in ids, hashes and bytes; it knows nothing of types, codecs, cookies or
//! HTTP. Anything that passes the conformance suite (`ruts::conformance`) can stand behind a
//! [`SessionLayer`](crate::SessionLayer):
//!
//! | store | feature | survives a restart | shared by processes |
//! | --- | --- | --- | --- |
//! | [`memory::MemoryStore`] | always there | no | no |
//! | `redis::RedisStore` | `redis-store`, `redis-rs-store` | as the server does | yes |
//! | `postgres::PostgresStore` | `postgres-store` | yes | yes |
//! | `layered::LayeredStore` | `layered-store` | as the store of record does | as the cache and the store of record are |
//!
//! [`notify::NotifyingStore`] around one of them tells other processes at once what happens to sessions.
//!
//! The repository's `examples/custom-store` keeps sessions in files, in one page of code.

#[cfg(feature = "layered-store")]
mod cache;
mod contract;
mod dyn_store;
mod error;
#[cfg(any(feature = "postgres-store", feature = "redis-store", feature = "redis-rs-store"))]
mod gather;
#[cfg(feature = "layered-store")]
pub mod layered;
pub mod memory;
pub mod notify;
#[cfg(feature = "postgres-store")]
pub mod postgres;
#[cfg(any(feature = "redis-store", feature = "redis-rs-store"))]
pub mod redis;

#[cfg(feature = "layered-store")]
pub use self::cache::{
    Cache, CacheLookup, CachedField, CachedRecord, InvalidationScope, Lease, SharedCache,
    WriteIntent,
};
pub(crate) use self::dyn_store::{DynStore, StoreFuture, StoreType};
pub use self::{
    contract::{
        AbsoluteDeadline, AuthChange, Change, Confirmed, Create, Credentials, ENDED_RETENTION,
        FieldWrite, IntoStore, ListedSession, Loaded, Lookup, NewSignIn, OnLimit, PageRequest,
        Precondition, Projection, Renew, RevokeTarget, Revoked, SessionLimit, SessionMeta,
        SessionPage, SignedIn, Store, StoredField, TakeField, Touch, Update, Updated,
    },
    error::{StoreError, StoreErrorKind},
};
/// All fields of a session, undecoded.
pub use crate::session::SessionMap;
