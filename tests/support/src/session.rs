//! A session of a store, driven through the store's own methods. Used by tests that need no HTTP.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use ruts::{
    Ttl,
    store::{
        Change, Create, Credentials, FieldWrite, Loaded, Precondition, Projection, Refused, Store,
        StoreError, StoreResult, TakeField, Touch, Update, Updated, Written,
    },
    token::{SecretHash, SessionId},
};

/// The answer of an update that applies and neither removes nor expires a field.
pub const APPLIED: Result<Written<Updated>, Refused> =
    Ok(Written::new(Updated::Applied { found: 0 }));

/// The answer of a deletion.
pub const DELETED: Result<Written<()>, Refused> = Ok(Written::new(()));

/// Returns the answer of a take.
pub fn taken(value: Option<Bytes>) -> Result<Written<Option<Bytes>>, Refused> {
    Ok(Written::new(value))
}

/// Returns random bytes for session ids and secrets.
pub fn random<const N: usize>() -> [u8; N] {
    std::array::from_fn(|index| RandomState::new().hash_one(index) as u8)
}

/// A session of a store, with short names for common operations.
pub struct TestSession<S> {
    /// The store.
    pub store: Arc<S>,
    /// Id of the session.
    pub id: SessionId,
    /// Hash of the secret to present.
    pub secret: SecretHash,
}

impl<S> Clone for TestSession<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), ..*self }
    }
}

impl<S> TestSession<S> {
    /// Returns the same session with a different secret.
    #[must_use]
    pub fn with_secret(&self, secret: SecretHash) -> Self {
        Self { secret, ..self.clone() }
    }

    /// Returns the same session with a secret that the session never had.
    #[must_use]
    pub fn with_wrong_secret(&self) -> Self {
        self.with_secret(SecretHash::from_bytes(random()))
    }

    /// Returns the same session through another store.
    #[must_use]
    pub fn through<T>(&self, store: &Arc<T>) -> TestSession<T> {
        TestSession { store: Arc::clone(store), id: self.id, secret: self.secret }
    }

    /// Returns the credentials of the session.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials::new(&self.id, &self.secret)
    }

    /// Returns a creation without fields, deadlines or principal.
    pub fn creation(&self) -> Create<'_> {
        Create::new(&self.id, &self.secret)
    }
}

impl<S: Store> TestSession<S> {
    /// Returns a session that has not been created yet.
    pub fn new(store: &Arc<S>) -> Self {
        Self {
            store: Arc::clone(store),
            id: SessionId::from_bytes(random()),
            secret: SecretHash::from_bytes(random()),
        }
    }

    /// Creates a session without fields, with an idle timeout of one hour.
    pub async fn begin(store: &Arc<S>) -> Self {
        let session = Self::new(store);
        session.create(Some(Ttl::from_secs(3600))).await.unwrap();
        session
    }

    /// Creates the session.
    pub async fn create(&self, idle: Option<Ttl>) -> Result<(), StoreError> {
        self.store.create(self.creation().idle(idle)).await.map(drop)
    }

    /// Writes a field.
    pub async fn set(&self, name: &str, value: &str) -> StoreResult<Written<Updated>> {
        self.set_with_ttl(name, value, None).await
    }

    /// Writes a field with a TTL.
    pub async fn set_with_ttl(
        &self,
        name: &str,
        value: &str,
        ttl: Option<Duration>,
    ) -> StoreResult<Written<Updated>> {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let write = FieldWrite::new(name, &value).ttl(ttl.map(Ttl::from_duration));
        self.change(&[Change::Set(write)]).await
    }

    /// Applies changes to fields.
    pub async fn change(&self, changes: &[Change<'_>]) -> StoreResult<Written<Updated>> {
        self.update(Update::new(changes)).await
    }

    /// Applies an update.
    pub async fn update(&self, update: Update<'_>) -> StoreResult<Written<Updated>> {
        self.store.update(self.credentials(), update).await
    }

    /// Writes a field if it holds `old`.
    pub async fn set_if(
        &self,
        name: &str,
        old: Option<&Bytes>,
        new: &Bytes,
    ) -> StoreResult<Written<Updated>> {
        let changes = [Change::Set(FieldWrite::new(name, new))];
        self.update(Update::new(&changes).precondition(Precondition::new(name, old))).await
    }

    /// Replaces the secret.
    pub async fn rotate(&self, to: &SecretHash) -> StoreResult<Written<Updated>> {
        self.update(Update::new(&[]).rotate(to)).await
    }

    /// Reads all fields.
    pub async fn load(&self) -> StoreResult<Loaded> {
        self.load_fields(Projection::All, None).await
    }

    /// Reads fields.
    pub async fn load_fields(
        &self,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        self.store.load(self.credentials(), fields, touch).await
    }

    /// Reads all fields, and moves the idle deadline to one hour from now.
    pub async fn load_and_touch(&self) -> StoreResult<Loaded> {
        let touch = Touch::new(Ttl::from_secs(3600), Duration::ZERO);
        self.load_fields(Projection::All, Some(touch)).await
    }

    /// Reads one field of a session that must be live.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        match self.load_fields(Projection::Named(&[name]), None).await? {
            Ok(mut loaded) => Ok(loaded.fields.pop().map(|field| field.value)),
            Err(refused) => panic!("the session is not live: {refused:?}"),
        }
    }

    /// Takes a field.
    pub async fn take(&self, name: &str) -> StoreResult<Written<Option<Bytes>>> {
        self.store.take(self.credentials(), TakeField::new(name)).await
    }

    /// Ends the session.
    pub async fn delete(&self) -> StoreResult<Written<()>> {
        self.store.delete(self.credentials()).await
    }
}
