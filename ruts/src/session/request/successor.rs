//! Signs in to a successor: [`sign_in_successor`].
//!
//! Used by `write`. A successor is a session that a page view has started after a lost sign-in.
//! Adds the fields of the lost sessions to it.

use std::iter;

use super::{
    creation::{create_incomplete, revoke},
    former_token::FORMER,
    inherited::Inherited,
    new_session::{copy, create, update_or_create},
    store_call::{Delete, StoreCall},
    transfer::Transfer,
    write_plan::{WritePlan, outcome},
};
use crate::{
    error::Error,
    store::{Change, Create, Credentials, Projection, StoreErrorKind, Update, Updated},
    token::{CookieLife, Secret, SecretHash},
};

/// Signs in to a successor, then adds the fields of the lost sessions that came before it.
///
/// The sign-in comes first, so a guest's session never holds these fields. The sign-in also
/// replaces the secret, so no other request of the client changes the session while the fields are
/// added. If adding the fields fails, the next sign-in adds them.
pub(super) async fn sign_in_successor(
    transfer: &mut Transfer<'_>,
    update: Update<'_>,
    plan: &WritePlan,
) -> Result<Updated, Error> {
    // A sign-in proves who the user is, so the fingerprint of the client is not compared.
    transfer.checks_client = false;
    transfer.ensure_all_known(vec![FORMER]).await?;
    let Some(inherited) = inherited_by_successor(transfer, plan).await? else {
        transfer.state().identity.set_successor(false);
        let forget = iter::once(Change::Remove(FORMER));
        let changes: Vec<Change<'_>> = update.changes.iter().copied().chain(forget).collect();
        let updated =
            update_or_create(transfer, Update { changes: &changes, ..update }, plan).await;
        if updated.is_err() {
            transfer.state().identity.set_successor(true);
        }
        return updated;
    };
    // A secret that the client does not have yet is not replaced again, so its cookie stays as it
    // is.
    let is_first =
        transfer.state().principal.is_none() && !transfer.shared().response().sets_fresh();
    let plan = &match inherited.principal {
        Some(_) if is_first && plan.keeps_cookie() => plan.with_cookie(inherited.cookie_life),
        _ => plan.clone(),
    };
    let Some((updated, holder)) = sign_in_for(transfer, &inherited, update, plan).await? else {
        return create(transfer, update, plan).await;
    };
    let stale_for = transfer.state().stale_for;
    add_fields(transfer, &inherited, update.changes).await?;
    if let Some(secret) = holder {
        // If this fails, the session ends ten minutes after its creation.
        let credentials = Credentials::new(&inherited.id, &secret);
        let _ =
            Delete { tried_before: false }.run(transfer.shared().call_store(), credentials).await;
    }
    let state = transfer.state();
    state.stale_for = state.stale_for.max(stale_for);
    Ok(updated)
}

/// Returns the parts that the successor takes over when the principal signs in, or `None` if there
/// are none.
async fn inherited_by_successor(
    transfer: &mut Transfer<'_>,
    plan: &WritePlan,
) -> Result<Option<Inherited>, Error> {
    let shared = transfer.shared();
    let state = transfer.state();
    // The session of a different principal takes nothing over.
    let is_other = state.principal.is_some_and(|principal| !plan.signs_in(&principal));
    let former = state.fields.get(FORMER).filter(|_| !is_other);
    let principal = plan.principal_change.and_then(|principal_change| principal_change.principal());
    let (Some(id), Some(former), Some(principal)) = (state.identity.id(), former, principal) else {
        return Ok(None);
    };
    let inherited = Inherited::of_successor(shared, id, former, &principal).await?;
    Ok(Some(inherited).filter(|it| it.principal.is_some() || !it.fields.is_empty()))
}

/// Signs in to the successor. If the session limit refuses the sign-in, ends the sessions that the
/// successor replaces, and signs in again. In case this fails, an incomplete session holds the
/// inherited fields. Returns its secret, too. Returns `None` if the successor is no longer live.
async fn sign_in_for(
    transfer: &mut Transfer<'_>,
    inherited: &Inherited,
    update: Update<'_>,
    plan: &WritePlan,
) -> Result<Option<(Updated, Option<SecretHash>)>, Error> {
    let shared = transfer.shared();
    let counts = shared.config().limit.is_some() && !inherited.replaced.is_empty();
    let Some(principal) = inherited.principal.filter(|_| counts) else {
        return Ok(transfer.update_presented(update, plan).await?.map(|updated| (updated, None)));
    };
    let rejecting = WritePlan { rejects: true, ..plan.clone() };
    match transfer.update_presented(update, &rejecting).await {
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
    let signed_in = transfer.update_presented(update, plan).await?;
    let state = transfer.state();
    state.stale_for = state.stale_for.max(revoked);
    Ok(signed_in.map(|updated| (updated, holder)))
}

/// Adds the inherited fields that the session does not have, and that the sign-in has not written
/// or removed.
async fn add_fields(
    transfer: &mut Transfer<'_>,
    inherited: &Inherited,
    written: &[Change<'_>],
) -> Result<(), Error> {
    let shared = transfer.shared();
    transfer.load(Projection::All).await?;
    let Some(id) = transfer.state().identity.id() else { return Ok(()) };
    let mut fields = inherited.fields_for(shared, &id);
    fields.retain(|field| {
        transfer.state().fields.get(&field.name).is_none()
            && written.iter().all(|change| change.name() != &*field.name)
    });
    let forget = iter::once(Change::Remove(FORMER));
    let changes: Vec<Change<'_>> = fields.iter().map(copy).chain(forget).collect();
    transfer.update_presented(Update::new(&changes), &WritePlan::default()).await.map(drop)
}
