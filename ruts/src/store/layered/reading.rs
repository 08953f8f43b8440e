use std::sync::{Arc, atomic::Ordering};

use tokio::task::JoinHandle;
use tracing::Instrument;

use super::{
    plan::{Plan, filling},
    store::{LayeredStore, Reply, Tiers},
};
use crate::{
    event,
    store::{
        Cache, CacheLookup, Credentials, Lease, Loaded, Lookup, Projection, Store, StoreError,
        StoreErrorKind, Touch,
    },
    ttl::CachePolicy,
};

/// What the store of record said of some fields.
type Probe = (Vec<String>, Result<Lookup<Loaded>, StoreError>);

/// How a read finds its way.
impl<H: Cache, C: Store> LayeredStore<H, C> {
    pub(super) async fn read(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let Tiers { hot, cold, cold_is_down, policies, doubts, .. } = &*self.tiers;
        if touch.is_some_and(|touch| touch.after.is_zero()) {
            let operation = self.cold(StoreErrorKind::Unknown, async move {
                cold.load(credentials, fields, touch).await
            });
            let written = self.write(credentials.id, Plan::touch(), true, operation, |_| true);
            return Ok(match written.await? {
                (Lookup::Found(loaded), false) => self.unconfirmed(loaded),
                (answer, _) => answer,
            });
        }
        let caution = policies.of(fields);
        if caution.never
            || doubts.hold(credentials.id)
            || (!self.settings.hits_without_cold && cold_is_down.load(Ordering::Relaxed))
            || !hot.is_worth_asking()
        {
            event::cache_read("passed");
            return self.load_cold(credentials, fields, touch, None).await;
        }
        let (look, probe) = if caution.checked.is_empty() {
            (self.look(credentials, fields, touch).await, None)
        } else {
            let probe = self.probe(credentials, &caution.checked);
            let (look, probe) = tokio::join!(self.look(credentials, fields, touch), probe);
            (look, Some((caution.checked, probe)))
        };
        event::cache_read(match &look {
            Ok(CacheLookup::Hit(_)) => "hit",
            Ok(CacheLookup::Miss(_)) => "miss",
            Err(_) => "failed",
        });
        match look {
            Ok(CacheLookup::Hit(loaded)) => {
                self.confirm(credentials, fields, touch, loaded, probe).await
            }
            Ok(CacheLookup::Miss(lease)) => self.load_cold(credentials, fields, touch, lease).await,
            Err(_) => self.load_cold(credentials, fields, touch, None).await,
        }
    }

    fn look<'a>(
        &'a self,
        credentials: Credentials<'a>,
        fields: Projection<'a>,
        touch: Option<Touch>,
    ) -> Reply<'a, CacheLookup> {
        self.hot(self.tiers.hot.cache().lookup(credentials, fields, touch))
    }

    async fn load_cold(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
        lease: Option<Lease>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let operation = self.tiers.cold.load(credentials, fields, touch);
        let answer = self.cold(StoreErrorKind::Unavailable, operation).await?;
        if let Lookup::Found(loaded) = &answer {
            for stored in &loaded.fields {
                self.tiers.policies.learn(&stored.name, stored.hot);
            }
            // A former secret's time may end at any moment, when the new one is used.
            let lease = lease.filter(|_| !loaded.meta.by_former);
            let filling = self.fill(credentials, fields, loaded, lease);
            // This use moved the deadline: whoever comes next is to see that.
            if touch.is_some() && loaded.meta.unused.is_zero() {
                let hot = &self.tiers.hot;
                match filling {
                    Some(filling) => drop(filling.await),
                    None if hot.is_worth_asking() => {
                        drop(self.hot(hot.cache().evict(credentials.id)).await);
                    }
                    None => {}
                }
            }
        }
        Ok(answer)
    }

    /// Fills the cache while the reader goes on, if it may.
    fn fill(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        loaded: &Loaded,
        lease: Option<Lease>,
    ) -> Option<JoinHandle<()>> {
        let permit = || Arc::clone(&self.tiers.fills).try_acquire_owned().ok();
        let Some((lease, permit)) = lease.and_then(|lease| Some((lease, permit()?))) else {
            event::cache_fill("refused");
            return None;
        };
        event::cache_fill("offered");
        let (this, loaded) = (self.clone(), loaded.clone());
        let (id, secret) = (*credentials.id, *credentials.secret);
        let named: Option<Vec<String>> = match fields {
            Projection::All => None,
            Projection::Named(names) => Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let filling = async move {
            let (record, items) = filling(&loaded, named.as_deref(), this.settings.hot_ttl);
            let credentials = Credentials { id: &id, secret: &secret };
            // An entry that is not filled is filled by another read.
            let _ =
                this.hot(this.tiers.hot.cache().fill(credentials, &lease, record, &items)).await;
            drop(permit);
        };
        Some(tokio::spawn(filling.in_current_span()))
    }

    /// What the store of record says of these fields.
    async fn probe(
        &self,
        credentials: Credentials<'_>,
        names: &[String],
    ) -> Result<Lookup<Loaded>, StoreError> {
        let named: Vec<&str> = names.iter().map(|name| &**name).collect();
        let load = self.tiers.cold.load(credentials, Projection::Named(&named), None);
        self.cold(StoreErrorKind::Unavailable, load).await
    }

    /// What the cache holds, if the store of record says the same of the fields that need it.
    async fn confirm(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
        mut loaded: Loaded,
        probe: Option<Probe>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let checked = loaded.fields.iter().filter(|stored| stored.hot == CachePolicy::Checked);
        let (mut names, mut answer) = match probe {
            Some((names, answer)) => (names, Some(answer)),
            None => (Vec::new(), None),
        };
        for stored in checked {
            if !names.iter().any(|name| **name == *stored.name) {
                self.tiers.policies.learn(&stored.name, CachePolicy::Checked);
                names.push(stored.name.to_string());
                answer = None;
            }
        }
        if names.is_empty() {
            return Ok(Lookup::Found(loaded));
        }
        let answer = match answer {
            Some(answer) => answer?,
            None => self.probe(credentials, &names).await?,
        };
        let told = match answer {
            Lookup::Found(told) => told,
            other => return Ok(other),
        };
        let value = |loaded: &Loaded, name: &str| {
            let stored = loaded.fields.iter().find(|stored| *stored.name == *name);
            stored.map(|stored| stored.value.clone())
        };
        if names.iter().any(|name| value(&loaded, name) != value(&told, name)) {
            return self.load_cold(credentials, fields, touch, None).await;
        }
        loaded.fields.retain(|stored| !names.iter().any(|name| **name == *stored.name));
        loaded.fields.extend(told.fields);
        Ok(Lookup::Found(loaded))
    }
}
