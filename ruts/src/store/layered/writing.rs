use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    doubts::Doubt,
    plan::Plan,
    store::{LayeredStore, NAME, Reply},
};
use crate::{
    store::{
        Cache, CachedField, InvalidationScope, Lookup, Store, StoreError, StoreErrorKind,
        WriteIntent,
    },
    token::SessionId,
};

/// How a write is carried out.
impl<H: Cache, C: Store> LayeredStore<H, C> {
    /// Carries out a write: a intent in the cache, the operation, the finish in the cache. Says besides
    /// whether the cache holds nothing from before.
    ///
    /// Dropped halfway it leaves the intent, which keeps the session out of the cache until it falls; or,
    /// where there is none, a doubt.
    pub(super) async fn write<T: Send>(
        &self,
        id: &SessionId,
        plan: Plan<'_>,
        goes_on: bool,
        operation: Reply<'_, Lookup<T>>,
        applied: impl FnOnce(&T) -> bool,
    ) -> Result<(Lookup<T>, bool), StoreError> {
        let life = self.fence_life();
        let names = plan.names();
        let intent = match self.intent(id, plan.scope(&names), life).await {
            Ok(intent) => Some(intent),
            Err(_) if goes_on => None,
            Err(error) => {
                return Err(StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error));
            }
        };
        let mut unfenced = Unfenced { store: self, id, is_in_doubt: intent.is_none() };
        let answer = operation.await;
        if answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Unknown) {
            return answer.map(|answer| (answer, false));
        }
        let items = match &answer {
            Ok(Lookup::Found(found)) if applied(found) => plan.items(),
            _ => Vec::new(),
        };
        let confirmed = match &intent {
            Some(intent) => self.finish(id, intent, &items).await,
            None => false,
        };
        let confirmed = confirmed || self.hot(self.tiers.hot.cache().evict(id)).await.is_ok();
        unfenced.is_in_doubt = false;
        if !confirmed {
            self.doubt(id, Duration::ZERO);
        }
        answer.map(|answer| (answer, confirmed))
    }

    /// How long a intent stands by itself, and a write may go on of which nobody knows.
    pub(super) fn fence_life(&self) -> Duration {
        self.settings.intent.max(self.settings.cold_timeout * 2)
    }

    async fn intent(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> Result<WriteIntent, StoreError> {
        let cache = self.tiers.hot.cache();
        match self.hot(cache.begin_write(id, scope, life)).await {
            // What is no entry is in the way of one.
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                self.hot(cache.evict(id)).await?;
                self.hot(cache.begin_write(id, scope, life)).await
            }
            answer => answer,
        }
    }

    async fn finish(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> bool {
        let cache = self.tiers.hot.cache();
        match self.hot(cache.finish_write(id, intent, items)).await {
            Err(error) if error.kind() == StoreErrorKind::Full => {
                self.hot(cache.finish_write(id, intent, &[])).await.is_ok()
            }
            answer => answer.is_ok(),
        }
    }

    /// Reads the session past the cache from now on, until the cache has been told to forget it, or
    /// has forgotten it by itself. The write may take place for as long as `open`.
    pub(super) fn doubt(&self, id: &SessionId, open: Duration) {
        // A future that is dropped somewhere else has nobody to see to it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let open_until = Instant::now() + open;
        let doubt = Doubt { open_until, ends: open_until + self.settings.hot_ttl };
        if !self.tiers.doubts.add(id, doubt) {
            return;
        }
        let (this, id) = (self.clone(), *id);
        runtime.spawn(async move {
            let mut pause = Duration::from_millis(50);
            while let Some(doubt) = this.tiers.doubts.get(&id) {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                let begun = Instant::now();
                let is_told = this.hot(this.tiers.hot.cache().evict(&id)).await.is_ok();
                let is_over = begun >= doubt.ends || (is_told && begun >= doubt.open_until);
                if is_over && this.tiers.doubts.settle(&id, doubt) {
                    return;
                }
            }
        });
    }

    /// The answer of a write that the cache could not be told of.
    pub(super) fn unconfirmed<T>(&self, answer: T) -> Lookup<T> {
        Lookup::Unconfirmed { answer, within: self.settings.hot_ttl }
    }
}

/// A write that goes on without a intent. If nobody waits for its end, or the end is not known, the
/// session is in doubt for as long as it may still take place.
struct Unfenced<'a, H: Cache, C: Store> {
    store: &'a LayeredStore<H, C>,
    id: &'a SessionId,
    is_in_doubt: bool,
}

impl<H: Cache, C: Store> Drop for Unfenced<'_, H, C> {
    fn drop(&mut self) {
        if self.is_in_doubt {
            self.store.doubt(self.id, self.store.fence_life());
        }
    }
}
