//! [`SessionIndex`]: the sessions in a store, by principal. Needs no request.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{
    future::WriteFuture,
    layer_name::SessionName,
    principal_sessions::{PrincipalSessions, check_fresh},
    request::current::note_ended,
    typed::TypedSession,
};
use crate::{
    codec::CodecError,
    event,
    field::{Field, Principal, StoredAs},
    store::{DynStore, IntoStore},
};

/// The sessions in a store, by principal.
///
/// `#[session]` wraps it with a typed method for the field marked `principal`:
/// `Shop::sessions(&store).by_user(&id)`.
#[derive(Clone)]
pub struct SessionIndex {
    store: Arc<dyn DynStore>,
    layer: &'static str,
}

impl SessionIndex {
    /// Returns the sessions of the layer to which `T` belongs.
    pub fn of<T: TypedSession>(store: impl IntoStore) -> Self {
        Self { store: store.into_store(), layer: <T::Layer as SessionName>::NAME }
    }

    /// Returns the sessions in which the field has this value. No round trip yet.
    pub fn by<T, Q>(&self, field: Field<T, Principal>, value: &Q) -> PrincipalSessions
    where
        Q: StoredAs<T> + Serialize + ?Sized,
    {
        let key = field.principal_key(self.layer, value);
        let principal = key.and_then(|key| key.ok_or(CodecError::Principal));
        PrincipalSessions::by_field(Arc::clone(&self.store), field.spec().name(), principal)
    }

    /// Ends all sessions in the store, of all principals, guests and layers (OWASP ASVS 5.0,
    /// 7.4.5).
    ///
    /// # Round trips
    ///
    /// A constant number, however many sessions there are. It depends on the store.
    ///
    /// # Errors
    ///
    /// [`Error::Store`](crate::Error::Store): repeat the call.
    /// [`Error::StaleCache`](crate::Error::StaleCache): the sessions have ended, and a
    /// cache may still show them.
    pub fn revoke_everyone(&self) -> WriteFuture<'_> {
        WriteFuture::new(async move {
            let revoked = self.store.revoke_everyone().await?;
            event::all_ended();
            note_ended(None);
            check_fresh(revoked)
        })
    }
}

impl fmt::Debug for SessionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionIndex").field("store", &self.store.store_type().name).finish()
    }
}
