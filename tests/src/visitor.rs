use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use ruts::{
    CachePolicy, SecretHash, SessionId, Ttl,
    store::{
        Change, Create, Credentials, FieldWrite, Loaded, Lookup, Precondition, Projection, Store,
        StoreError, TakeField, Touch, Update, Updated,
    },
};

/// Random bytes, for handles and secrets of tests.
pub fn random<const N: usize>() -> [u8; N] {
    std::array::from_fn(|index| RandomState::new().hash_one(index) as u8)
}

/// One session of a store, and short words for what is done with it.
pub struct Visitor<S> {
    /// The store.
    pub store: Arc<S>,
    /// The session's handle.
    pub id: SessionId,
    /// The hash of its secret, as this visitor knows it.
    pub secret: SecretHash,
}

impl<S> Clone for Visitor<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), ..*self }
    }
}

impl<S: Store> Visitor<S> {
    /// One whose session is not there yet.
    pub fn new(store: &Arc<S>) -> Self {
        Self {
            store: Arc::clone(store),
            id: SessionId::from_bytes(random()),
            secret: SecretHash::from_bytes(random()),
        }
    }

    /// One whose session is there, without fields, for an hour.
    pub async fn begin(store: &Arc<S>) -> Self {
        let visitor = Self::new(store);
        visitor.create(Some(Ttl::from_secs(3600))).await.unwrap();
        visitor
    }

    /// The right to use the session.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials { id: &self.id, secret: &self.secret }
    }

    /// Creates the session.
    pub async fn create(&self, idle: Option<Ttl>) -> Result<(), StoreError> {
        let Self { id, secret, .. } = self;
        let create = Create { id, secret, idle, absolute: None, fields: &[], sign_in: None };
        self.store.create(create).await
    }

    /// Writes a field.
    pub async fn set(&self, name: &str, value: &str) -> Result<Lookup<Updated>, StoreError> {
        self.set_for(name, value, None).await
    }

    /// Writes a field with a lifetime.
    pub async fn set_for(
        &self,
        name: &str,
        value: &str,
        ttl: Option<Duration>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let ttl = ttl.map(Ttl::require);
        self.change(&[Change::Set(FieldWrite { name, value: &value, ttl, hot: CachePolicy::Auto })])
            .await
    }

    /// Applies changes.
    pub async fn change(&self, changes: &[Change<'_>]) -> Result<Lookup<Updated>, StoreError> {
        self.store.update(self.credentials(), Update { changes, ..Update::default() }).await
    }

    /// Writes a field if it holds `old`.
    pub async fn replace(
        &self,
        name: &str,
        old: Option<&Bytes>,
        new: &Bytes,
    ) -> Result<Lookup<Updated>, StoreError> {
        let changes =
            [Change::Set(FieldWrite { name, value: new, ttl: None, hot: CachePolicy::Auto })];
        let expect = Some(Precondition { name, value: old });
        let update = Update { changes: &changes, precondition: expect, ..Update::default() };
        self.store.update(self.credentials(), update).await
    }

    /// Replaces the secret.
    pub async fn rotate(&self, to: &SecretHash) -> Result<Lookup<Updated>, StoreError> {
        self.store
            .update(self.credentials(), Update { rotate: Some(to), ..Update::default() })
            .await
    }

    /// Reads everything.
    pub async fn load(&self) -> Result<Lookup<Loaded>, StoreError> {
        self.store.load(self.credentials(), Projection::All, None).await
    }

    /// Reads everything, as activity that is always granted another hour.
    pub async fn slide(&self) -> Result<Lookup<Loaded>, StoreError> {
        let touch = Touch { idle: Ttl::from_secs(3600), after: Duration::ZERO };
        self.store.load(self.credentials(), Projection::All, Some(touch)).await
    }

    /// Reads one field of a session that is there.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        match self.store.load(self.credentials(), Projection::Named(&[name]), None).await? {
            Lookup::Found(mut loaded) => Ok(loaded.fields.pop().map(|field| field.value)),
            other => panic!("the session is {other:?}"),
        }
    }

    /// Takes a field.
    pub async fn take(&self, name: &str) -> Result<Lookup<Option<Bytes>>, StoreError> {
        self.store
            .take(
                self.credentials(),
                TakeField { name, rotate: None, touch: None, sign_out: false },
            )
            .await
    }

    /// Ends the session.
    pub async fn delete(&self) -> Result<Lookup<()>, StoreError> {
        self.store.delete(self.credentials()).await
    }
}
