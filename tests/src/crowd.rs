use std::{future::Future, sync::Arc};

use bytes::Bytes;
use ruts::{
    CachePolicy, PrincipalKey, SecretHash, SessionId,
    store::{
        Confirmed, Create, Credentials, Loaded, Lookup, PageRequest, Projection, RevokeTarget,
        Revoked, SessionMeta, SessionPage, Store, StoreError, TakeField, Touch, Update, Updated,
    },
};
use tokio::join;

use crate::{Visitor, random};

/// A store none of whose reads and writes goes to the server alone: others are before and behind each, and
/// they get their own answers.
pub struct Crowd<S> {
    store: Arc<S>,
    guest: Visitor<S>,
    thief: Visitor<S>,
}

impl<S: Store> Crowd<S> {
    /// Around a store of whose operations one is under way at a time, so that the next ones wait and go
    /// together.
    pub async fn around(store: S) -> Self {
        let store = Arc::new(store);
        let guest = Visitor::begin(&store).await;
        let thief = Visitor { secret: SecretHash::from_bytes(random()), ..guest.clone() };
        Self { store, guest, thief }
    }

    /// What is asked for goes together if it is the same.
    async fn reads(&self, fields: Projection<'_>, touch: Option<Touch>) {
        may_be_over(self.store.load(self.guest.credentials(), fields, touch).await);
        is_over(self.store.load(self.thief.credentials(), fields, touch).await);
    }

    async fn writes(&self, update: Update<'_>) {
        let Update { changes, touch, precondition: expect, .. } = update;
        let update = Update { changes, touch, precondition: expect, ..Update::default() };
        may_be_over(self.store.update(self.guest.credentials(), update).await);
        is_over(self.store.update(self.thief.credentials(), update).await);
    }
}

/// A guest is gone when all sessions were ended.
fn may_be_over<T: std::fmt::Debug>(answer: Result<Lookup<T>, StoreError>) {
    match answer {
        Ok(Lookup::Found(_)) => {}
        other => is_over(other),
    }
}

/// All fail when a server does.
fn is_over<T: std::fmt::Debug>(answer: Result<Lookup<T>, StoreError>) {
    assert!(matches!(answer, Ok(Lookup::NotFound) | Err(_)), "{answer:?}");
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for Crowd<S> {
    fn name(&self) -> &'static str {
        Store::name(&*self.store)
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let reads = || self.reads(fields, touch);
        let load = self.store.load(credentials, fields, touch);
        let ((), (), loaded, ()) = join!(reads(), reads(), load, reads());
        loaded
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        self.store.create(create).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let writes = || self.writes(update);
        let update = self.store.update(credentials, update);
        let ((), (), updated, ()) = join!(writes(), writes(), update, writes());
        updated
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        self.store.take(credentials, take).await
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        self.store.delete(credentials).await
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        self.store.inspect(id).await
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        self.store.wait_for_change(id)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        self.store.list_by_principal(principal, page, fields).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        self.store.revoke(principal, target).await
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.store.revoke_everyone().await
    }

    fn hint_cache_policy(&self, name: &str, hot: CachePolicy) {
        Store::hint_cache_policy(&*self.store, name, hot);
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.delete_expired(limit).await
    }
}
