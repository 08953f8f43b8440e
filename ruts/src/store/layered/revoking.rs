use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::store::LayeredStore;
use crate::{
    principal::PrincipalKey,
    store::{
        Cache, Confirmed, InvalidationScope, ListedSession, NewSignIn, OnLimit, PageRequest,
        Projection, RevokeTarget, Revoked, SessionLimit, Store, StoreError, StoreErrorKind,
    },
    token::SessionId,
};

/// How many sessions are listed at once.
const PAGE: usize = 100;

/// How often room is made for a session before the sign-in is refused.
const TRIES: usize = 8;

/// Somebody who signs in where there may be no room. The store of record must not make it by itself: it
/// would end sessions of which the cache knows nothing.
pub(super) struct Room<'a> {
    /// To be refused at the limit.
    pub(super) who: NewSignIn<'a>,
    ends_oldest: bool,
    tries: usize,
}

impl<'a> Room<'a> {
    pub(super) fn new(who: NewSignIn<'a>) -> Self {
        let ends_oldest = who.limit.is_some_and(|limit| limit.on_limit == OnLimit::EndOldest);
        let limit = who.limit.map(|limit| SessionLimit { on_limit: OnLimit::Reject, ..limit });
        Self { who: NewSignIn { limit, ..who }, ends_oldest, tries: 0 }
    }
}

/// How sessions are ended that nobody presents a secret of.
impl<H: Cache, C: Store> LayeredStore<H, C> {
    /// Ends sessions of a principal. Those that are known beforehand are fenced, so that a process that
    /// dies on the way leaves no cached copy; those that signed in meanwhile are evicted.
    pub(super) async fn end_all(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        let known = match target {
            RevokeTarget::One(id) => vec![*id],
            RevokeTarget::All { except } => {
                let sessions = self.sessions_of(principal).await?;
                let known = sessions.iter().map(|listed| listed.id);
                known.filter(|id| Some(id) != except).collect()
            }
        };
        let mut fenced = HashSet::new();
        for id in &known {
            let intent =
                self.tiers.hot.cache().begin_write(id, InvalidationScope::All, self.fence_life());
            match self.hot(intent).await {
                Ok(_) => fenced.insert(*id),
                // A cache that is down is not waited for again and again.
                Err(_) => break,
            };
        }
        let operation = self.tiers.cold.revoke(principal, target);
        let revoked = self.cold(StoreErrorKind::Unknown, operation).await;
        let ended = revoked.iter().flat_map(|revoked| &revoked.ids);
        // It may take place yet: the intents have to stand until then.
        let unknown = revoked.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Unknown);
        let open = if unknown { self.fence_life() } else { Duration::ZERO };
        let mut is_up = true;
        for id in known.iter().chain(ended.filter(|id| !known.contains(id))) {
            if unknown && fenced.contains(id) {
                continue;
            }
            let evict = self.tiers.hot.cache().evict(id);
            if unknown || !is_up || self.hot(evict).await.is_err() {
                is_up = false;
                self.doubt(id, open);
            }
        }
        let revoked = revoked?;
        // What an earlier try has ended is in no list, but in doubt if the cache could not be told.
        Ok(match self.tiers.doubts.any() {
            false => revoked,
            true => Revoked { confirmed: self.within(), ..revoked },
        })
    }

    /// All sessions of a principal, a page after the other.
    async fn sessions_of(
        &self,
        principal: &PrincipalKey,
    ) -> Result<Vec<ListedSession>, StoreError> {
        let (mut sessions, mut after) = (Vec::new(), None);
        loop {
            let page = PageRequest { after: after.as_ref(), limit: PAGE };
            let operation =
                self.tiers.cold.list_by_principal(principal, page, Projection::Named(&[]));
            let listing = self.cold(StoreErrorKind::Unavailable, operation).await?;
            sessions.extend(listing.sessions);
            match listing.next {
                Some(next) => after = Some(next),
                None => return Ok(sessions),
            }
        }
    }

    pub(super) async fn end_everyone(&self) -> Result<Confirmed, StoreError> {
        let operation = timeout(self.many(), self.tiers.cold.revoke_everyone());
        let confirmed = operation.await.unwrap_or_else(|late| {
            let error = StoreError::new(self.tiers.cold.name(), StoreErrorKind::Unknown);
            Err(error.with_source(late))
        });
        if self.clear().await {
            return confirmed;
        }
        self.doubt_all(confirmed.is_err());
        confirmed.map(|_| self.within())
    }

    async fn clear(&self) -> bool {
        let clear = self.tiers.hot.cache().clear();
        self.tiers.hot.run(self.many(), clear).await.is_ok()
    }

    /// How long many round trips may take.
    fn many(&self) -> Duration {
        self.settings.cold_timeout * 10
    }

    /// Reads everything past the cache from now on, until it was told to forget all, or has forgotten it
    /// by itself.
    fn doubt_all(&self, is_open: bool) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let open = if is_open { self.fence_life() } else { Duration::ZERO };
        let open_until = Instant::now() + open;
        let ends = open_until + self.settings.hot_ttl;
        let doubt = self.tiers.doubts.about_all();
        let this = self.clone();
        runtime.spawn(async move {
            let mut pause = Duration::from_millis(50);
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                let begun = Instant::now();
                let is_told = this.clear().await;
                if begun >= ends || (is_told && begun >= open_until) {
                    drop(doubt);
                    return;
                }
            }
        });
    }

    fn within(&self) -> Confirmed {
        Confirmed::Within(self.settings.hot_ttl)
    }

    /// Makes room for a sign-in that was refused. Says whether it should be tried again.
    pub(super) async fn make_room(
        &self,
        room: &mut Room<'_>,
        own: &SessionId,
        refused: Option<StoreErrorKind>,
    ) -> Result<bool, StoreError> {
        let Room { who, ends_oldest, tries } = room;
        let (Some(StoreErrorKind::SessionLimit), Some(limit)) = (refused, who.limit) else {
            return Ok(false);
        };
        *tries += 1;
        let again = *ends_oldest && *tries < TRIES;
        if again {
            self.end_oldest(who.principal, own, limit).await?;
        }
        Ok(again)
    }

    async fn end_oldest(
        &self,
        principal: &PrincipalKey,
        own: &SessionId,
        limit: SessionLimit,
    ) -> Result<(), StoreError> {
        let mut others: Vec<_> = (self.sessions_of(principal).await?.iter())
            .filter(|listed| listed.id != *own)
            .map(|listed| {
                let ago = listed.loaded.meta.signed_in.map(|signed_in| signed_in.ago);
                (std::cmp::Reverse(ago), listed.id)
            })
            .collect();
        others.sort_unstable();
        let beyond = (others.len() + 1).saturating_sub(limit.sessions.max(1) as usize);
        for (_, id) in &others[..beyond] {
            self.end_all(principal, RevokeTarget::One(id)).await?;
        }
        Ok(())
    }
}
