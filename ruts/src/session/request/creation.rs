//! Creates sessions: [`create_for`], [`create_incomplete`].
//!
//! Used by `transfer`. Knows the session limit and the sessions that a sign-in replaces, and
//! nothing about the request's state.

use std::time::Duration;

use super::{inherited::Inherited, orphan::Orphan, own_fields::INCOMPLETE, shared::Shared};
use crate::{
    auth::PrincipalKey,
    codec,
    error::Error,
    store::{
        AuthChange, Change, Create, Credentials, FieldWrite, RevokeTarget, StoreError,
        StoreErrorKind, Update, Written,
    },
    token::SessionId,
    ttl::Ttl,
};

/// Time after which an incomplete session ends. Such a session holds fields until its principal can
/// sign in.
const INCOMPLETE_LIFE: Ttl = Ttl::from_secs(600);

/// Creates a session, possibly with a sign-in. Returns whether other sessions were ended for the
/// new session, so that their fields exist only in the new session.
pub(super) async fn create_for(
    shared: &Shared,
    create: Create<'_>,
    change: Option<AuthChange<'_>>,
    inherited: &Inherited,
) -> Result<Written<bool>, Error> {
    let Some(AuthChange::In { who, absolute, .. }) = change else {
        return Ok(create_or_delete(shared, create).await?.map(|()| false));
    };
    let full = create.absolute(absolute);
    let limit = match (who.limit, &inherited.replaced[..]) {
        (Some(limit), [_, ..]) => limit,
        _ => return Ok(create_or_delete(shared, full.sign_in(who)).await?.map(|()| false)),
    };
    match create_or_delete(shared, full.sign_in(who.limit(limit.rejecting()))).await {
        Err(error) if error.kind() == StoreErrorKind::SessionLimit => {}
        created => return Ok(created?.map(|()| false)),
    }
    // The replaced sessions still count towards the session limit, so the principal cannot have a
    // further session yet. But the fields have to be in the new session before the replaced
    // sessions end. So the new session is created without the principal.
    let mut stale_for = create_incomplete(shared, create).await?.stale_for;
    stale_for = stale_for.max(revoke(shared, who.principal, &inherited.replaced).await?);
    let changes = [Change::Remove(INCOMPLETE)];
    let update = Update { auth_change: change, ..Update::new(&changes) };
    let credentials = Credentials::new(create.id, create.secret);
    let signed_in = shared.call_store().update(credentials, update).await?;
    let Written { stale_for: longest, .. } = signed_in.map_err(|_| Error::Ended)?;
    Ok(Written::new(true).stale_for(stale_for.max(longest)))
}

/// Creates a session that holds fields until their principal can sign in.
pub(super) async fn create_incomplete(
    shared: &Shared,
    create: Create<'_>,
) -> Result<Written<()>, StoreError> {
    let mark = codec::wrap_own(&[]);
    let mark = FieldWrite::new(INCOMPLETE, &mark);
    let fields: Vec<FieldWrite<'_>> = create.fields.iter().copied().chain([mark]).collect();
    create_or_delete(shared, create.fields(&fields).absolute(INCOMPLETE_LIFE)).await
}

/// Ends sessions of a principal. Returns how long a cache may still show one of them.
pub(super) async fn revoke(
    shared: &Shared,
    principal: &PrincipalKey,
    sessions: &[SessionId],
) -> Result<Option<Duration>, Error> {
    let mut stale_for = None;
    for id in sessions {
        let revoked = shared.call_store().revoke(principal, RevokeTarget::One(id)).await?;
        stale_for = stale_for.max(revoked.stale_for);
    }
    Ok(stale_for)
}

/// Creates a session. If the creation is cancelled, or if its outcome stays unknown, the session is
/// deleted.
async fn create_or_delete(shared: &Shared, create: Create<'_>) -> Result<Written<()>, StoreError> {
    let orphan = Orphan::new(shared.store(), *create.id, *create.secret);
    let created = shared.call_store().create(create).await;
    let is_unknown = |error: &StoreError| error.kind() == StoreErrorKind::OutcomeUnknown;
    if !created.as_ref().is_err_and(is_unknown) {
        orphan.adopt();
    }
    created
}
