//! Where sessions are kept, and the contract that every place keeps.
//!
//! A [`Store`] deals in handles, hashes and bytes; it knows nothing of types, codecs, cookies or
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
//! [`announced::AnnouncedStore`] around one of them tells other processes at once what happens to sessions.
//!
//! The repository's `examples/custom-store` keeps sessions in files, in one page of code.

pub mod announced;
#[cfg(feature = "layered-store")]
mod cache;
mod contract;
mod erased;
mod error;
#[cfg(any(feature = "postgres-store", feature = "redis-store", feature = "redis-rs-store"))]
mod gather;
#[cfg(feature = "layered-store")]
pub mod layered;
pub mod memory;
#[cfg(feature = "postgres-store")]
pub mod postgres;
#[cfg(any(feature = "redis-store", feature = "redis-rs-store"))]
pub mod redis;

#[cfg(feature = "layered-store")]
pub use self::cache::{Cache, Fence, Item, Look, Record, Scope, SharedCache, Ticket};
pub(crate) use self::erased::{ErasedReply, ErasedStore, StoreType};
pub use self::{
    contract::{
        Access, Change, Confirmed, Create, Deadline, Expect, Fields, IntoStore, LATE, Limit,
        Listed, Listing, Loaded, Lookup, Meta, OnLimit, Page, Put, Renew, Revoked, Sign, SignIn,
        SignedIn, Store, Stored, Take, Touch, Update, Updated, Whom,
    },
    error::{StoreError, StoreErrorKind},
};
/// All fields of a session, undecoded.
pub use crate::session::SessionMap;
