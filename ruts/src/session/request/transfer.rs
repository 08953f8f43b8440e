//! [`Transfer`]: reads and writes fields through the store, and keeps the field cache up to date.
//!
//! Used by `operations` and `index`. Knows stored bytes and encryption, and nothing about value
//! types.

use std::iter;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    client_check,
    creation::{create_for, create_incomplete, revoke},
    exchange::Exchange,
    field_cache::{FieldCache, Life},
    former_token::{FORMER, FormerToken},
    identity::Identity,
    inherited::{Inherited, NewId},
    own_fields::OwnFields,
    renewal::{Use, note_due, note_use, renew},
    shared::Shared,
    state::{ClientTrust, Rotation, State},
    store_call::{Delete, Load, StoreCall},
    write_plan::{EagerGroup, WritePlan, outcome, remember},
};
use crate::{
    client::RECORD,
    codec::CodecError,
    crypto::field_cipher::{CipherError, FieldAad},
    error::Error,
    event,
    field::SessionSchema,
    session::{config::PrincipalChange, value},
    store::{
        AuthChange, Change, Create, Credentials, FieldWrite, Loaded, Projection, SessionLimit,
        SessionMeta, StoreErrorKind, StoredField, Update, Updated, Written,
    },
    token::{CookieLife, Secret, SecretHash, SessionId, Token},
    ttl::Ttl,
};

/// Maximum number of ids of sign-in attempts that `create` tries before it takes a random id.
const MAX_TRIES: u8 = 16;

/// Moves fields between the store and the state of a request.
pub(super) struct Transfer<'a> {
    pub(super) exchange: Exchange<'a>,
    /// Whether a read compares the client with the client of the sign-in.
    pub(super) checks_client: bool,
    /// Whether a read counts as activity.
    is_passive: bool,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(shared: &'a Shared, state: &'a mut State) -> Self {
        let (is_passive, checks_client) = (shared.is_passive(), !shared.is_look);
        Self { exchange: Exchange { shared, state }, checks_client, is_passive }
    }

    /// Creates a transfer whose reads do not count as activity.
    pub(super) fn passive(shared: &'a Shared, state: &'a mut State) -> Self {
        Self { is_passive: true, ..Self::new(shared, state) }
    }

    fn state(&mut self) -> &mut State {
        self.exchange.state
    }

    fn shared(&self) -> &'a Shared {
        self.exchange.shared
    }

    /// Reads a field together with its group, unless the field is known.
    pub(super) async fn ensure_known(
        &mut self,
        name: &str,
        group: EagerGroup,
    ) -> Result<(), Error> {
        if self.state().fields.knows(name) || !self.state().identity.may_be_live() {
            return Ok(());
        }
        let others = group.map_or(0, |schema| schema.fields().len());
        let mut names = Vec::with_capacity(1 + others);
        names.push(name);
        for field in group.into_iter().flat_map(SessionSchema::eager) {
            if field.name() != name {
                names.push(field.name());
            }
        }
        self.ensure_all_known(names).await
    }

    /// Reads the named fields that are not known yet.
    pub(super) async fn ensure_all_known(&mut self, mut names: Vec<&str>) -> Result<(), Error> {
        names.retain(|name| !self.exchange.state.fields.knows(name));
        if names.is_empty() { Ok(()) } else { self.load(Projection::Named(&names)).await }
    }

    /// Reads fields, then checks the client and the age of the secret.
    pub(super) async fn load(&mut self, fields: Projection<'_>) -> Result<(), Error> {
        self.exchange.resolve().await?;
        let shared = self.shared();
        let mut names = Vec::new();
        let fields = match fields {
            Projection::Named(asked)
                if shared.client.is_some() && !self.state().fields.knows(RECORD) =>
            {
                names.extend(asked.iter().copied().chain([RECORD]));
                Projection::Named(&names)
            }
            fields => fields,
        };
        let touch = match self.is_passive {
            true => None,
            false => {
                shared.note_activity();
                shared.config().touch(self.state().identity.cookie_life())
            }
        };
        let load = Load { fields, touch };
        let fallback = self.state().fallback_secret();
        let loaded = self.exchange.attempt(fallback.as_ref(), &load).await?;
        if let Some(Loaded { meta, fields: stored }) = loaded {
            let stored = stored.into_iter();
            let stored = stored.map(|field| (field.name, field.value, Life::new(field.ttl)));
            let state = self.state();
            match fields {
                Projection::All => state.fields.learn_all(stored),
                Projection::Named(names) => state.fields.learn(names, stored),
            }
            state.meta = Some((meta, Instant::now()));
            state.principal = meta.signed_in.map(|signed_in| signed_in.principal);
            self.after_load(meta).await?;
        }
        Ok(())
    }

    async fn after_load(&mut self, meta: SessionMeta) -> Result<(), Error> {
        if self.checks_client {
            client_check::check(&mut self.exchange).await?;
        }
        let is_due = !self.is_passive && note_due(&self.exchange, &meta);
        if is_due && self.shared().response().check_open().is_err() {
            // The response was sent, so no later step counts this use.
            Box::pin(renew(&mut self.exchange)).await;
        }
        Ok(())
    }

    /// Reads the session before its first write, if the client has to be checked.
    pub(super) async fn check_client(&mut self) -> Result<(), Error> {
        let state = self.state();
        let is_due = state.client == ClientTrust::Unchecked && state.identity.may_be_live();
        if is_due && self.shared().client.is_some() {
            // Boxed: this read is rare, and would otherwise enlarge the future of every write.
            Box::pin(self.load(Projection::Named(&[]))).await?;
        }
        Ok(())
    }

    /// Changes the session. Starts a session if there is none and this request may start one.
    pub(super) async fn update(
        &mut self,
        update: Update<'_>,
        plan: &WritePlan,
    ) -> Result<Updated, Error> {
        self.exchange.resolve().await?;
        if !plan.is_sign_in() {
            self.check_client().await?;
        } else if self.state().identity.is_successor() {
            // Boxed, because few sessions are successors.
            return Box::pin(self.sign_in_successor(update, plan)).await;
        }
        self.update_or_create(update, plan).await
    }

    /// Signs in to a successor, then adds the fields of the lost sessions that came before it.
    ///
    /// The sign-in comes first, so a guest's session never holds these fields. The sign-in also replaces the
    /// secret, so no other request of the client changes the session while the fields are added. If adding
    /// the fields fails, the next sign-in adds them.
    async fn sign_in_successor(
        &mut self,
        update: Update<'_>,
        plan: &WritePlan,
    ) -> Result<Updated, Error> {
        // A sign-in proves who the user is, so the fingerprint of the client is not compared.
        self.checks_client = false;
        self.ensure_all_known(vec![FORMER]).await?;
        let Some(inherited) = self.inherited_by_successor(plan).await? else {
            self.state().identity.set_successor(false);
            let forget = iter::once(Change::Remove(FORMER));
            let changes: Vec<Change<'_>> = update.changes.iter().copied().chain(forget).collect();
            let updated = self.update_or_create(Update { changes: &changes, ..update }, plan).await;
            if updated.is_err() {
                self.state().identity.set_successor(true);
            }
            return updated;
        };
        // A secret that the client does not have yet is not replaced again, so its cookie stays as it is.
        let is_first = self.state().principal.is_none() && !self.shared().response().sets_fresh();
        let plan = &match inherited.principal {
            Some(_) if is_first && plan.keeps_cookie() => plan.with_cookie(inherited.cookie_life),
            _ => plan.clone(),
        };
        let Some((updated, holder)) = self.sign_in_for(&inherited, update, plan).await? else {
            return self.create(update, plan).await;
        };
        let stale_for = self.state().stale_for;
        self.add_fields(&inherited, update.changes).await?;
        if let Some(secret) = holder {
            // If this fails, the session ends ten minutes after its creation.
            let credentials = Credentials::new(&inherited.id, &secret);
            let _ =
                Delete { tried_before: false }.run(self.shared().call_store(), credentials).await;
        }
        let state = self.state();
        state.stale_for = state.stale_for.max(stale_for);
        Ok(updated)
    }

    /// Returns the parts that the successor takes over when the principal signs in, or `None` if there are
    /// none.
    async fn inherited_by_successor(
        &mut self,
        plan: &WritePlan,
    ) -> Result<Option<Inherited>, Error> {
        let shared = self.shared();
        let state = self.state();
        // The session of a different principal takes nothing over.
        let is_other = state.principal.is_some_and(|principal| !plan.signs_in(&principal));
        let former = state.fields.get(FORMER).filter(|_| !is_other);
        let principal =
            plan.principal_change.and_then(|principal_change| principal_change.principal());
        let (Some(id), Some(former), Some(principal)) = (state.identity.id(), former, principal)
        else {
            return Ok(None);
        };
        let inherited = Inherited::of_successor(shared, id, former, &principal).await?;
        Ok(Some(inherited).filter(|it| it.principal.is_some() || !it.fields.is_empty()))
    }

    /// Signs in to the successor. If the session limit refuses the sign-in, ends the sessions that the
    /// successor replaces, and signs in again. In case this fails, an incomplete session holds the inherited
    /// fields. Returns its secret, too. Returns `None` if the successor is no longer live.
    async fn sign_in_for(
        &mut self,
        inherited: &Inherited,
        update: Update<'_>,
        plan: &WritePlan,
    ) -> Result<Option<(Updated, Option<SecretHash>)>, Error> {
        let shared = self.shared();
        let counts = shared.config().limit.is_some() && !inherited.replaced.is_empty();
        let Some(principal) = inherited.principal.filter(|_| counts) else {
            return Ok(self.update_presented(update, plan).await?.map(|updated| (updated, None)));
        };
        let rejecting = WritePlan { rejects: true, ..plan.clone() };
        match self.update_presented(update, &rejecting).await {
            Err(Error::TooManySessions) => {}
            signed_in => return Ok(signed_in?.map(|updated| (updated, None))),
        }
        let secret = Secret::random(CookieLife::Default)?.hash(shared.config().layer);
        let fields: Vec<Change<'_>> = inherited.fields.iter().map(copy).collect();
        let create = Create::new(&inherited.id, &secret);
        let holder = match create_incomplete(shared, create.fields(&outcome(&fields))).await {
            // A parallel request has created this session, with the same fields.
            Err(error) if error.kind() == StoreErrorKind::Exists => None,
            created => Some(created.map(|_| secret)?),
        };
        // The fields may then exist only in this session, so it stays even if no client gets its token.
        shared.response().created = None;
        let revoked = revoke(shared, &principal, &inherited.replaced).await?;
        let signed_in = self.update_presented(update, plan).await?;
        let state = self.state();
        state.stale_for = state.stale_for.max(revoked);
        Ok(signed_in.map(|updated| (updated, holder)))
    }

    /// Adds the inherited fields that the session does not have, and that the sign-in has not written or removed.
    async fn add_fields(
        &mut self,
        inherited: &Inherited,
        written: &[Change<'_>],
    ) -> Result<(), Error> {
        let shared = self.shared();
        self.load(Projection::All).await?;
        let Some(id) = self.state().identity.id() else { return Ok(()) };
        let mut fields = inherited.fields_for(shared, &id);
        fields.retain(|field| {
            self.state().fields.get(&field.name).is_none()
                && written.iter().all(|change| change.name() != &*field.name)
        });
        let forget = iter::once(Change::Remove(FORMER));
        let changes: Vec<Change<'_>> = fields.iter().map(copy).chain(forget).collect();
        self.update_presented(Update::new(&changes), &WritePlan::default()).await.map(drop)
    }

    /// Changes the session. Starts a session if there is none and this request may start one.
    async fn update_or_create(
        &mut self,
        update: Update<'_>,
        plan: &WritePlan,
    ) -> Result<Updated, Error> {
        if let Some(updated) = self.update_presented(update, plan).await? {
            return Ok(updated);
        }
        // A sign-in proves who the user is, so it starts a session in any case.
        if !plan.is_sign_in() && !self.exchange.is_without_session().await? {
            return Err(Error::Ended);
        }
        self.create(update, plan).await
    }

    /// Changes the session that the client presents. Returns `None` if there is none.
    async fn update_presented(
        &mut self,
        update: Update<'_>,
        plan: &WritePlan,
    ) -> Result<Option<Updated>, Error> {
        let shared = self.shared();
        // If the same principal authenticates again, a remembered sign-in stays remembered, so the
        // signed-in principal has to be known.
        let presented = self.state().identity.cookie_life();
        let is_kept = plan.keeps_cookie() && presented != CookieLife::Default;
        // This write sets the cookie. So it also counts the use: the renewal at the end of the request no
        // longer does.
        let counts_use = plan.rotate
            && plan.principal_change.is_none()
            && shared.config().outlives_idle(presented);
        if (is_kept || counts_use) && self.state().meta.is_none() {
            Box::pin(self.load(Projection::Named(&[]))).await?;
        }
        let Some(id) = self.state().identity.id() else { return Ok(None) };
        let former = self.state().identity.cookie_life();
        let cookie_life = plan.cookie_life(self.state().principal, former);
        let values = encrypt(shared, &id, update.changes, plan)?;
        let own = OwnFields::new(shared, &id, plan, [former, cookie_life]);
        let changes = plan.with_values(update.changes, &values, own.changes());
        for change in update.changes {
            self.state().fields.forget(change.name());
        }
        let rotation =
            self.exchange.begin_rotation(plan.rotate, plan.principal_change, cookie_life)?;
        if plan.is_sign_in() {
            shared.response().set_verified(false);
        }
        let hash = rotation.hash();
        let meta = self.state().meta_now().filter(|_| counts_use);
        let due = meta.map(|meta| Use::due(shared.config(), former, &meta)).unwrap_or_default();
        let mut principal_change =
            shared.config().auth_change(plan.principal_change.as_ref(), cookie_life);
        if let (true, Some(AuthChange::In { who, .. })) = (plan.rejects, &mut principal_change) {
            who.limit = who.limit.map(SessionLimit::rejecting);
        }
        let full = Update {
            changes: &changes,
            rotate: hash.as_ref(),
            touch: due.touch.or_else(|| shared.config().touch(former)),
            auth_change: principal_change.or(due.auth_change),
            ..update
        };
        let fallback = rotation.fallback_secret.clone();
        let changes_principal = plan.principal_change.is_some();
        let answer = match self
            .exchange
            .attempt_principal_change(changes_principal, fallback.as_ref(), &full)
            .await
        {
            Err(error) => return Err(self.note_failed(&rotation, plan, error)),
            Ok(answer) => answer,
        };
        let Some(updated) = answer else { return Ok(None) };
        self.note_updated(&full, plan, rotation, &updated).await?;
        note_use(&self.exchange);
        Ok(Some(updated))
    }

    /// Updates the state after the store has found the session and answered an update.
    async fn note_updated(
        &mut self,
        update: &Update<'_>,
        plan: &WritePlan,
        rotation: Rotation,
        updated: &Updated,
    ) -> Result<(), Error> {
        match updated {
            Updated::Applied { found } => {
                self.exchange.finish_rotation(rotation, deadline_of(update.auth_change)).await?;
                let state = self.state();
                if plan.is_sign_in() {
                    state.client = ClientTrust::Trusted;
                    // The store may have removed the fields of a different principal, so the cached
                    // fields are dropped. A guest's fields stay.
                    let former = state.meta.map(|(meta, _)| meta.signed_in);
                    let stays = former.is_some_and(|former| {
                        former.is_none_or(|former| plan.signs_in(&former.principal))
                    });
                    if !stays {
                        state.fields = FieldCache::default();
                    }
                }
                remember(&mut state.fields, update.changes);
                if let Some(principal_change) = &plan.principal_change {
                    state.principal = principal_change.principal();
                }
                if update.auth_change.is_some() || update.absolute.is_some() {
                    state.meta = None;
                }
                if let Some(principal_change) =
                    plan.principal_change.filter(|_| plan.is_sign_in() || *found > 0)
                {
                    log_principal_change(self.shared(), &principal_change);
                }
            }
            Updated::NotDue => {}
            Updated::Conflict { current } => {
                if let Some(precondition) = update.precondition {
                    let current = current.clone().map(|current| (current, Life::Unknown));
                    self.state().fields.remember(precondition.name, current);
                }
                self.exchange.abandon_rotation(&rotation);
            }
        }
        Ok(())
    }

    /// Updates the state after a write has failed, and returns the error.
    fn note_failed(&mut self, rotation: &Rotation, plan: &WritePlan, error: Error) -> Error {
        if !error.is_outcome_unknown() {
            self.shared().response().set_verified(true);
        }
        match &error {
            Error::TooManySessions => {
                self.exchange.abandon_rotation(rotation);
                if !plan.rejects {
                    event::limit_reached();
                }
            }
            Error::Ended if !matches!(self.state().identity, Identity::Internal(_)) => {
                self.exchange.note_ended_by_store();
            }
            _ => {}
        }
        error
    }

    /// Creates a session with the inherited fields, and applies the changes of the update to it.
    async fn create(&mut self, update: Update<'_>, plan: &WritePlan) -> Result<Updated, Error> {
        if update.precondition.is_some_and(|precondition| precondition.value.is_some()) {
            return Ok(Updated::Conflict { current: None });
        }
        for tries in 0..MAX_TRIES {
            let inherited = self.inherited(plan, NewId::OfAttempt { tries }).await?;
            match self.create_from(inherited, update, plan).await {
                // A parallel request with the same token has created that session.
                Err(Error::Store(error)) if error.kind() == StoreErrorKind::Exists => {}
                created => return created,
            }
        }
        let inherited = self.inherited(plan, NewId::Random).await?;
        self.create_from(inherited, update, plan).await
    }

    /// Finds the parts that a new session takes over. Boxed, because most writes create no session.
    async fn inherited(&mut self, plan: &WritePlan, id: NewId) -> Result<Inherited, Error> {
        let shared = self.shared();
        Box::pin(Inherited::find(shared, &self.state().refused, plan, id)).await
    }

    async fn create_from(
        &mut self,
        inherited: Inherited,
        update: Update<'_>,
        plan: &WritePlan,
    ) -> Result<Updated, Error> {
        let shared = self.shared();
        let id = inherited.id;
        let values = encrypt(shared, &id, update.changes, plan)?;
        let cookie_life = plan.cookie_life(inherited.principal, inherited.cookie_life);
        let former = match plan.is_sign_in() {
            true => None,
            false => FormerToken::encode(&self.state().refused),
        };
        let own = OwnFields::new(shared, &id, plan, [CookieLife::Default, cookie_life]);
        let changes = plan.with_values(update.changes, &values, own.changes());
        let taken_over = inherited.fields.iter().map(copy);
        let changes: Vec<Change<'_>> = taken_over.chain(changes.iter().copied()).collect();
        let mut fields = outcome(&changes);
        if fields.is_empty() {
            return Ok(Updated::Applied { found: 0 });
        }
        fields.extend(former.iter().map(|former| FieldWrite::new(FORMER, former)));
        shared.response().require_open()?;
        let is_successor = former.is_some();
        let secret = Secret::random(cookie_life)?.with_successor(is_successor);
        let config = shared.config();
        let hash = secret.hash(config.layer);
        let create = Create::new(&id, &hash).idle(config.idle_of(cookie_life)).fields(&fields);
        let create = create.absolute(config.absolute);
        let change = config.auth_change(plan.principal_change.as_ref(), cookie_life);
        let created = Box::pin(create_for(shared, create, change, &inherited)).await;
        if matches!(created, Err(Error::TooManySessions)) {
            event::limit_reached();
        }
        let Written { answer: is_only_source, stale_for } = created?;
        // A session in `created` is deleted if no client gets its token. If the fields exist only in this
        // session, it has to stay, so that another attempt finds them.
        shared.response().created = (!is_only_source).then_some(id);
        let longest = if plan.is_sign_in() { deadline_of(change) } else { config.absolute };
        let longest = longest.map(Ttl::as_duration);
        self.exchange.issue_cookie(Token { id, secret }, &hash, longest).await?;
        event::created(&id);
        let state = self.state();
        let refused = std::mem::take(&mut state.refused);
        *state = State::new(Identity::Confirmed { id, secret: hash, cookie_life, is_successor });
        if !plan.is_sign_in() {
            state.refused = refused;
        }
        state.stale_for = stale_for;
        state.fields = FieldCache::empty();
        state.client = ClientTrust::Trusted;
        state.principal =
            plan.principal_change.and_then(|principal_change| principal_change.principal());
        remember(&mut state.fields, &changes);
        if let Some(former) = former {
            state.fields.remember(FORMER, Some((former, Life::Session)));
        }
        if let Some(principal_change) = plan.principal_change.filter(|_| plan.is_sign_in()) {
            log_principal_change(shared, &principal_change);
        }
        Ok(Updated::Applied { found: 0 })
    }
}

/// Returns the change that copies a field to another session.
fn copy(field: &StoredField) -> Change<'_> {
    let write = FieldWrite::new(&field.name, &field.value)
        .ttl(field.ttl.and_then(|left| Ttl::new(left).ok()));
    Change::Set(write.cache_policy(field.cache_policy))
}

/// Returns the time until the absolute deadline that a sign-in sets.
fn deadline_of(change: Option<AuthChange<'_>>) -> Option<Ttl> {
    match change {
        Some(AuthChange::In { absolute, .. }) => absolute,
        Some(AuthChange::Lapse(_) | AuthChange::Out) | None => None,
    }
}

/// Encrypts the values of encrypted fields, in the order of the changes.
fn encrypt(
    shared: &Shared,
    id: &SessionId,
    changes: &[Change<'_>],
    plan: &WritePlan,
) -> Result<Vec<Bytes>, Error> {
    let writes = changes.iter().filter_map(|change| plan.to_encrypt(change));
    let encrypted = writes.map(|write| {
        let aad = FieldAad { id, field: write.name };
        shared.config().cipher.encrypt(aad, write.value).map_err(|error| match error {
            CipherError::NoKey => value::encode_error(write.name, CodecError::NoKeys),
            #[cfg(feature = "encrypt")]
            CipherError::Random(error) => error.into(),
        })
    });
    encrypted.collect()
}

pub(super) fn log_principal_change(shared: &Shared, principal_change: &PrincipalChange) {
    let Some(id) = shared.id() else { return };
    match principal_change {
        PrincipalChange::In { options, .. } => event::signed_in(&id, options.assurance.level()),
        PrincipalChange::Out(_) => event::principal_removed(&id),
    }
}
