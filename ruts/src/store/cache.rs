use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;

use super::{Credentials, Loaded, Projection, SessionMeta, StoreError, Touch};
use crate::{token::SessionId, ttl::CachePolicy};

/// A tier in front of the store of record, for a [`LayeredStore`](super::layered::LayeredStore).
///
/// It holds an *entry* for a session: the session's own record (hash of the secret, age, deadlines),
/// some of its fields, and which fields it is known not to have. It may lose any of this at any
/// time. What makes it safe are two marks in the entry:
///
/// - a [`Lease`], handed to a reader who finds less than it asked for. It is good until the next
///   intent, and only its holder may [`fill`](Self::fill);
/// - a [`WriteIntent`] for each write under way. As long as one stands, no lease is handed out.
///
/// Every method but [`clear`](Self::clear) is **one atomic operation on one entry** and one round trip. A command may be lost,
/// come late or be carried out twice: each of these must do no more than empty the entry. So the
/// cache, not the caller, makes the identity of a lease or intent, anew at each run, and no two are
/// the same.
///
/// What an entry held before the cache's data went back in time (a snapshot that was restored, a
/// replica that took over) must be out of reach afterwards.
///
/// Times are told as what is left from a moment of the cache's own clock, the `at` of the lease or
/// intent, so that a late command serves nothing for longer.
///
/// The conformance suite on a `LayeredStore` of your cache over a
/// [`MemoryStore`](super::memory::MemoryStore) checks an implementation, as far as nothing goes wrong.
pub trait Cache: Send + Sync + 'static {
    /// A short name for errors and traces.
    fn name(&self) -> &'static str;

    /// Reads the named fields, or all. It is a [`CacheLookup::Hit`] only if the entry holds the session's
    /// record, `credentials` opens it, every field asked for is known to be there or not, and `touch` would
    /// move nothing.
    fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> impl Future<Output = Result<CacheLookup, StoreError>> + Send;

    /// Raises a intent that falls by itself after `life`: forgets what `scope` names, takes back the
    /// lease, and remembers of this intent and of those that stand that there was another one.
    fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> impl Future<Output = Result<WriteIntent, StoreError>> + Send;

    /// Takes the intent away, and puts `items` into the entry if there was no other one beside it. If
    /// the intent does not stand any more, empties the entry, takes back the lease, leaves the other
    /// intents, and has them remember that there was another one.
    fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts what a reader read into the entry, if its lease is still good. A record that may be served and
    /// tells of a later idle deadline stays: the session was used since.
    fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        items: &[CachedField<'_>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets the entry, with its marks.
    fn evict(&self, id: &SessionId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets all entries, with their marks, in a time that does not depend on how many they are.
    fn clear(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the cache can do its part, good to have at start-up. What costs more than it need is
    /// logged as a warning.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A [`Cache`] that all processes see alike, so that the intents of one keep the others away.
pub trait SharedCache: Cache {}

/// What a [`Cache`] answers to a look.
#[derive(Debug)]
pub enum CacheLookup {
    /// All that was asked for.
    Hit(Loaded),
    /// Less. With the lease, if there is one, what the store of record says may be filled in.
    Miss(Option<Lease>),
}

/// The right to fill an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What tells it from every other one.
    pub mark: Bytes,
    /// When the reader came, in milliseconds of the cache's clock.
    pub at: u64,
}

/// A write under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteIntent {
    /// What tells it from every other one.
    pub mark: Bytes,
    /// When it was raised, in milliseconds of the cache's clock.
    pub at: u64,
}

/// What a write makes unknown.
#[derive(Debug, Clone, Copy)]
pub enum InvalidationScope<'a> {
    /// The whole entry.
    All,
    /// Parts of it.
    Some {
        /// These fields.
        names: &'a [&'a str],
        /// The session's record.
        record: bool,
        /// The session's record too, if this would move its idle deadline.
        touch: Option<Touch>,
    },
}

/// A field to put into an entry.
#[derive(Clone, Copy)]
pub struct CachedField<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; `None` if it is known not to be there.
    pub value: Option<&'a Bytes>,
    /// What is left of its own lifetime.
    pub ttl: Option<Duration>,
    /// Its place in a cache tier.
    pub hot: CachePolicy,
    /// For how long it may be served from the entry.
    pub life: Duration,
}

/// A session's own record to put into an entry.
#[derive(Debug, Clone, Copy)]
pub struct CachedRecord {
    /// Its age and deadlines.
    pub meta: SessionMeta,
    /// For how long it may be served from the entry.
    pub life: Duration,
    /// That the items are all fields there are, for how long they may pass for that.
    pub complete: Option<Duration>,
}

/// Values are shown as their lengths.
impl fmt::Debug for CachedField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedField")
            .field("name", &self.name)
            .field("bytes", &self.value.map(Bytes::len))
            .field("ttl", &self.ttl)
            .field("hot", &self.hot)
            .field("life", &self.life)
            .finish()
    }
}
