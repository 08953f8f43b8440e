//! Revocations: sessions that end without their secret.
//!
//! Used by [`LayeredStore`](super::LayeredStore), also to make room for a sign-in at its limit.

use std::{cmp::Reverse, collections::HashSet, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{tiers::Tiers, writing::begin_write};
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
/// The sessions that are known before the revocation get a write intent, so a process that dies
/// halfway leaves no cached copy of them. If the revocation ends a session that signed in meanwhile,
/// that session is only evicted.
pub(super) async fn revoke<C: Cache, O: Store>(
    tiers: &Arc<Tiers<C, O>>,
    principal: &PrincipalKey,
    target: RevokeTarget<'_>,
) -> Result<Written<Vec<SessionId>>, StoreError> {
    let known = match target {
        RevokeTarget::One(id) => vec![*id],
        RevokeTarget::All { except } => {
            let sessions = sessions_of(tiers, principal).await?;
            let known = sessions.iter().map(|listed| listed.id);
            known.filter(|id| Some(id) != except).collect()
        }
    };
    let mut with_intent = HashSet::new();
    for id in &known {
        match begin_write(tiers, id, InvalidationScope::All).await {
            Ok(_) => with_intent.insert(*id),
            // If the cache is down, each further attempt would wait in vain.
            Err(_) => break,
        };
    }
    let operation = tiers.origin.revoke(principal, target);
    let revoked = tiers.call_origin(StoreErrorKind::OutcomeUnknown, operation).await;
    let ended = revoked.iter().flat_map(|revoked| &revoked.answer);
    // If the outcome is unknown, the revocation may still take place, so the write intents stay.
    let is_outcome_unknown =
        revoked.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::OutcomeUnknown);
    let write_window =
        if is_outcome_unknown { tiers.settings.write_window() } else { Duration::ZERO };
    let mut is_up = true;
    for id in known.iter().chain(ended.filter(|id| !known.contains(id))) {
        if is_outcome_unknown && with_intent.contains(id) {
            continue;
        }
        if is_outcome_unknown || !is_up || tiers.evict(id).await.is_err() {
            is_up = false;
            tiers.evict_later(id, write_window);
        }
    }
    let revoked = revoked?;
    // An earlier attempt may have ended sessions that are no longer listed, and their evictions may
    // still be pending. So any pending eviction makes this answer stale.
    Ok(match tiers.pending_evictions.is_empty() {
        true => revoked,
        false => revoked.stale_for(tiers.settings.cache_ttl),
    })
}

/// Ends all sessions.
pub(super) async fn revoke_everyone<C: Cache, O: Store>(
    tiers: &Arc<Tiers<C, O>>,
) -> Result<Written<()>, StoreError> {
    let operation = timeout(tiers.settings.bulk_timeout(), tiers.origin.revoke_everyone());
    let revoked = operation.await.unwrap_or_else(|elapsed| {
        let error = StoreError::new(tiers.origin.name(), StoreErrorKind::OutcomeUnknown);
        Err(error.with_source(elapsed))
    });
    if tiers.clear().await {
        return revoked;
    }
    let is_done = revoked.is_ok();
    tiers.clear_later(if is_done { Duration::ZERO } else { tiers.settings.write_window() });
    revoked.map(|revoked| revoked.stale_for(tiers.settings.cache_ttl))
}

/// Ends the sessions with the oldest sign-ins of a principal, until the session `own` fits under the
/// limit.
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
