//! Deletes sessions whose token no client receives: [`delete_lost`], and [`Orphan`] after a
//! cancelled creation.
//!
//! Used by `creation`, `exchange` and `operations`. Knows one token, and nothing about the request.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::store_call::{Delete, StoreCall};
use crate::{
    event,
    store::{Credentials, DynStore, Written},
    token::{SecretHash, SessionId},
};

/// Time after which a store is assumed to have carried out a call whose caller no longer waits.
const CARRIED_OUT: Duration = Duration::from_secs(1);

/// A session that the store may create although the request never gets the answer.
///
/// No client gets its token, but it would count towards the session limit and appear in the list of
/// devices. So it is deleted if this value is dropped before [`adopt`](Self::adopt).
pub(super) struct Orphan {
    session: Option<(Arc<dyn DynStore>, SessionId, SecretHash)>,
}

impl Orphan {
    pub(super) fn new(store: &Arc<dyn DynStore>, id: SessionId, secret: SecretHash) -> Self {
        Self { session: Some((Arc::clone(store), id, secret)) }
    }

    /// Records that the outcome of the creation is known.
    pub(super) fn adopt(mut self) {
        self.session = None;
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let Some((store, id, secret)) = self.session.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { delete(&*store, &id, &secret).await });
        }
    }
}

async fn delete(store: &dyn DynStore, id: &SessionId, secret: &SecretHash) {
    if !delete_lost(store, id, secret).await {
        sleep(CARRIED_OUT).await;
        delete_lost(store, id, secret).await;
    }
}

/// Deletes a session whose secret no client will ever know. Returns whether the store has deleted
/// it.
pub(super) async fn delete_lost(store: &dyn DynStore, id: &SessionId, secret: &SecretHash) -> bool {
    let delete = Delete { tried_before: false };
    let answer = delete.run(store, Credentials::new(id, secret)).await;
    if let Ok(Ok(Written { stale_for: None, .. })) = answer {
        event::ended(id, "response lost");
    }
    matches!(answer, Ok(Ok(_)))
}
