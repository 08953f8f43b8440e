use std::{future::Future, sync::Arc};

use bytes::Bytes;
use ruts::{
    Handle, Hot, PrincipalKey, SecretHash,
    store::{
        Access, Confirmed, Create, Fields, Listing, Loaded, Lookup, Meta, Page, Revoked, Store,
        StoreError, Take, Touch, Update, Updated, Whom,
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
    async fn reads(&self, fields: Fields<'_>, touch: Option<Touch>) {
        may_be_over(self.store.load(self.guest.access(), fields, touch).await);
        is_over(self.store.load(self.thief.access(), fields, touch).await);
    }

    async fn writes(&self, update: Update<'_>) {
        let Update { changes, touch, expect, .. } = update;
        let update = Update { changes, touch, expect, ..Update::default() };
        may_be_over(self.store.update(self.guest.access(), update).await);
        is_over(self.store.update(self.thief.access(), update).await);
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
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let reads = || self.reads(fields, touch);
        let load = self.store.load(access, fields, touch);
        let ((), (), loaded, ()) = join!(reads(), reads(), load, reads());
        loaded
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        self.store.create(create).await
    }

    async fn update(
        &self,
        access: Access<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let writes = || self.writes(update);
        let update = self.store.update(access, update);
        let ((), (), updated, ()) = join!(writes(), writes(), update, writes());
        updated
    }

    async fn take(
        &self,
        access: Access<'_>,
        take: Take<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        self.store.take(access, take).await
    }

    async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
        self.store.delete(access).await
    }

    async fn peek(&self, handle: &Handle) -> Result<Option<Meta>, StoreError> {
        self.store.peek(handle).await
    }

    fn changed(&self, handle: &Handle) -> impl Future<Output = ()> + Send + 'static {
        self.store.changed(handle)
    }

    async fn find(
        &self,
        principal: &PrincipalKey,
        page: Page<'_>,
        fields: Fields<'_>,
    ) -> Result<Listing, StoreError> {
        self.store.find(principal, page, fields).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        whom: Whom<'_>,
    ) -> Result<Revoked, StoreError> {
        self.store.revoke(principal, whom).await
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.store.revoke_everyone().await
    }

    fn declare(&self, name: &str, hot: Hot) {
        Store::declare(&*self.store, name, hot);
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.sweep(limit).await
    }
}
