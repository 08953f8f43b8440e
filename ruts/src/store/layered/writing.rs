use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    doubts::Doubt,
    plan::Plan,
    store::{LayeredStore, NAME, Reply},
};
use crate::{
    store::{Cache, Fence, Item, Lookup, Scope, Store, StoreError, StoreErrorKind},
    token::Handle,
};

/// How a write is carried out.
impl<H: Cache, C: Store> LayeredStore<H, C> {
    /// Carries out a write: a fence in the cache, the operation, the finish in the cache. Says besides
    /// whether the cache holds nothing from before.
    ///
    /// Dropped halfway it leaves the fence, which keeps the session out of the cache until it falls; or,
    /// where there is none, a doubt.
    pub(super) async fn write<T: Send>(
        &self,
        handle: &Handle,
        plan: Plan<'_>,
        goes_on: bool,
        operation: Reply<'_, Lookup<T>>,
        applied: impl FnOnce(&T) -> bool,
    ) -> Result<(Lookup<T>, bool), StoreError> {
        let life = self.fence_life();
        let names = plan.names();
        let fence = match self.fence(handle, plan.scope(&names), life).await {
            Ok(fence) => Some(fence),
            Err(_) if goes_on => None,
            Err(error) => {
                return Err(StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error));
            }
        };
        let mut unfenced = Unfenced { store: self, handle, is_in_doubt: fence.is_none() };
        let answer = operation.await;
        if answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Unknown) {
            return answer.map(|answer| (answer, false));
        }
        let items = match &answer {
            Ok(Lookup::Found(found)) if applied(found) => plan.items(),
            _ => Vec::new(),
        };
        let confirmed = match &fence {
            Some(fence) => self.finish(handle, fence, &items).await,
            None => false,
        };
        let confirmed = confirmed || self.hot(self.tiers.hot.cache().evict(handle)).await.is_ok();
        unfenced.is_in_doubt = false;
        if !confirmed {
            self.doubt(handle, Duration::ZERO);
        }
        answer.map(|answer| (answer, confirmed))
    }

    /// How long a fence stands by itself, and a write may go on of which nobody knows.
    pub(super) fn fence_life(&self) -> Duration {
        self.settings.fence.max(self.settings.cold_timeout * 2)
    }

    async fn fence(
        &self,
        handle: &Handle,
        scope: Scope<'_>,
        life: Duration,
    ) -> Result<Fence, StoreError> {
        let cache = self.tiers.hot.cache();
        match self.hot(cache.fence(handle, scope, life)).await {
            // What is no entry is in the way of one.
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                self.hot(cache.evict(handle)).await?;
                self.hot(cache.fence(handle, scope, life)).await
            }
            answer => answer,
        }
    }

    async fn finish(&self, handle: &Handle, fence: &Fence, items: &[Item<'_>]) -> bool {
        let cache = self.tiers.hot.cache();
        match self.hot(cache.finish(handle, fence, items)).await {
            Err(error) if error.kind() == StoreErrorKind::Full => {
                self.hot(cache.finish(handle, fence, &[])).await.is_ok()
            }
            answer => answer.is_ok(),
        }
    }

    /// Reads the session past the cache from now on, until the cache has been told to forget it, or
    /// has forgotten it by itself. The write may take place for as long as `open`.
    pub(super) fn doubt(&self, handle: &Handle, open: Duration) {
        // A future that is dropped somewhere else has nobody to see to it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let open_until = Instant::now() + open;
        let doubt = Doubt { open_until, ends: open_until + self.settings.hot_ttl };
        if !self.tiers.doubts.add(handle, doubt) {
            return;
        }
        let (this, handle) = (self.clone(), *handle);
        runtime.spawn(async move {
            let mut pause = Duration::from_millis(50);
            while let Some(doubt) = this.tiers.doubts.get(&handle) {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                let begun = Instant::now();
                let is_told = this.hot(this.tiers.hot.cache().evict(&handle)).await.is_ok();
                let is_over = begun >= doubt.ends || (is_told && begun >= doubt.open_until);
                if is_over && this.tiers.doubts.settle(&handle, doubt) {
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

/// A write that goes on without a fence. If nobody waits for its end, or the end is not known, the
/// session is in doubt for as long as it may still take place.
struct Unfenced<'a, H: Cache, C: Store> {
    store: &'a LayeredStore<H, C>,
    handle: &'a Handle,
    is_in_doubt: bool,
}

impl<H: Cache, C: Store> Drop for Unfenced<'_, H, C> {
    fn drop(&mut self) {
        if self.is_in_doubt {
            self.store.doubt(self.handle, self.store.fence_life());
        }
    }
}
