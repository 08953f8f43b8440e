#![doc = include_str!("../README.md")]

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use ruts::{
    Ttl,
    store::{
        AbsoluteDeadline, CachePolicy, Change, Create, Credentials, FieldWrite, IntoStore,
        Projection, Store, StoreError, StoreErrorKind, Update, Written,
    },
    token::{SecretHash, SessionId},
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tower_sessions_core::{
    ExpiredDeletion, SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};

/// The field of a session that holds the values of a record, as JSON.
const DATA: &str = "data";
/// Maximum number of expired sessions that one call of the store removes.
const BATCH: usize = 1000;

/// A tower-sessions session store that keeps its records in a ruts store.
///
/// ```
/// use ruts::store::memory::MemoryStore;
/// use ruts_tower_sessions::RutsStore;
/// use tower_sessions::SessionManagerLayer;
///
/// let layer = SessionManagerLayer::new(RutsStore::new(MemoryStore::new()));
/// # drop(layer);
/// ```
///
/// Unlike other tower-sessions stores, it stores only hashes of the ids, so its content does not
/// give access to a session. A [`save`](SessionStore::save) after the end of a session does not
/// revive the session. A record is one value: if two requests save it at the same time, the last
/// save replaces the other one.
///
/// # Round trips
///
/// One round trip for each method. `create` takes one more if the id exists.
/// [`delete_expired`](ExpiredDeletion::delete_expired) takes one for every 1,000 sessions.
pub struct RutsStore<S> {
    store: Arc<S>,
}

impl<S: Store> RutsStore<S> {
    /// Keeps records in this store. The store may also hold ruts's own sessions.
    pub fn new(store: impl IntoStore<Store = S>) -> Self {
        Self { store: store.into_store() }
    }
}

/// Id and secret hash of the ruts session for a record. Both are hashes of the record's id, which
/// is secret.
struct Names {
    id: SessionId,
    secret: SecretHash,
}

impl Names {
    fn of(id: &Id) -> Self {
        let hash = |purpose: &[u8]| -> [u8; 32] {
            Sha256::new_with_prefix(purpose).chain_update(id.0.to_le_bytes()).finalize().into()
        };
        let mut short = [0; 16];
        short.copy_from_slice(&hash(b"tower-sessions id")[..16]);
        let secret = SecretHash::from_bytes(hash(b"tower-sessions secret"));
        Self { id: SessionId::from_bytes(short), secret }
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials::new(&self.id, &self.secret)
    }
}

#[async_trait]
impl<S: Store> SessionStore for RutsStore<S> {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let data = encode(record)?;
        // A record that has already expired gets the shortest lifetime.
        let life = life(record).unwrap_or(Ttl::from_millis(1));
        loop {
            let names = Names::of(&record.id);
            let fields = [field(&data)];
            let create = Create::new(&names.id, &names.secret).absolute(life).fields(&fields);
            match self.store.create(create).await {
                Ok(written) => return confirm(written),
                Err(error) if error.kind() == StoreErrorKind::Exists => record.id = Id::default(),
                Err(error) => return Err(backend(&error)),
            }
        }
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let Some(life) = life(record) else { return self.delete(&record.id).await };
        let (names, data) = (Names::of(&record.id), encode(record)?);
        let change = [Change::Set(field(&data))];
        let update = Update::new(&change).absolute(AbsoluteDeadline::new(life, None));
        match self.store.update(names.credentials(), update).await.map_err(|e| backend(&e))? {
            Ok(written) => confirm(written),
            // The session has ended, and a save must not revive it.
            Err(_refused) => Ok(()),
        }
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let names = Names::of(id);
        let fields = Projection::Named(&[DATA]);
        let loaded = self.store.load(names.credentials(), fields, None).await;
        let Ok(loaded) = loaded.map_err(|error| backend(&error))? else { return Ok(None) };
        let Some(field) = loaded.fields.first() else { return Ok(None) };
        let data = serde_json::from_slice(&field.value);
        // A serde error may quote a value.
        let data = data.map_err(|_| Error::Decode("the record is not JSON".to_owned()))?;
        let left = loaded.meta.absolute_remaining.unwrap_or(Ttl::MAX.as_duration());
        Ok(Some(Record { id: *id, data, expiry_date: OffsetDateTime::now_utc() + left }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let deleted = self.store.delete(Names::of(id).credentials()).await;
        match deleted.map_err(|error| backend(&error))? {
            Ok(written) => confirm(written),
            Err(_refused) => Ok(()),
        }
    }
}

#[async_trait]
impl<S: Store> ExpiredDeletion for RutsStore<S> {
    async fn delete_expired(&self) -> Result<()> {
        while self.store.delete_expired(BATCH).await.map_err(|error| backend(&error))? == BATCH {}
        Ok(())
    }
}

/// Returns the remaining lifetime of a record. `None` if it has expired.
fn life(record: &Record) -> Option<Ttl> {
    let left = Duration::try_from(record.expiry_date - OffsetDateTime::now_utc()).ok()?;
    Ttl::new(left.min(Ttl::MAX.as_duration())).ok()
}

fn encode(record: &Record) -> Result<Bytes> {
    let data = serde_json::to_vec(&record.data);
    data.map(Bytes::from).map_err(|_| Error::Encode("a value is not JSON".to_owned()))
}

fn field(data: &Bytes) -> FieldWrite<'_> {
    FieldWrite::new(DATA, data).cache_policy(CachePolicy::Default)
}

fn backend(error: &StoreError) -> Error {
    Error::Backend(error.to_string())
}

/// Returns an error if a cache may still show the state before the write.
fn confirm<T>(written: Written<T>) -> Result<()> {
    match written.stale_for {
        None => Ok(()),
        Some(_) => Err(Error::Backend("a cache may still show the former state".to_owned())),
    }
}

impl<S> Clone for RutsStore<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store) }
    }
}

impl<S: Store> fmt::Debug for RutsStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RutsStore").field("store", &self.store.name()).finish()
    }
}

/// The code blocks of a page of the guide, as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/on-tower-sessions.md")]
mod guide {}
