//! [`Write`]: a write to one session, in the three steps of the protocol.
//!
//! Used by [`LayeredStore`](super::LayeredStore) for every write with credentials. Knows the write
//! intents of the cache, but not the operation that the origin carries out.

use std::{sync::Arc, time::Duration};

use super::{
    pending_evictions::PendingEvictionOfAll,
    tiers::{NAME, TierFuture, Tiers},
    write_set::WriteSet,
};
use crate::{
    store::{
        Cache, CachedField, InvalidationScope, Refused, Store, StoreError, StoreErrorKind,
        StoreResult, WriteIntent, Written,
    },
    token::SessionId,
    turns::Turn,
};

/// A write to one session.
pub(super) struct Write<'a, C, O> {
    tiers: &'a Arc<Tiers<C, O>>,
    id: &'a SessionId,
    set: WriteSet<'a>,
    /// Whether to write to the origin even if the cache accepts no write intent.
    without_cache: bool,
}

/// The effect of a write at the origin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// All changes of the write set.
    Planned,
    /// No change.
    Nothing,
    /// Changes that the write set does not contain. The entry is evicted.
    Other,
}

impl<'a, C: Cache, O: Store> Write<'a, C, O> {
    pub(super) fn new(tiers: &'a Arc<Tiers<C, O>>, id: &'a SessionId, set: WriteSet<'a>) -> Self {
        Self { tiers, id, set, without_cache: tiers.settings.writes_without_cache }
    }

    /// Lets the write take place even if the cache is down, regardless of the settings.
    pub(super) fn without_cache(self) -> Self {
        Self { without_cache: true, ..self }
    }

    /// Registers a write intent, runs the operation of the origin, and finishes the write in the
    /// cache. If the last step fails, the answer states for how long the cache may be stale.
    ///
    /// Before that, waits for the turn of the session. If the turn does not come in time, the write
    /// has no intent, as if the cache were down.
    ///
    /// If the future is dropped halfway, the write intent keeps the invalidated parts out of the
    /// cache until the intent expires. If there is no intent, the entry is evicted.
    pub(super) async fn run<T: Send>(
        self,
        operation: TierFuture<'_, Result<Written<T>, Refused>>,
        effect: impl FnOnce(&T) -> Effect,
    ) -> StoreResult<Written<T>> {
        let Self { tiers, id, .. } = self;
        // The turn lasts until the write has finished in the cache.
        let (_turn, intent) = match self.begin().await {
            Ok((turn, intent)) => (Some(turn), Some(intent)),
            Err(_) if self.without_cache => (None, None),
            Err(error) => {
                return Err(StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error));
            }
        };
        let mut without_intent = WithoutIntent::new(tiers);
        without_intent.extend(intent.is_none().then_some(*id));
        let mut answer = operation.await;
        // The write may still take place, so its intent stays. Without an intent, dropping
        // `without_intent` evicts the entry.
        if answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::OutcomeUnknown) {
            return answer;
        }
        let effect = match &answer {
            Ok(Ok(written)) => effect(&written.answer),
            _ => Effect::Nothing,
        };
        let is_finished = match &intent {
            Some(intent) if effect != Effect::Other => {
                self.finish(intent, effect == Effect::Planned).await
            }
            _ => false,
        };
        let is_finished = is_finished || tiers.evict(id).await.is_ok();
        if !is_finished {
            tiers.evict_later(id, Duration::ZERO);
            if let (true, Ok(Ok(written))) = (effect != Effect::Nothing, &mut answer) {
                written.stale_for = Some(tiers.settings.cache_ttl);
            }
        }
        without_intent.disarm();
        answer
    }

    /// Waits for the turn of the session, and registers a write intent.
    async fn begin(&self) -> Result<(Turn<'a, SessionId>, WriteIntent), StoreError> {
        let (tiers, names) = (self.tiers, self.set.names());
        let scope = self.set.scope(&names);
        let turn = tiers.write_turn(self.id).await?;
        let intent = match begin_write(tiers, self.id, scope).await {
            // The key of the entry holds data that is not a cache entry, so this data is removed
            // first.
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                tiers.evict(self.id).await?;
                begin_write(tiers, self.id, scope).await?
            }
            answer => answer?,
        };
        Ok((turn, intent))
    }

    /// Finishes the write in the cache. Returns whether that succeeded.
    async fn finish(&self, intent: &WriteIntent, is_applied: bool) -> bool {
        let tiers = self.tiers;
        let finish = async |fields: &[CachedField<'_>]| {
            tiers.call_cache(tiers.cache().finish_write(self.id, intent, fields)).await
        };
        let fields = if is_applied { self.set.known_fields() } else { Vec::new() };
        match finish(&fields).await {
            Err(error) if error.kind() == StoreErrorKind::Full => finish(&[]).await.is_ok(),
            answer => answer.is_ok(),
        }
    }
}

/// Registers a write intent in the cache.
pub(super) fn begin_write<'a, C: Cache, O: Store>(
    tiers: &'a Tiers<C, O>,
    id: &'a SessionId,
    scope: InvalidationScope<'a>,
) -> TierFuture<'a, WriteIntent> {
    let ttl = tiers.settings.write_window();
    tiers.call_cache(tiers.cache().begin_write(id, scope, ttl))
}

/// Removes a write intent after a write that stores nothing in the cache.
pub(super) fn finish_write<'a, C: Cache, O: Store>(
    tiers: &'a Tiers<C, O>,
    id: &'a SessionId,
    intent: &'a WriteIntent,
) -> TierFuture<'a, ()> {
    tiers.call_cache(tiers.cache().finish_write(id, intent, &[]))
}

/// The sessions of a write that have no write intent. While the write is in progress, these
/// sessions count as pending evictions. If the future of the write is dropped, or its outcome is
/// unknown, the store keeps evicting their entries. It stops when the write can no longer take
/// place.
pub(super) struct WithoutIntent<'a, C: Cache, O: Store> {
    tiers: &'a Arc<Tiers<C, O>>,
    ids: Vec<SessionId>,
    pending: Option<PendingEvictionOfAll>,
}

impl<'a, C: Cache, O: Store> WithoutIntent<'a, C, O> {
    pub(super) fn new(tiers: &'a Arc<Tiers<C, O>>) -> Self {
        Self { tiers, ids: Vec::new(), pending: None }
    }

    pub(super) fn extend(&mut self, ids: impl IntoIterator<Item = SessionId>) {
        self.ids.extend(ids);
        if !self.ids.is_empty() && self.pending.is_none() {
            self.pending = Some(self.tiers.pending_evictions.add_all());
        }
    }

    /// Records that every entry was evicted, or that a task will evict it.
    pub(super) fn disarm(&mut self) {
        self.ids.clear();
        self.pending = None;
    }
}

impl<C: Cache, O: Store> Drop for WithoutIntent<'_, C, O> {
    fn drop(&mut self) {
        for id in &self.ids {
            self.tiers.evict_later(id, self.tiers.settings.write_window());
        }
    }
}
