//! [`Read`]: a read of one session, from the cache or the origin.
//!
//! Used by [`LayeredStore::load`](super::LayeredStore), unless the touch is always due. Knows the
//! leases of the cache. Knows nothing about write intents.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tracing::Instrument;

use super::{
    known_policies::Restrictions,
    tiers::{TierFuture, Tiers},
    write_set::fill_of,
};
use crate::{
    cache_policy::CachePolicy,
    event,
    store::{
        Cache, CacheLookup, Credentials, Lease, Loaded, Projection, Store, StoreErrorKind,
        StoreResult, Touch,
    },
};

/// Names of `Revalidate` fields, and the origin's answer to a read of these fields.
type Probe = (Vec<String>, StoreResult<Loaded>);

/// A read of one session.
pub(super) struct Read<'a, C, O> {
    pub(super) tiers: &'a Arc<Tiers<C, O>>,
    pub(super) credentials: Credentials<'a>,
    pub(super) fields: Projection<'a>,
    pub(super) touch: Option<Touch>,
}

impl<C: Cache, O: Store> Read<'_, C, O> {
    /// Answers from the cache if the cache may answer this read, and otherwise from the origin.
    pub(super) async fn run(&self) -> StoreResult<Loaded> {
        let Restrictions { bypass, revalidate } = self.tiers.policies.restrictions(self.fields);
        // A read with internal credentials bypasses the cache, because a cache accepts only
        // credentials with a secret.
        if bypass
            || self.credentials.secret().is_none()
            || !self.tiers.may_read_cache(self.credentials.id)
        {
            event::cache_read("passed");
            return self.load(None).await;
        }
        let (lookup, probe) = if revalidate.is_empty() {
            (self.lookup().await, None)
        } else {
            let (lookup, probe) = tokio::join!(self.lookup(), self.probe(&revalidate));
            (lookup, Some((revalidate, probe)))
        };
        event::cache_read(match &lookup {
            Ok(CacheLookup::Hit(_)) => "hit",
            Ok(CacheLookup::Miss(_)) => "miss",
            Err(_) => "failed",
        });
        match lookup {
            Ok(CacheLookup::Hit(loaded)) => self.revalidate(loaded, probe).await,
            Ok(CacheLookup::Miss(lease)) => self.load(lease).await,
            Err(_) => self.load(None).await,
        }
    }

    fn lookup(&self) -> TierFuture<'_, CacheLookup> {
        let lookup = self.tiers.cache().lookup(self.credentials, self.fields, self.touch);
        self.tiers.call_cache(lookup)
    }

    /// Reads the origin, and fills the cache if there is a lease. Waits for the cache only if the
    /// read moved the idle deadline.
    async fn load(&self, lease: Option<Lease>) -> StoreResult<Loaded> {
        let tiers = self.tiers;
        let operation = tiers.origin.load(self.credentials, self.fields, self.touch);
        let answer = tiers.call_origin(StoreErrorKind::Unavailable, operation).await?;
        if let Ok(loaded) = &answer {
            for stored in &loaded.fields {
                tiers.policies.learn(&stored.name, stored.cache_policy);
            }
            // A former secret becomes invalid when the grace period after the first use of the
            // current secret is over. The cache is not informed of that use, so it must not accept
            // the former secret.
            let lease = lease.filter(|_| !loaded.meta.by_former_secret);
            let fill = self.fill(loaded, lease);
            // If this read moved the idle deadline, the next read has to see the new deadline.
            if self.touch.is_some() && loaded.meta.idle_for.is_zero() {
                match fill {
                    Some(fill) => drop(fill.await),
                    None if tiers.breaker.allows_read() => {
                        drop(tiers.evict(self.credentials.id).await);
                    }
                    None => {}
                }
            }
        }
        Ok(answer)
    }

    /// Fills the cache in a task of its own, if there is a lease, a secret and a free slot.
    fn fill(&self, loaded: &Loaded, lease: Option<Lease>) -> Option<JoinHandle<()>> {
        let permit = || Arc::clone(&self.tiers.fills).try_acquire_owned().ok();
        let secret = self.credentials.secret();
        let may_fill = lease.and_then(|lease| Some((lease, *secret?, permit()?)));
        let Some((lease, secret, permit)) = may_fill else {
            event::cache_fill("refused");
            return None;
        };
        event::cache_fill("offered");
        let (tiers, loaded) = (Arc::clone(self.tiers), loaded.clone());
        let id = *self.credentials.id;
        let named: Option<Vec<String>> = match self.fields {
            Projection::All => None,
            Projection::Named(names) => Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let fill = async move {
            let (record, fields) = fill_of(&loaded, named.as_deref(), tiers.settings.cache_ttl);
            let credentials = Credentials::new(&id, &secret);
            // A failure is ignored, because a later read fills the entry.
            let _ =
                tiers.call_cache(tiers.cache().fill(credentials, &lease, record, &fields)).await;
            drop(permit);
        };
        Some(tokio::spawn(fill.in_current_span()))
    }

    /// Reads the named fields from the origin, without a touch.
    async fn probe(&self, names: &[String]) -> StoreResult<Loaded> {
        let named: Vec<&str> = names.iter().map(|name| &**name).collect();
        let load = self.tiers.origin.load(self.credentials, Projection::Named(&named), None);
        self.tiers.call_origin(StoreErrorKind::Unavailable, load).await
    }

    /// Returns the hit if the origin has the same values of its `Revalidate` fields. Otherwise
    /// reads all requested fields from the origin. `probe` holds the fields that were already
    /// requested from the origin, and its answer.
    async fn revalidate(&self, mut hit: Loaded, probe: Option<Probe>) -> StoreResult<Loaded> {
        let (mut names, mut answer) = match probe {
            Some((names, answer)) => (names, Some(answer)),
            None => (Vec::new(), None),
        };
        let is_revalidated = |policy| policy == CachePolicy::Revalidate;
        for stored in hit.fields.iter().filter(|stored| is_revalidated(stored.cache_policy)) {
            if !names.iter().any(|name| **name == *stored.name) {
                self.tiers.policies.learn(&stored.name, CachePolicy::Revalidate);
                names.push(stored.name.to_string());
                answer = None;
            }
        }
        if names.is_empty() {
            return Ok(Ok(hit));
        }
        let answer = match answer {
            Some(answer) => answer?,
            None => self.probe(&names).await?,
        };
        let current = match answer {
            Ok(current) => current,
            refused => return Ok(refused),
        };
        let value = |loaded: &Loaded, name: &str| {
            let stored = loaded.fields.iter().find(|stored| *stored.name == *name);
            stored.map(|stored| stored.value.clone())
        };
        if names.iter().any(|name| value(&hit, name) != value(&current, name)) {
            return self.load(None).await;
        }
        hit.fields.retain(|stored| !names.iter().any(|name| **name == *stored.name));
        hit.fields.extend(current.fields);
        Ok(Ok(hit))
    }
}
