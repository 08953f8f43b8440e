//! [`Transfer`]: reads and writes fields through the store, and keeps the field cache up to date.
//!
//! Used by `write`, `new_session`, `successor`, `operations` and `index`. Knows stored bytes and
//! encryption, and nothing about value types.

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    client_check,
    exchange::Exchange,
    field_cache::{FieldCache, Life},
    identity::Identity,
    own_fields::OwnFields,
    renewal::{Use, note_due, note_use, renew},
    shared::Shared,
    state::{ClientTrust, Rotation, State},
    store_call::Load,
    write_plan::{EagerGroup, WritePlan, remember},
};
use crate::{
    client::RECORD,
    codec::CodecError,
    crypto::field_cipher::{CipherError, FieldAad},
    error::Error,
    event,
    field::SessionSchema,
    session::{config::PrincipalChange, value},
    store::{AuthChange, Change, Loaded, Projection, SessionLimit, SessionMeta, Update, Updated},
    token::{CookieLife, SessionId},
    ttl::Ttl,
};

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

    pub(super) fn state(&mut self) -> &mut State {
        self.exchange.state
    }

    pub(super) fn shared(&self) -> &'a Shared {
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

    /// Changes the session that the client presents. Returns `None` if there is none. Does not
    /// check the client.
    pub(super) async fn update_presented(
        &mut self,
        update: Update<'_>,
        plan: &WritePlan,
    ) -> Result<Option<Updated>, Error> {
        let shared = self.shared();
        // If the same principal authenticates again, a remembered sign-in stays remembered, so the
        // signed-in principal has to be known.
        let presented = self.state().identity.cookie_life();
        let is_kept = plan.keeps_cookie() && presented != CookieLife::Default;
        // This write sets the cookie. So it also counts the use: the renewal at the end of the
        // request no longer does.
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
}

/// Returns the time until the absolute deadline that a sign-in sets.
pub(super) fn deadline_of(change: Option<AuthChange<'_>>) -> Option<Ttl> {
    match change {
        Some(AuthChange::In { absolute, .. }) => absolute,
        Some(AuthChange::Lapse(_) | AuthChange::Out) | None => None,
    }
}

/// Encrypts the values of encrypted fields, in the order of the changes.
pub(super) fn encrypt(
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
