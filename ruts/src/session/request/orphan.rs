//! [`Orphan`]: deletes a session whose creation was broken off.
//!
//! Used by `transfer`. Knows one token, and nothing of the request.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::operation::{Delete, Operation};
use crate::{
    event,
    store::{Credentials, DynStore},
    token::{SecretHash, SessionId},
};

/// Time after which a store has carried out a call whose caller has given up.
const CARRIED_OUT: Duration = Duration::from_secs(1);

/// A session that the store may create without the request ever knowing it.
///
/// No client gets its token, but it would take up a place under the limit of sessions, and stand in the list of
/// devices. So it is deleted if this value is dropped before [`adopt`](Self::adopt).
pub(super) struct Orphan {
    session: Option<(Arc<dyn DynStore>, SessionId, SecretHash)>,
}

impl Orphan {
    pub(super) fn new(store: &Arc<dyn DynStore>, id: SessionId, secret: SecretHash) -> Self {
        Self { session: Some((Arc::clone(store), id, secret)) }
    }

    /// Notes that the outcome of the creation is known.
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
    let is_deleted = async || {
        let delete = Delete { tried_before: false };
        matches!(delete.run(store, Credentials::new(id, secret)).await, Ok(Ok(_)))
    };
    if !is_deleted().await {
        sleep(CARRIED_OUT).await;
        if !is_deleted().await {
            return;
        }
    }
    event::ended(id, "response lost");
}
