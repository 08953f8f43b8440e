//! [`IndexChange`]: updates the index entries of a session to match a write.
//!
//! Used by `operations`, before and after each write. Knows index entries and the principal keys of
//! indexed values, and nothing about value types.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    identity::Identity, shared::Shared, state::State, transfer::Transfer, write_plan::WritePlan,
};
use crate::{
    auth::PrincipalKey,
    error::Error,
    field::FieldSpec,
    session::{
        config::PrincipalChange,
        index_entry::IndexEntry,
        index_key::{key_name, stored_key, wrap_key},
        schemas::Schemas,
        value,
    },
    store::{Change, Credentials, DynStore, FieldWrite, Projection},
    token::{CookieLife, SessionId},
    ttl::Ttl,
};

/// The values of indexed fields before and after a write.
///
/// The entry of a new value is added before the write. If the caller drops the request or the
/// process dies after the write, the session is still found by its value. The entry is checked
/// after the write, because another request may have freed it in the meantime. The entry of the
/// former value is freed last.
pub(super) struct IndexChange {
    fields: Vec<IndexedField>,
    /// Names and values of the reserved fields that hold the keys of the new values.
    keys: Vec<(String, Bytes)>,
    /// The session before the write.
    former: Option<SessionId>,
}

struct IndexedField {
    spec: &'static FieldSpec,
    former: Option<PrincipalKey>,
    /// `None` if the write does not change the field.
    next: Option<Option<PrincipalKey>>,
    /// The key whose entry was added before the write.
    added: Option<PrincipalKey>,
}

impl IndexedField {
    /// A field that the write does not change.
    const fn kept(spec: &'static FieldSpec) -> Self {
        Self { spec, former: None, next: None, added: None }
    }
}

impl IndexChange {
    /// Reads the values that a write replaces or that a sign-in keeps. Returns `None` if no field
    /// of the write is indexed.
    pub(super) async fn begin(
        transfer: &mut Transfer<'_>,
        changes: &[Change<'_>],
        plan: &WritePlan,
    ) -> Result<Option<Self>, Error> {
        let specs = indexed(transfer.exchange.shared.schemas(), changes, plan);
        if specs.is_empty() {
            return Ok(None);
        }
        // Boxed: few writes are indexed, and this read would otherwise enlarge the future of every
        // write.
        Box::pin(async {
            let mut index = Self::read(transfer, specs, changes, plan).await?;
            index.add_entries(transfer, plan).await?;
            Ok(Some(index))
        })
        .await
    }

    /// Adds the entries of the values that the session will have after the write. A new session
    /// gets its entries in [`finish`](Self::finish): until then, no client has its secret.
    async fn add_entries(
        &mut self,
        transfer: &Transfer<'_>,
        plan: &WritePlan,
    ) -> Result<(), Error> {
        let (shared, state) = (transfer.exchange.shared, &*transfer.exchange.state);
        let is_signed_in =
            plan.is_sign_in() || state.principal.is_some() && plan.principal_change.is_none();
        let Some(id) = self.former.filter(|_| is_signed_in) else { return Ok(()) };
        let cookie_life = plan.cookie_life(state.principal, state.identity.cookie_life());
        let life = entry_life(shared, state, cookie_life);
        for IndexedField { former, next, added, .. } in &mut self.fields {
            let next = next.unwrap_or(*former);
            if let Some(key) = next.filter(|_| plan.is_sign_in() || next != *former) {
                IndexEntry::add(&key, &id, shared.call_store(), life).await?;
                *added = Some(key);
            }
        }
        Ok(())
    }

    async fn read(
        transfer: &mut Transfer<'_>,
        specs: Vec<&'static FieldSpec>,
        changes: &[Change<'_>],
        plan: &WritePlan,
    ) -> Result<Self, Error> {
        if matches!(transfer.exchange.state.identity, Identity::Internal(_)) {
            return Err(Error::NoRequest);
        }
        let layer = transfer.exchange.shared.config().layer;
        let (mut fields, mut keys) = (Vec::with_capacity(specs.len()), Vec::new());
        for spec in specs {
            let name = spec.name();
            let next = match changes.iter().rev().find(|change| change.name() == name) {
                Some(Change::Set(write)) => {
                    let key = spec.index_key(layer, write.value);
                    let key = key.map_err(|source| value::encode_error(name, source))?;
                    keys.push((key_name(name), wrap_key(&key, write.value)));
                    Some(Some(key))
                }
                Some(Change::Remove(_)) => Some(None),
                Some(Change::Expire(..)) | None => None,
            };
            fields.push(IndexedField { next, ..IndexedField::kept(spec) });
        }
        if transfer.exchange.state.identity.may_be_live() {
            // A sign-in proves who the user is, so the fingerprint of the client is not compared.
            transfer.checks_client = !plan.is_sign_in();
            let names = names_of(fields.iter().map(|field| field.spec));
            transfer.ensure_all_known(names.iter().map(|name| &**name).collect()).await?;
            // After a `take`, the field is known, but the principal may be unknown.
            let state = &*transfer.exchange.state;
            if state.principal.is_none() && state.meta.is_none() && state.identity.may_be_live() {
                transfer.load(Projection::Named(&[])).await?;
            }
            transfer.checks_client = true;
        }
        let state = &*transfer.exchange.state;
        for field in &mut fields {
            field.former = known(layer, state, field.spec);
        }
        Ok(Self { fields, keys, former: state.identity.id() })
    }

    /// Returns the changes of a write, and the changes of the reserved fields that hold the keys.
    pub(super) fn with_keys<'a>(this: Option<&'a Self>, changes: &[Change<'a>]) -> Vec<Change<'a>> {
        let keys = this.into_iter().flat_map(|this| &this.keys);
        let keys = keys.map(|(name, key)| Change::Set(FieldWrite::new(name, key)));
        changes.iter().copied().chain(keys).collect()
    }

    /// Adds the entries of the values that the session has after the write, and frees the entries
    /// of former values.
    pub(super) async fn finish(
        self,
        transfer: &Transfer<'_>,
        plan: &WritePlan,
    ) -> Result<(), Error> {
        let (shared, state) = (transfer.exchange.shared, &*transfer.exchange.state);
        let Some(id) = state.identity.id() else { return Ok(()) };
        let is_signed_in = !matches!(plan.principal_change, Some(PrincipalChange::Out(_)))
            && state.principal.is_some();
        let layer = shared.config().layer;
        let life = entry_life(shared, state, state.identity.cookie_life());
        // A write may start a new session. Then `former` does not count: the field cache has the
        // inherited fields.
        let is_same = self.former == Some(id);
        let store = shared.call_store();
        let stored = match plan.is_sign_in() {
            // Since the read, a different request from the guest may have written a value. Such a
            // write adds no entry. So the values are read again.
            true => Some(stored_keys(store, layer, &id, &self.fields).await?),
            false => None,
        };
        for (at, IndexedField { spec, former, next, added }) in self.fields.into_iter().enumerate()
        {
            // A sign-in prolongs the session. So it also prolongs the entries of the values that it
            // keeps.
            let kept = || match &stored {
                Some(stored) => stored.as_ref()?.get(at).copied().flatten(),
                None => known(layer, state, spec).or(former.filter(|_| is_same)),
            };
            let next = next.unwrap_or_else(kept).filter(|_| is_signed_in);
            if let Some(key) = &next {
                let was_added = is_same && added == next;
                if !was_added || !IndexEntry::new(key, &id).is_listed(store).await? {
                    IndexEntry::add(key, &id, store, life).await?;
                }
            }
            let replaced = former.filter(|key| is_same && next != Some(*key));
            if let Some(key) = replaced {
                IndexEntry::new(&key, &id).free(store, None).await;
                // Another request may have written the former value again, and added its entry,
                // which this request has just freed. Then the entry is added again.
                let stored = stored_keys(store, layer, &id, &[IndexedField::kept(spec)]).await?;
                if stored.is_some_and(|keys| keys.contains(&Some(key))) {
                    IndexEntry::add(&key, &id, store, life).await?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the lifetime of the entries of a session whose cookie has this lifetime.
fn entry_life(shared: &Shared, state: &State, cookie_life: CookieLife) -> Option<Ttl> {
    let of_config = shared.config().absolute_of(cookie_life, None);
    // A deploy may have lowered the absolute timeout since the session began. So an entry lasts at
    // least as long as the session.
    let remaining = state.meta_now().and_then(|meta| meta.absolute_remaining);
    of_config.max(remaining.and_then(|left| Ttl::new(left).ok()))
}

/// Returns the keys of the values that a session has in the store. `None` if the session has ended
/// or belongs to a guest.
async fn stored_keys(
    store: &dyn DynStore,
    layer: &str,
    id: &SessionId,
    fields: &[IndexedField],
) -> Result<Option<Vec<Option<PrincipalKey>>>, Error> {
    let names = names_of(fields.iter().map(|field| field.spec));
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let projection = Projection::Named(&names);
    let loaded = store.load(Credentials::internal(id), projection, None).await?;
    let Some(loaded) = loaded.ok().filter(|loaded| loaded.meta.signed_in.is_some()) else {
        return Ok(None);
    };
    let get = |name: &str| loaded.value(name);
    let key = |field: &IndexedField| stored_key(field.spec, layer, get).ok().flatten();
    Ok(Some(fields.iter().map(key).collect()))
}

/// Returns the indexed fields that a write concerns: those that it changes, and all of them if it
/// signs in or out.
fn indexed(schemas: &Schemas, changes: &[Change<'_>], plan: &WritePlan) -> Vec<&'static FieldSpec> {
    let mut specs = plan.indexed.clone();
    for spec in schemas.indexes() {
        let is_changed = changes.iter().any(|change| change.name() == spec.name());
        let is_new = specs.iter().all(|other| other.name() != spec.name());
        if is_new && (is_changed || plan.principal_change.is_some()) {
            specs.push(spec);
        }
    }
    specs
}

/// Returns the key of the field's value, if the value is known. Returns `None` for a value without
/// a key, so that such a value does not make a write fail.
pub(super) fn known(layer: &str, state: &State, spec: &FieldSpec) -> Option<PrincipalKey> {
    stored_key(spec, layer, |name| state.fields.get(name)).ok().flatten()
}

/// Returns the names of indexed fields, and of the reserved fields that hold their keys.
pub(super) fn names_of<'a>(specs: impl Iterator<Item = &'a FieldSpec>) -> Vec<Cow<'static, str>> {
    specs.flat_map(|spec| [spec.name().into(), key_name(spec.name()).into()]).collect()
}
