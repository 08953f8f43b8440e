//! Revocations, which end sessions without their secrets: [`revoke`], [`revoke_everyone`],
//! [`end_oldest`].
//!
//! Used by [`LayeredStore`](super::LayeredStore), also to make room for a sign-in at its limit.

use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    pending_evictions::PendingEvictionOfAll,
    tiers::Tiers,
    writing::{WithoutIntent, begin_write, finish_write},
};
use crate::{
    auth::PrincipalKey,
    store::{
        Cache, InvalidationScope, ListedSession, PageRequest, Projection, RevokeTarget,
        SessionLimit, Store, StoreError, StoreErrorKind, Written,
    },
    token::SessionId,
};

/// Maximum number of sessions on a page of a list.
const PAGE: usize = 100;

/// Ends sessions of a principal.
///
/// The sessions that are known before the revocation get a write intent, so no cached copy of them
/// stays if the process dies halfway. If the principal signs in to a further session during the
/// revocation, and the revocation ends it, that session is only evicted.
pub(super) async fn revoke<C: Cache, O: Store>(
    tiers: &Arc<Tiers<C, O>>,
    principal: &PrincipalKey,
    target: RevokeTarget<'_>,
) -> Result<Written<Vec<SessionId>>, StoreError> {
    // If two revocations of a principal run at the same time, only one of them finds the sessions
    // to end. The other revocation waits until the cache has dropped those sessions.
    let turn = tiers.revocations.wait_while_moving(*principal, tiers.settings.bulk_timeout()).await;
    let known = match target {
        RevokeTarget::One(id) => vec![*id],
        RevokeTarget::All { except } => {
            let sessions = sessions_of(tiers, principal).await?;
            let known = sessions.iter().map(|listed| listed.id);
            known.filter(|id| Some(id) != except).collect()
        }
    };
    let mut intents = HashMap::new();
    for id in &known {
        match begin_write(tiers, id, InvalidationScope::All).await {
            Ok(intent) => intents.insert(*id, intent),
            // If the cache is down, each further attempt would only wait for its timeout.
            Err(_) => break,
        };
    }
    let mut without_intent = WithoutIntent::new(tiers);
    without_intent.extend(known.iter().filter(|id| !intents.contains_key(*id)).copied());
    let operation = tiers.origin.revoke(principal, target);
    let revoked = tiers.call_origin(StoreErrorKind::OutcomeUnknown, operation).await;
    // The revocation may still take place, so the write intents stay. Dropping `without_intent`
    // evicts the other entries.
    if revoked.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::OutcomeUnknown) {
        return revoked;
    }
    let ended = revoked.iter().flat_map(|revoked| &revoked.answer);
    let late: Vec<SessionId> = ended.filter(|id| !known.contains(id)).copied().collect();
    without_intent.extend(late.iter().copied());
    let mut is_up = true;
    for id in known.iter().chain(&late) {
        is_up = is_up
            && match intents.get(id) {
                Some(intent) if finish_write(tiers, id, intent).await.is_ok() => true,
                _ => tiers.evict(id).await.is_ok(),
            };
        if !is_up {
            tiers.evict_later(id, Duration::ZERO);
        }
    }
    without_intent.disarm();
    let revoked = revoked?;
    // An earlier attempt may have ended sessions that are no longer listed, and their evictions may
    // still be pending. So any pending eviction makes this answer stale.
    Ok(match tiers.pending_evictions.is_empty() && turn.is_some() {
        true => revoked,
        false => revoked.stale_for(tiers.settings.cache_ttl),
    })
}

/// Ends all sessions.
pub(super) async fn revoke_everyone<C: Cache, O: Store>(
    tiers: &Arc<Tiers<C, O>>,
) -> Result<Written<()>, StoreError> {
    let mut not_cleared = NotCleared::new(tiers);
    let operation = timeout(tiers.settings.bulk_timeout(), tiers.origin.revoke_everyone());
    let revoked = operation.await.unwrap_or_else(|elapsed| {
        let error = StoreError::new(tiers.origin.name(), StoreErrorKind::OutcomeUnknown);
        Err(error.with_source(elapsed))
    });
    let is_cleared = tiers.clear().await;
    // The revocation may still take place. After `not_cleared` is dropped, the store keeps clearing
    // the cache until the revocation can no longer take place.
    if revoked.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::OutcomeUnknown) {
        return revoked;
    }
    not_cleared.pending = None;
    if is_cleared {
        return revoked;
    }
    tiers.clear_later(Duration::ZERO);
    revoked.map(|revoked| revoked.stale_for(tiers.settings.cache_ttl))
}

/// A revocation of all sessions, from its start until the cache has been cleared. If its future is
/// dropped, or its outcome is unknown, the store keeps clearing the cache until the revocation can
/// no longer take place.
struct NotCleared<'a, C: Cache, O: Store> {
    tiers: &'a Arc<Tiers<C, O>>,
    pending: Option<PendingEvictionOfAll>,
}

impl<'a, C: Cache, O: Store> NotCleared<'a, C, O> {
    fn new(tiers: &'a Arc<Tiers<C, O>>) -> Self {
        Self { tiers, pending: Some(tiers.pending_evictions.add_all()) }
    }
}

impl<C: Cache, O: Store> Drop for NotCleared<'_, C, O> {
    fn drop(&mut self) {
        if self.pending.is_some() {
            self.tiers.clear_later(self.tiers.settings.write_window());
        }
    }
}

/// Ends the sessions with the oldest sign-ins of a principal, until the session `own` fits under
/// the limit.
pub(super) async fn end_oldest<C: Cache, O: Store>(
    tiers: &Arc<Tiers<C, O>>,
    principal: &PrincipalKey,
    own: &SessionId,
    limit: SessionLimit,
) -> Result<Written<()>, StoreError> {
    let mut others: Vec<_> = (sessions_of(tiers, principal).await?.iter())
        .filter(|listed| listed.id != *own)
        .map(|listed| {
            let ago = listed.loaded.meta.signed_in.map(|signed_in| signed_in.ago);
            (Reverse(ago), listed.id)
        })
        .collect();
    others.sort_unstable();
    let beyond = (others.len() + 1).saturating_sub(limit.sessions.max(1) as usize);
    let mut stale_for = None;
    for (_, id) in &others[..beyond] {
        stale_for = revoke(tiers, principal, RevokeTarget::One(id)).await?.stale_for.max(stale_for);
    }
    Ok(Written::new(()).stale_for(stale_for))
}

/// Lists all sessions of a principal, page by page.
async fn sessions_of<C: Cache, O: Store>(
    tiers: &Tiers<C, O>,
    principal: &PrincipalKey,
) -> Result<Vec<ListedSession>, StoreError> {
    let (mut sessions, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest::new(after.as_ref(), PAGE);
        let operation = tiers.origin.list_by_principal(principal, page, Projection::Named(&[]));
        let listing = tiers.call_origin(StoreErrorKind::Unavailable, operation).await?;
        sessions.extend(listing.sessions);
        match listing.next {
            Some(next) => after = Some(next),
            None => return Ok(sessions),
        }
    }
}
