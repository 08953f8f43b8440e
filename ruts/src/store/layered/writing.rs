use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
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
    /// Dropped halfway it leaves the fence, which keeps the session out of the cache until it falls.
    pub(super) async fn write<T: Send>(
        &self,
        handle: &Handle,
        plan: Plan<'_>,
        goes_on: bool,
        operation: Reply<'_, Lookup<T>>,
        applied: impl FnOnce(&T) -> bool,
    ) -> Result<(Lookup<T>, bool), StoreError> {
        let life = self.settings.fence.max(self.settings.cold_timeout * 2);
        let cache = self.tiers.hot.cache();
        let fence = match self.fence(handle, plan.scope(), life).await {
            Ok(fence) => Some(fence),
            Err(_) if goes_on => None,
            Err(error) => {
                return Err(StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error));
            }
        };
        let answer = operation.await;
        if fence.is_some()
            && answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Unknown)
        {
            return answer.map(|answer| (answer, false));
        }
        let items = match &answer {
            Ok(Lookup::Found(found)) if applied(found) => plan.items(),
            _ => &[],
        };
        let confirmed = match &fence {
            Some(fence) => self.finish(handle, fence, items).await,
            None => false,
        };
        let confirmed = confirmed || self.hot(cache.evict(handle)).await.is_ok();
        if !confirmed {
            self.doubt(handle);
        }
        answer.map(|answer| (answer, confirmed))
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
    /// has forgotten it by itself.
    fn doubt(&self, handle: &Handle) {
        if !self.tiers.doubts.add(handle) {
            return;
        }
        let (this, handle) = (self.clone(), *handle);
        tokio::spawn(async move {
            let doubts = &this.tiers.doubts;
            let mut pause = Duration::from_millis(50);
            let mut times = doubts.times(&handle);
            let mut until = Instant::now() + this.settings.hot_ttl;
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                let settled = this.hot(this.tiers.hot.cache().evict(&handle)).await.is_ok();
                if (settled || Instant::now() >= until) && doubts.settle(&handle, times) {
                    return;
                }
                let now = doubts.times(&handle);
                if now != times {
                    (times, until) = (now, Instant::now() + this.settings.hot_ttl);
                }
            }
        });
    }

    /// The answer of a write that the cache could not be told of.
    pub(super) fn unconfirmed<T>(&self, answer: T) -> Lookup<T> {
        Lookup::Unconfirmed { answer, within: self.settings.hot_ttl }
    }
}
