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
        Access, Cache, Fields, Loaded, Look, Lookup, Store, StoreError, StoreErrorKind, Ticket,
        Touch,
    },
    ttl::Hot,
};

/// What the store of record said of some fields.
type Probe = (Vec<String>, Result<Lookup<Loaded>, StoreError>);

/// How a read finds its way.
impl<H: Cache, C: Store> LayeredStore<H, C> {
    pub(super) async fn read(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let Tiers { hot, cold, cold_is_down, policies, doubts, .. } = &*self.tiers;
        if touch.is_some_and(|touch| touch.after.is_zero()) {
            let operation = self.cold(StoreErrorKind::Unknown, async move {
                cold.load(access, fields, touch).await
            });
            let written = self.write(access.handle, Plan::touch(), true, operation, |_| true);
            return Ok(match written.await? {
                (Lookup::Found(loaded), false) => self.unconfirmed(loaded),
                (answer, _) => answer,
            });
        }
        let caution = policies.of(fields);
        if caution.never
            || doubts.hold(access.handle)
            || (!self.settings.hits_without_cold && cold_is_down.load(Ordering::Relaxed))
            || !hot.is_worth_asking()
        {
            event::cache_read("passed");
            return self.load_cold(access, fields, touch, None).await;
        }
        let (look, probe) = if caution.checked.is_empty() {
            (self.look(access, fields, touch).await, None)
        } else {
            let probe = self.probe(access, &caution.checked);
            let (look, probe) = tokio::join!(self.look(access, fields, touch), probe);
            (look, Some((caution.checked, probe)))
        };
        event::cache_read(match &look {
            Ok(Look::Hit(_)) => "hit",
            Ok(Look::Miss(_)) => "miss",
            Err(_) => "failed",
        });
        match look {
            Ok(Look::Hit(loaded)) => self.confirm(access, fields, touch, loaded, probe).await,
            Ok(Look::Miss(ticket)) => self.load_cold(access, fields, touch, ticket).await,
            Err(_) => self.load_cold(access, fields, touch, None).await,
        }
    }

    fn look<'a>(
        &'a self,
        access: Access<'a>,
        fields: Fields<'a>,
        touch: Option<Touch>,
    ) -> Reply<'a, Look> {
        self.hot(self.tiers.hot.cache().look(access, fields, touch))
    }

    async fn load_cold(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
        ticket: Option<Ticket>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let operation = self.tiers.cold.load(access, fields, touch);
        let answer = self.cold(StoreErrorKind::Unavailable, operation).await?;
        if let Lookup::Found(loaded) = &answer {
            for stored in &loaded.fields {
                self.tiers.policies.learn(&stored.name, stored.hot);
            }
            // A former secret's time may end at any moment, when the new one is used.
            let ticket = ticket.filter(|_| !loaded.meta.by_former);
            let filling = self.fill(access, fields, loaded, ticket);
            // This use moved the deadline: whoever comes next is to see that.
            if touch.is_some() && loaded.meta.unused.is_zero() {
                let hot = &self.tiers.hot;
                match filling {
                    Some(filling) => drop(filling.await),
                    None if hot.is_worth_asking() => {
                        drop(self.hot(hot.cache().evict(access.handle)).await);
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
        access: Access<'_>,
        fields: Fields<'_>,
        loaded: &Loaded,
        ticket: Option<Ticket>,
    ) -> Option<JoinHandle<()>> {
        let permit = || Arc::clone(&self.tiers.fills).try_acquire_owned().ok();
        let Some((ticket, permit)) = ticket.and_then(|ticket| Some((ticket, permit()?))) else {
            event::cache_fill("refused");
            return None;
        };
        event::cache_fill("offered");
        let (this, loaded) = (self.clone(), loaded.clone());
        let (handle, secret) = (*access.handle, *access.secret);
        let named: Option<Vec<String>> = match fields {
            Fields::All => None,
            Fields::Named(names) => Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let filling = async move {
            let (record, items) = filling(&loaded, named.as_deref(), this.settings.hot_ttl);
            let access = Access { handle: &handle, secret: &secret };
            // An entry that is not filled is filled by another read.
            let _ = this.hot(this.tiers.hot.cache().fill(access, &ticket, record, &items)).await;
            drop(permit);
        };
        Some(tokio::spawn(filling.in_current_span()))
    }

    /// What the store of record says of these fields.
    async fn probe(
        &self,
        access: Access<'_>,
        names: &[String],
    ) -> Result<Lookup<Loaded>, StoreError> {
        let named: Vec<&str> = names.iter().map(|name| &**name).collect();
        let load = self.tiers.cold.load(access, Fields::Named(&named), None);
        self.cold(StoreErrorKind::Unavailable, load).await
    }

    /// What the cache holds, if the store of record says the same of the fields that need it.
    async fn confirm(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
        mut loaded: Loaded,
        probe: Option<Probe>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let checked = loaded.fields.iter().filter(|stored| stored.hot == Hot::Checked);
        let (mut names, mut answer) = match probe {
            Some((names, answer)) => (names, Some(answer)),
            None => (Vec::new(), None),
        };
        for stored in checked {
            if !names.iter().any(|name| **name == *stored.name) {
                self.tiers.policies.learn(&stored.name, Hot::Checked);
                names.push(stored.name.to_string());
                answer = None;
            }
        }
        if names.is_empty() {
            return Ok(Lookup::Found(loaded));
        }
        let answer = match answer {
            Some(answer) => answer?,
            None => self.probe(access, &names).await?,
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
            return self.load_cold(access, fields, touch, None).await;
        }
        loaded.fields.retain(|stored| !names.iter().any(|name| **name == *stored.name));
        loaded.fields.extend(told.fields);
        Ok(Lookup::Found(loaded))
    }
}
