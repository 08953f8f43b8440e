//! Starts a session for a write that needs one: [`update_or_create`], [`create`].
//!
//! Used by `write` and `successor`. Chooses the fields, the secret and the cookie of the new
//! session. Leaves the session limit to `creation`.

use super::{
    creation::create_for,
    field_cache::{FieldCache, Life},
    former_token::{FORMER, FormerToken},
    identity::Identity,
    inherited::{Inherited, NewId},
    own_fields::OwnFields,
    state::{ClientTrust, State},
    transfer::{Transfer, deadline_of, encrypt, log_principal_change},
    write_plan::{WritePlan, outcome, remember},
};
use crate::{
    error::Error,
    event,
    store::{Change, Create, FieldWrite, StoreErrorKind, StoredField, Update, Updated, Written},
    token::{CookieLife, Secret, Token},
    ttl::Ttl,
};

/// Maximum number of ids of sign-in attempts that [`create`] tries before it takes a random id.
const MAX_TRIES: u8 = 16;

/// Changes the session. Starts a session if there is none and this request may start one.
pub(super) async fn update_or_create(
    transfer: &mut Transfer<'_>,
    update: Update<'_>,
    plan: &WritePlan,
) -> Result<Updated, Error> {
    if let Some(updated) = transfer.update_presented(update, plan).await? {
        return Ok(updated);
    }
    // A sign-in proves who the user is, so it starts a session in any case.
    if !plan.is_sign_in() && !transfer.exchange.is_without_session().await? {
        return Err(Error::Ended);
    }
    create(transfer, update, plan).await
}

/// Creates a session with the inherited fields, and applies the changes of the update to it.
pub(super) async fn create(
    transfer: &mut Transfer<'_>,
    update: Update<'_>,
    plan: &WritePlan,
) -> Result<Updated, Error> {
    if update.precondition.is_some_and(|precondition| precondition.value.is_some()) {
        return Ok(Updated::Conflict { current: None });
    }
    for tries in 0..MAX_TRIES {
        let inherited = inherited(transfer, plan, NewId::OfAttempt { tries }).await?;
        match create_from(transfer, inherited, update, plan).await {
            // A parallel request with the same token has created that session.
            Err(Error::Store(error)) if error.kind() == StoreErrorKind::Exists => {}
            created => return created,
        }
    }
    let inherited = inherited(transfer, plan, NewId::Random).await?;
    create_from(transfer, inherited, update, plan).await
}

/// Finds the parts that a new session takes over. Boxed, because most writes create no session.
async fn inherited(
    transfer: &mut Transfer<'_>,
    plan: &WritePlan,
    id: NewId,
) -> Result<Inherited, Error> {
    let shared = transfer.shared();
    Box::pin(Inherited::find(shared, &transfer.state().refused, plan, id)).await
}

async fn create_from(
    transfer: &mut Transfer<'_>,
    inherited: Inherited,
    update: Update<'_>,
    plan: &WritePlan,
) -> Result<Updated, Error> {
    let shared = transfer.shared();
    let id = inherited.id;
    let values = encrypt(shared, &id, update.changes, plan)?;
    let cookie_life = plan.cookie_life(inherited.principal, inherited.cookie_life);
    let former = match plan.is_sign_in() {
        true => None,
        false => FormerToken::encode(&transfer.state().refused),
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
    // A session in `created` is deleted if no client gets its token. If the fields exist only in
    // this session, it has to stay, so that another attempt finds them.
    shared.response().created = (!is_only_source).then_some(id);
    let longest = if plan.is_sign_in() { deadline_of(change) } else { config.absolute };
    let longest = longest.map(Ttl::as_duration);
    transfer.exchange.issue_cookie(Token { id, secret }, &hash, longest).await?;
    event::created(&id);
    let state = transfer.state();
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

/// Returns the change that copies a field to another session.
pub(super) fn copy(field: &StoredField) -> Change<'_> {
    let write = FieldWrite::new(&field.name, &field.value)
        .ttl(field.ttl.and_then(|left| Ttl::new(left).ok()));
    Change::Set(write.cache_policy(field.cache_policy))
}
