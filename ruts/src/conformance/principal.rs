//! Calls that concern the sessions of a principal, for the checks.
//!
//! Used by `sign_in`, `listing`, `limits` and `revocation`. Knows nothing about backends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    client::{Client, applied, new_client},
    subject::Subject,
};
use crate::{
    auth::PrincipalKey,
    store::{
        AuthChange, OnLimit, PageRequest, Projection, RevokeTarget, SessionLimit, Store, Update,
    },
    token::SessionId,
};

pub(super) const ALL: RevokeTarget<'_> = RevokeTarget::All { except: None };
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Creates a session to which a principal is signed in.
pub(super) async fn signed_in<T: Subject>(
    subject: &T,
    principal: &PrincipalKey,
) -> Client<T::Store> {
    let client = new_client(subject);
    client
        .create_for(principal, None)
        .await
        .expect("a session with a principal should be possible");
    client
}

/// Returns the sessions of a principal. A page may have fewer sessions than its limit, even if it
/// is not the last one.
pub(super) async fn list<S: Store>(
    store: &Arc<S>,
    principal: &PrincipalKey,
) -> BTreeSet<SessionId> {
    let (mut sessions, mut after) = (BTreeSet::new(), None);
    loop {
        let page = PageRequest::new(after.as_ref(), 1000);
        let listed = store.list_by_principal(principal, page, Projection::Named(&[])).await;
        let listed = listed.expect("the store should answer");
        sessions.extend(listed.sessions.iter().map(|listed| listed.id));
        if listed.next.is_none() {
            return sessions;
        }
        assert!(listed.next > after, "each page should begin after the previous one");
        after = listed.next;
    }
}

pub(super) async fn revoke<S: Store>(
    store: &Arc<S>,
    principal: &PrincipalKey,
    target: RevokeTarget<'_>,
) -> BTreeSet<SessionId> {
    let revoked = store.revoke(principal, target).await.expect("the store should answer");
    assert_eq!(revoked.stale_for, None);
    revoked.answer.into_iter().collect()
}

pub(super) fn ids<S>(clients: &[&Client<S>]) -> BTreeSet<SessionId> {
    clients.iter().map(|client| client.id).collect()
}

pub(super) fn at_most(sessions: u32, on_limit: OnLimit) -> Option<SessionLimit> {
    Some(SessionLimit::new(sessions, on_limit))
}

pub(super) async fn change_principal<S: Store>(client: &Client<S>, change: AuthChange<'_>) {
    assert_eq!(client.update(Update::new(&[]).auth_change(change)).await, applied(0));
}
