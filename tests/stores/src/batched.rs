//! A store that batches every read and write with others, for suites that must also pass in
//! batches.

use std::{fmt::Debug, sync::Arc};

use ruts::store::{
    Credentials, Loaded, Projection, Refused, Store, StoreResult, Touch, Update, Updated, Written,
};
use ruts_tests_support::{TestSession, delegate_store};
use tokio::join;

/// A store that sends other operations before and after each read and write, so that all of them go
/// to the server in batches.
///
/// The other operations have answers of their own: `guest` has a live session, and `thief` presents
/// a wrong secret.
pub struct Batched<S> {
    store: Arc<S>,
    guest: TestSession<S>,
    thief: TestSession<S>,
}

impl<S: Store> Batched<S> {
    /// Wraps a store that sends one command at a time, so that later operations form a batch.
    pub async fn new(store: S) -> Self {
        let store = Arc::new(store);
        let guest = TestSession::begin(&store).await;
        let thief = guest.with_wrong_secret();
        Self { store, guest, thief }
    }

    /// Reads with the same projection, because a batch has reads of one projection only.
    async fn read_others(&self, fields: Projection<'_>, touch: Option<Touch>) {
        assert_live_or_ended(self.guest.load_fields(fields, touch).await);
        assert_ended(self.thief.load_fields(fields, touch).await);
    }

    async fn write_others(&self, update: &Update<'_>) {
        let update =
            Update::new(update.changes).precondition(update.precondition).touch(update.touch);
        assert_live_or_ended(self.guest.update(update).await);
        assert_ended(self.thief.update(update).await);
    }
}

/// Accepts an ended session too, because a check may end all sessions.
fn assert_live_or_ended<T: Debug>(answer: StoreResult<T>) {
    match answer {
        Ok(Ok(_)) => {}
        other => assert_ended(other),
    }
}

/// Accepts an error too, because every operation fails while its server is down.
fn assert_ended<T: Debug>(answer: StoreResult<T>) {
    let is_ended = matches!(answer, Ok(Err(Refused::NotFound | Refused::Revoked)) | Err(_));
    assert!(is_ended, "{answer:?}");
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for Batched<S> {
    delegate_store!(self.store: name create take delete inspect expiry wait_for_change
        list_by_principal revoke revoke_everyone hint_cache_policy delete_expired);

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let others = || self.read_others(fields, touch);
        let load = self.store.load(credentials, fields, touch);
        let ((), (), loaded, ()) = join!(others(), others(), load, others());
        loaded
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let others = || self.write_others(&update);
        let write = self.store.update(credentials, update);
        let ((), (), updated, ()) = join!(others(), others(), write, others());
        updated
    }
}
