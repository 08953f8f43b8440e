//! [`RequestSession`]: the interface of this folder, with one method for each operation of a
//! session.
//!
//! Called by `handle`, `entry`, `edit`, `sign_in`, `csrf` and `principal_sessions`. Passes stored
//! bytes, and knows nothing about value types.
//!
//! Most methods return a boxed future. rustc compiles an `async fn` in each crate that awaits it,
//! so without the boxes, every application would compile this whole folder.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    decrypted::{decrypt, decrypt_field, names_signed_in_principal},
    exchange::Exchange,
    field_cache::FieldCache,
    identity::{Identity, LostReason},
    index::{IndexChange, known, names_of},
    orphan::delete_lost,
    own_fields::{STAMP, accept_stamp, accepts_stamp},
    renewal::{note_use, renew},
    response::{CookieAction, TokenOrigin},
    rewrite::{self, Modify},
    shared::{Incoming, Shared},
    state::{RefusedToken, State},
    store_call::Delete,
    transfer::{Transfer, log_principal_change},
    write,
    write_plan::{EagerGroup, WritePlan},
};
#[cfg(feature = "axum")]
use crate::field::SessionSchema;
use crate::{
    auth::PrincipalKey,
    crypto::field_cipher::Plaintext,
    error::Error,
    event,
    field::{FieldSpec, is_reserved},
    session::{
        config::{PrincipalChange, SessionConfig, SessionContext, check_lifetime, stamp_digest},
        future::{Boxed, Renewal},
        index_entry::IndexEntry,
        map::{SessionMap, Undecrypted},
        schemas::Schemas,
        token_status::TokenStatus,
        value,
    },
    store::{
        AbsoluteDeadline, Change, Credentials, DynStore, FieldWrite, Projection, SessionMeta,
        TakeField, Update, Updated,
    },
    token::{CookieLife, SecretHash, SessionId, Token},
    ttl::Ttl,
};

/// The session of one request, shared by all of its extractions. Its operations run one at a time.
pub(in crate::session) struct RequestSession(Shared);

impl RequestSession {
    pub(in crate::session) fn new(context: Arc<SessionContext>, incoming: Incoming) -> Self {
        Self(Shared::new(context, incoming))
    }

    /// Creates the session of a job, which has no request.
    pub(in crate::session) fn internal(context: Arc<SessionContext>, id: SessionId) -> Self {
        Self(Shared::internal(context, id))
    }

    /// Returns the path and query of the request, if the layer has a sign-in page.
    #[cfg(feature = "axum")]
    pub(in crate::session) fn target(&self) -> Option<&str> {
        self.0.target()
    }

    pub(in crate::session) fn id(&self) -> Option<SessionId> {
        self.0.id()
    }

    pub(in crate::session) fn store(&self) -> &Arc<dyn DynStore> {
        self.0.store()
    }

    pub(in crate::session) fn config(&self) -> &SessionConfig {
        self.0.config()
    }

    /// Returns the schemas that share the sessions of the layer.
    pub(in crate::session) fn schemas(&self) -> &Schemas {
        self.0.schemas()
    }

    /// Returns whether the session belongs to the layer of a context.
    pub(in crate::session) fn is_of(&self, context: &SessionContext) -> bool {
        self.0.is_of(context)
    }

    /// Returns whether the layer of a context reads its tokens from the same cookie or header.
    pub(in crate::session) fn shares_token(&self, context: &SessionContext) -> bool {
        self.0.shares_token(context)
    }

    pub(in crate::session) fn calls(&self) -> u32 {
        self.0.calls()
    }

    /// Makes the next write replace the secret.
    pub(in crate::session) fn prepare_rotation(&self) {
        self.0.response().owes_rotation = true;
    }

    pub(in crate::session) fn set_passive(&self) {
        self.0.set_passive();
    }

    /// Returns ages and deadlines as they are now, or `None` without a session. Does not count as
    /// activity.
    pub(in crate::session) fn meta(&self) -> Boxed<'_, Option<SessionMeta>> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            Transfer::passive(&self.0, &mut state).load(Projection::Named(&[])).await?;
            Ok(state.meta.map(|(meta, _)| state.visible(meta, self.config())))
        })
    }

    /// Returns the ages and deadlines as they are now, computed from the last read. Reads them if
    /// none are known.
    pub(in crate::session) fn known_meta(&self) -> Boxed<'_, Option<SessionMeta>> {
        self.read_known_meta(false)
    }

    /// Returns the same as [`known_meta`](Self::known_meta). A read for it does not count as
    /// activity.
    pub(in crate::session) fn known_meta_passively(&self) -> Boxed<'_, Option<SessionMeta>> {
        self.read_known_meta(true)
    }

    fn read_known_meta(&self, is_passive: bool) -> Boxed<'_, Option<SessionMeta>> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            if state.meta.is_none() && state.identity.may_be_live() {
                let mut transfer = match is_passive {
                    true => Transfer::passive(&self.0, &mut state),
                    false => Transfer::new(&self.0, &mut state),
                };
                transfer.load(Projection::Named(&[])).await?;
            }
            Ok(state.meta_now().map(|meta| state.visible(meta, self.config())))
        })
    }

    /// Confirms the session with the store, and returns its id.
    pub(in crate::session) fn verify(&self) -> Boxed<'_, Option<SessionId>> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            let is_known = match state.identity {
                Identity::Presented(..) => false,
                Identity::Internal(_) => state.meta.is_some(),
                _ => true,
            };
            if !is_known {
                Transfer::new(&self.0, &mut state).load(Projection::Named(&[])).await?;
            }
            Ok(self.id())
        })
    }

    /// Returns how long the client keeps the cookie that it presented or will get. `None` if the
    /// cookie ends with the browser.
    pub(in crate::session) fn cookie_life(&self) -> Boxed<'_, Option<Duration>> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            Exchange { shared: &self.0, state: &mut state }.resolve().await?;
            Ok(match state.identity.cookie_life() {
                CookieLife::Default => self.config().cookie_life.map(Ttl::as_duration),
                life => life.remembered(),
            })
        })
    }

    /// Returns the value of a field. If the field is not known yet, reads it together with `group`.
    pub(in crate::session) fn get<'a>(
        &'a self,
        name: &'a str,
        group: EagerGroup,
    ) -> Boxed<'a, Option<Plaintext>> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            Transfer::new(&self.0, &mut state).ensure_known(name, group).await?;
            decrypt_field(&self.0, &state, name, 1, state.fields.get(name))
        })
    }

    /// Returns the value of a declared field. A principal field is absent unless it names the
    /// signed-in principal.
    pub(in crate::session) fn get_declared<'a>(
        &'a self,
        field: &'a FieldSpec,
        group: EagerGroup,
    ) -> Boxed<'a, Option<Plaintext>> {
        Box::pin(async move {
            self.0.hint_cache_policy(field);
            let mut state = self.0.lock().await?;
            Transfer::new(&self.0, &mut state).ensure_known(field.name(), group).await?;
            let stored = state.fields.get(field.name());
            let value = decrypt_field(&self.0, &state, field.name(), field.version(), stored)?;
            let names_signed_in_principal =
                match names_signed_in_principal(&self.0, &state, field, value.as_ref()) {
                    Ok(names_signed_in_principal) => names_signed_in_principal,
                    Err(source) => {
                        value::read_as_absent(field.name(), source, self.config().unreadable)?;
                        false
                    }
                };
            Ok(value.filter(|_| names_signed_in_principal))
        })
    }

    /// Returns a field and the principal of the session whose former secret the client presents.
    pub(in crate::session) fn get_of_former<'a>(
        &'a self,
        name: &'a str,
    ) -> Boxed<'a, Option<(Bytes, Option<PrincipalKey>)>> {
        Box::pin(async move {
            let state = self.0.lock().await?;
            let refused = state.refused.iter().filter(|token| token.reason == LostReason::Replaced);
            for RefusedToken { id, .. } in refused {
                let (credentials, names) = (Credentials::internal(id), Projection::Named(&[name]));
                let loaded = self.0.call_store().load(credentials, names, None).await?;
                let Ok(loaded) = loaded else { continue };
                if let Some(value) = loaded.value(name) {
                    let principal = loaded.meta.signed_in.map(|signed_in| signed_in.principal);
                    return Ok(Some((value.clone(), principal)));
                }
            }
            Ok(None)
        })
    }

    /// Returns the hash of the secret that the client presents, if the store has refused it.
    pub(in crate::session) fn refused_secret(&self) -> Boxed<'_, Option<SecretHash>> {
        Box::pin(async move {
            let state = self.0.lock().await?;
            Ok(state.refused.first().map(|refused| refused.secret))
        })
    }

    /// Reads the stamp of the sign-in together with `group`, unless the stamp is known.
    pub(in crate::session) fn read_stamp(&self, group: EagerGroup) -> Boxed<'_, ()> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            Transfer::new(&self.0, &mut state).ensure_known(STAMP, group).await
        })
    }

    /// Returns whether the session accepts a stamp. If the cached stamp does not match, reads the
    /// stamp from the store again.
    pub(in crate::session) fn has_stamp<'a>(&'a self, stamp: &'a [u8]) -> Boxed<'a, bool> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            let digest = stamp_digest(stamp);
            for is_last in [false, true] {
                Transfer::new(&self.0, &mut state).ensure_known(STAMP, None).await?;
                let (stored, id) = (state.fields.get(STAMP), state.identity.id());
                let (Some(stored), Some(id)) = (stored, id) else { return Ok(false) };
                let accepts = accepts_stamp(stored, &digest, &id);
                if is_last || accepts != Ok(false) {
                    return accepts.map_err(|source| value::decode_error(STAMP, source));
                }
                state.fields.forget(STAMP);
            }
            Ok(false)
        })
    }

    /// Makes the session accept a second stamp, besides the stamp of its sign-in.
    pub(in crate::session) fn accept_stamp<'a>(&'a self, stamp: &'a [u8]) -> Boxed<'a, ()> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            Transfer::new(&self.0, &mut state).ensure_known(STAMP, None).await?;
            let (Some(id), Some(_)) = (state.identity.id(), state.principal) else {
                return Err(Error::SignInRequired);
            };
            let is_former = state.meta.is_some_and(|(meta, _)| meta.by_former_secret);
            let value = accept_stamp(state.fields.get(STAMP), &stamp_digest(stamp), &id)
                .map_err(|source| value::decode_error(STAMP, source))?;
            let change = Change::Set(FieldWrite::new(STAMP, &value));
            let update = Update { changes: &[change], ..Update::default() };
            let mut transfer = Transfer::new(&self.0, &mut state);
            match write::update(&mut transfer, update, &WritePlan::default()).await {
                // A client has used the new secret. The sign-in that follows starts a new session.
                // This session has to end when the stamp changes, so it needs no second stamp.
                Err(Error::Ended) if is_former => return Ok(()),
                updated => updated?,
            };
            transfer.exchange.check_fresh()
        })
    }

    /// Asks the store for the status of the presented token, and returns it.
    pub(in crate::session) fn token_status(&self) -> Boxed<'_, TokenStatus> {
        Box::pin(async move {
            self.verify().await?;
            let (TokenStatus::Expired { .. }, Some(id)) = self.0.token_status() else {
                return Ok(self.0.token_status().0);
            };
            // If the secret was guessed, or was replaced more than once, the session may be live.
            if self.0.call_store().inspect(&id).await?.is_some() {
                return Ok(TokenStatus::WrongSecret);
            }
            Ok(TokenStatus::Expired { by: self.0.call_store().expiry(&id).await? })
        })
    }

    /// Returns whether the principal of a schema is signed in. For a schema without a principal
    /// field, returns whether any principal is signed in.
    #[cfg(feature = "axum")]
    pub(in crate::session) fn is_signed_in(
        &self,
        schema: &'static SessionSchema,
    ) -> Boxed<'_, bool> {
        Box::pin(async move {
            let fields = schema.fields().iter();
            let principals: Vec<_> = fields.filter(|field| field.is_principal()).collect();
            if principals.is_empty() {
                return Ok(self.known_meta().await?.is_some_and(|meta| meta.signed_in.is_some()));
            }
            for field in principals {
                if self.get_declared(field, Some(schema)).await?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Returns whether removing a principal field signs out. It does if the value names the
    /// signed-in principal or cannot be read. The principal of a different schema stays signed in.
    async fn signs_out(&self, state: &mut State, field: &FieldSpec) -> Result<bool, Error> {
        Transfer::new(&self.0, state).ensure_known(field.name(), None).await?;
        let stored = state.fields.get(field.name());
        Ok(match decrypt_field(&self.0, state, field.name(), field.version(), stored) {
            Ok(None) => false,
            Ok(Some(value)) => {
                names_signed_in_principal(&self.0, state, field, Some(&value)).unwrap_or(true)
            }
            Err(_) => true,
        })
    }

    /// Returns the values of fields, in the order of `fields`.
    pub(in crate::session) async fn get_many(
        &self,
        fields: &[&FieldSpec],
    ) -> Result<Vec<Option<Result<Plaintext, Undecrypted>>>, Error> {
        let mut state = self.0.lock().await?;
        fields.iter().for_each(|field| self.0.hint_cache_policy(field));
        let names = fields.iter().map(|field| field.name()).collect();
        Transfer::new(&self.0, &mut state).ensure_all_known(names).await?;
        let decrypt = |field: &&FieldSpec| {
            let Some(stored) = state.fields.get(field.name()) else { return Ok(None) };
            let value = decrypt(&self.0, &state, field.name(), stored);
            match names_signed_in_principal(&self.0, &state, field, value.as_ref().ok()) {
                Ok(true) => Ok(Some(value)),
                Ok(false) => Ok(None),
                Err(source) => {
                    value::read_as_absent(field.name(), source, self.config().unreadable)
                        .map(|()| None)
                }
            }
        };
        fields.iter().map(decrypt).collect()
    }

    /// Returns all fields, or `None` without a session.
    pub(in crate::session) fn get_all(&self) -> Boxed<'_, Option<SessionMap>> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            if !state.identity.may_be_live() {
                return Ok(None);
            }
            if !state.fields.knows_all() {
                Transfer::new(&self.0, &mut state).load(Projection::All).await?;
            }
            let is_open =
                matches!(state.identity, Identity::Confirmed { .. } | Identity::Internal(_));
            let fields = state.fields.present().filter(|(name, _)| !is_reserved(name));
            let fields =
                fields.map(|(name, stored)| (name.clone(), decrypt(&self.0, &state, name, stored)));
            Ok(is_open.then(|| SessionMap::new(fields, self.config().unreadable)))
        })
    }

    /// Applies changes together. Returns the number of removals and expiries that found their
    /// field.
    pub(in crate::session) async fn write(
        &self,
        changes: &[Change<'_>],
        mut plan: WritePlan,
    ) -> Result<usize, Error> {
        let mut state = self.0.lock().await?;
        if let Some(PrincipalChange::Out(field)) = plan.principal_change
            && !self.signs_out(&mut state, field).await?
        {
            plan.principal_change = None;
        }
        let mut transfer = Transfer::new(&self.0, &mut state);
        let index = IndexChange::begin(&mut transfer, changes, &plan).await?;
        let with_keys = IndexChange::with_keys(index.as_ref(), changes);
        let update = Update { changes: &with_keys, ..Update::default() };
        let updated = write::update(&mut transfer, update, &plan).await;
        if updated.is_err() && plan.is_sign_in() {
            // The fields may have been read without a check of the client, so they are forgotten.
            let state = &mut *transfer.exchange.state;
            (state.fields, state.meta) = (FieldCache::default(), None);
        }
        let updated = updated?;
        if let Some(index) = index {
            Box::pin(index.finish(&transfer, &plan)).await?;
        }
        transfer.exchange.check_fresh()?;
        match updated {
            Updated::Applied { found } => Ok(found),
            // Not possible: the update has no precondition, and does not renew the secret.
            Updated::Conflict { .. } | Updated::NotDue => Ok(0),
        }
    }

    /// Moves the absolute deadline.
    pub(in crate::session) fn end_after(&self, ttl: Ttl) -> Boxed<'_, ()> {
        Box::pin(async move {
            let longest = self.config().absolute.map(Ttl::as_duration);
            check_lifetime(ttl.as_duration(), longest)?;
            let absolute = AbsoluteDeadline::new(ttl, self.config().absolute);
            let update = Update { absolute: Some(absolute), ..Update::default() };
            self.update_existing(update, WritePlan::default()).await
        })
    }

    /// Replaces the secret. Without a session there is nothing to replace.
    pub(in crate::session) fn rotate(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            let plan = WritePlan { rotate: true, ..WritePlan::default() };
            self.update_existing(Update::default(), plan).await
        })
    }

    async fn update_existing(&self, update: Update<'_>, plan: WritePlan) -> Result<(), Error> {
        let mut state = self.0.lock().await?;
        let may_create = state.identity.may_create();
        let mut transfer = Transfer::new(&self.0, &mut state);
        if !may_create {
            write::update(&mut transfer, update, &plan).await?;
        }
        transfer.exchange.check_fresh()
    }

    /// Reads, changes and writes one field atomically.
    pub(in crate::session) fn modify<'a>(
        &'a self,
        field: &'static FieldSpec,
        group: EagerGroup,
        modify: Modify<'a>,
    ) -> Boxed<'a, ()> {
        Box::pin(rewrite::modify(&self.0, field, group, modify))
    }

    /// Rewrites a field with its remaining lifetime, if its value is not stored in the current
    /// form. Returns whether the field was rewritten.
    pub(in crate::session) fn settle<'a>(
        &'a self,
        field: &'static FieldSpec,
        group: EagerGroup,
        is_current: &'a (dyn Fn(&[u8]) -> bool + Sync),
        encode: Modify<'a>,
    ) -> Boxed<'a, bool> {
        Box::pin(rewrite::settle(&self.0, field, group, is_current, encode))
    }

    /// Removes a field and returns its value.
    pub(in crate::session) fn take(
        &self,
        field: &'static FieldSpec,
    ) -> Boxed<'_, Option<Plaintext>> {
        Box::pin(async move {
            let name = field.name();
            let mut state = self.0.lock().await?;
            if !state.identity.may_be_live() {
                return taken_without_session(&self.0, &mut state, field).await;
            }
            let sign_out = field.is_principal() && self.signs_out(&mut state, field).await?;
            let mut transfer = Transfer::new(&self.0, &mut state);
            transfer.exchange.resolve().await?;
            transfer.check_client().await?;
            let exchange = &mut transfer.exchange;
            exchange.state.fields.forget(name);
            let cookie_life = exchange.state.identity.cookie_life();
            let rotation = exchange.begin_rotation(field.is_rotating(), None, cookie_life)?;
            let hash = rotation.hash();
            let take =
                TakeField::new(name).rotate(hash.as_ref()).touch(self.config().touch(cookie_life));
            let take = take.sign_out(sign_out).max_version((!sign_out).then(|| field.version()));
            let fallback = rotation.fallback_secret.clone();
            let taken =
                exchange.attempt_principal_change(sign_out, fallback.as_ref(), &take).await?;
            let Some(value) = taken else {
                return taken_without_session(&self.0, &mut state, field).await;
            };
            exchange.finish_rotation(rotation, None).await?;
            note_use(exchange);
            match &value {
                Some(value) if take.keeps(value) => state.fields.forget(name),
                _ => state.fields.remember(name, None),
            }
            if sign_out {
                (state.meta, state.principal) = (None, None);
                if value.is_some() {
                    log_principal_change(&self.0, &PrincipalChange::Out(field));
                }
            }
            // No other caller gets the value, so it is returned even if a cache missed the write.
            if let Some(stale_for) = state.stale_for.take() {
                tracing::warn!(
                    field = name,
                    ?stale_for,
                    "a cache may still show a field that was taken"
                );
            }
            decrypt_field(&self.0, &state, name, field.version(), value.as_ref())
        })
    }

    /// Ends the session.
    ///
    /// A deletion of unknown outcome counts as made by this request, both when it is tried again
    /// and when the response is sent. So a sign-out of unknown outcome removes the cookie, too.
    pub(in crate::session) fn delete(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            let mut state = self.0.lock().await?;
            let indexes = self.schemas().indexes();
            if !indexes.is_empty() && state.identity.may_be_live() {
                let names = names_of(indexes.iter().copied());
                let names = names.iter().map(|name| &**name).collect();
                // The session ends in any case. If an index entry stays, it leads to no live
                // session.
                let _ = Transfer::new(&self.0, &mut state).ensure_all_known(names).await;
            }
            let layer = self.config().layer;
            let entries: Vec<PrincipalKey> =
                indexes.iter().filter_map(|field| known(layer, &state, field)).collect();
            let mut exchange = Exchange { shared: &self.0, state: &mut state };
            if exchange.state.identity.may_be_live() {
                exchange.state.fields = Default::default();
                let fallback = exchange.state.fallback_secret();
                let tried_before = exchange.state.pending.is_deletion();
                exchange.set_pending_deletion(true);
                match exchange.attempt(fallback.as_ref(), &Delete { tried_before }).await {
                    Ok(Some(())) => {
                        if let Some(id) = self.id() {
                            event::ended(&id, "request");
                            for key in &entries {
                                IndexEntry::new(key, &id).free(self.0.call_store(), None).await;
                            }
                        }
                    }
                    Ok(None) => exchange.set_pending_deletion(tried_before),
                    Err(error) => {
                        let is_pending = tried_before || error.is_outcome_unknown();
                        exchange.set_pending_deletion(is_pending);
                        if is_pending {
                            self.0.response().cookie = self.0.cookie_of_ended();
                        }
                        return Err(error);
                    }
                }
            }
            exchange.is_without_session().await?;
            match exchange.state.identity {
                // The session was ended by another request, and a third request may have signed in
                // since, so the cookie is not cleared.
                Identity::Lost(LostReason::Deleted | LostReason::Revoked) => return Ok(()),
                Identity::Lost(LostReason::Replaced | LostReason::NotFound) => {
                    return Err(Error::Ended);
                }
                _ => {}
            }
            let fresh = exchange.check_fresh();
            exchange.note_ended_by_request();
            fresh
        })
    }

    /// Forgets the fields that were read, so that the next read asks the store.
    pub(in crate::session) async fn refresh(&self) {
        // If another operation does not release the session, the next read returns `Error::Busy`.
        if let Ok(mut state) = self.0.lock().await {
            state.fields = Default::default();
            state.meta = None;
        }
    }

    /// Records that the handler of this request has ended its session in another way, such as
    /// through `PrincipalSessions`.
    pub(super) fn end_itself(&self) {
        match self.0.try_lock() {
            Some(mut state) => {
                Exchange { shared: &self.0, state: &mut state }.note_ended_by_request()
            }
            // An operation is in progress. If the store refuses the operation, `Exchange` checks
            // this flag.
            None => self.0.response().ended_itself = true,
        }
    }

    /// Returns whether the handler has used the session.
    pub(in crate::session) fn was_used(&self) -> bool {
        self.0.was_used()
    }

    /// Returns a future that renews the secret or extends the deadlines before the response is
    /// sent. `None` if no renewal is due.
    pub(in crate::session) fn renewal(this: &Arc<Self>) -> Option<Renewal> {
        if !this.0.response().owes_renewal {
            return None;
        }
        let this = Arc::clone(this);
        Some(Box::pin(async move {
            let Ok(mut state) = this.0.lock().await else { return };
            renew(&mut Exchange { shared: &this.0, state: &mut state }).await;
        }))
    }

    /// Returns the cookie action, and closes the response. A token that must not be sent is
    /// discarded, as in [`abandon`](Self::abandon).
    pub(in crate::session) fn close_response(this: &Arc<Self>) -> CookieAction {
        match this.0.close_response() {
            CookieAction::Set { token, origin: TokenOrigin::Unverified, .. } => {
                Self::give_up(this, token);
                CookieAction::Keep
            }
            action => action,
        }
    }

    /// Discards the token of a response that no client receives. If this request has created the
    /// session, deletes it. After a renewal, the former secret stays valid. After a rotation, a
    /// sign-in with the former secret may take over the fields, as after a lost response.
    pub(in crate::session) fn abandon(this: &Arc<Self>, cookie: CookieAction) {
        if let CookieAction::Set { token, origin: TokenOrigin::Fresh, .. } = cookie {
            Self::give_up(this, token);
        }
    }

    fn give_up(this: &Arc<Self>, token: Token) {
        if !this.0.has_created(&token.id) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let this = Arc::clone(this);
            runtime.spawn(async move {
                let hash = token.secret.hash(this.config().layer);
                delete_lost(this.0.call_store(), &token.id, &hash).await;
            });
        }
    }

    /// Returns whether this request has ended a session.
    pub(in crate::session) fn has_ended(&self) -> bool {
        self.0.response().has_ended
    }
}

/// Returns the answer of a `take` without a session. Returns an error if only the secret was
/// replaced, because the principal is still signed in.
async fn taken_without_session(
    shared: &Shared,
    state: &mut State,
    field: &FieldSpec,
) -> Result<Option<Plaintext>, Error> {
    let mut exchange = Exchange { shared, state };
    if !field.is_principal() || exchange.is_without_session().await? {
        return Ok(None);
    }
    match exchange.state.identity {
        Identity::Lost(LostReason::Deleted | LostReason::Revoked) => Ok(None),
        _ => Err(Error::Ended),
    }
}
