//! [`SessionIndex`]: finds, lists and revokes sessions outside a request.
//!
//! Used by jobs and administration pages. Calls the store directly, and knows no cookie.

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    config::{LayerIdentity, SessionConfig, SessionContext, Unreadable},
    future::WriteFuture,
    handle::Session,
    layer_name::LayerName,
    principal_sessions::{PrincipalSessions, check_fresh},
    request::current::note_ended,
    typed::TypedSession,
};
use crate::{
    codec::{Codec, CodecError},
    crypto::field_cipher::FieldCipher,
    event,
    field::{Field, Principal, StoredAs},
    store::{DynStore, IntoStore},
    token::SessionId,
    ttl::Ttl,
};

/// The sessions in a store, by principal or id.
///
/// `#[session]` wraps it with typed methods if a field is marked `principal`:
/// `Shop::sessions(&store).by_user(&user)` and `Shop::sessions(&store).get(&id)`.
#[derive(Clone)]
pub struct SessionIndex {
    store: Arc<dyn DynStore>,
    layer: &'static str,
    cipher: FieldCipher,
    idle: Option<Ttl>,
}

impl SessionIndex {
    /// Creates the index of the sessions of the layer to which `T` belongs.
    pub fn of<T: TypedSession>(store: impl IntoStore) -> Self {
        Self {
            store: store.into_store(),
            layer: <T::Layer as LayerName>::NAME,
            cipher: FieldCipher::default(),
            idle: None,
        }
    }

    /// Makes the reads and writes of jobs count as activity: they move the idle deadline, as
    /// requests do. `timeout` is the idle timeout of the
    /// [layer](crate::SessionLayer::idle_timeout).
    ///
    /// For work on behalf of a user who is present, such as the frames of a WebSocket. A job
    /// without a user would keep a forgotten session alive.
    ///
    /// # Panics
    ///
    /// `timeout` is zero or above 100 years.
    #[must_use]
    #[track_caller]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = Some(Ttl::from_duration(timeout));
        self
    }

    /// Sets the keys for fields marked `encrypt`: those of the
    /// [layer](crate::SessionLayer::encryption_keys). Without keys such a field cannot be read or
    /// written here.
    #[cfg(feature = "encrypt")]
    #[must_use]
    pub fn encryption_keys(mut self, keys: impl Into<crate::crypto::KeyRing>) -> Self {
        self.cipher.keys = Some(keys.into());
        self
    }

    /// Returns a session for a job of this process, without a request and without the secret of the
    /// session.
    ///
    /// Its accessors work as in a handler. Reads and writes of fields need a live session:
    /// otherwise they fail with [`Error::Ended`](crate::Error::Ended), and do not create a session.
    /// They do not count as activity, so a job keeps no session alive, unless
    /// [`idle_timeout`](Self::idle_timeout) was called. As in a handler, a field that was read is
    /// cached. To read it from the store again, get the session again.
    ///
    /// A job has no client that could receive a token. So it cannot sign in or out, replace the
    /// secret, write a field marked `rotate`, move the absolute deadline or delete the session:
    /// [`Error::NoRequest`](crate::Error::NoRequest). To end a session,
    /// [revoke](PrincipalSessions::revoke) it.
    ///
    /// # Security
    ///
    /// The id alone grants access here. Never take it from a request: an id proves nothing. Use the
    /// id of the handler's own session, or one from a list.
    ///
    /// # Round trips
    ///
    /// None for this call. Reads and writes take as many as in a handler.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ruts::{Error, session, store::memory::MemoryStore, token::SessionId};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(principal)]
    ///     user: u64,
    ///     #[field(default)]
    ///     notices: Vec<String>,
    /// }
    ///
    /// /// Runs in a queue, long after the request that ordered it.
    /// async fn invoice_is_ready(store: Arc<MemoryStore>, id: SessionId) -> Result<(), Error> {
    ///     let shop = Shop::sessions(&store).get(&id);
    ///     let notice = "Your invoice is ready.".to_owned();
    ///     match shop.notices().update(|notices| notices.push(notice.clone())).await {
    ///         // The user has signed out, or was away for too long.
    ///         Err(Error::Ended) => Ok(()),
    ///         other => other,
    ///     }
    /// }
    /// ```
    pub fn get<T: TypedSession>(&self, id: &SessionId) -> T {
        let config = SessionConfig {
            layer: self.layer,
            idle: self.idle,
            absolute: None,
            renew_every: None,
            renewal_grace: Duration::ZERO,
            cookie_life: None,
            limit: None,
            sign_in_page: None,
            codec: Codec::DEFAULT_BY_NAME,
            clients: None,
            cipher: self.cipher.clone(),
            unreadable: Unreadable::Error,
        };
        let (store, layer) = (Arc::clone(&self.store), Arc::new(LayerIdentity::new()));
        let context = SessionContext { store, config, layer };
        T::from(Session::internal(Arc::new(context), *id))
    }

    /// Returns the sessions of the principal that this value of the field names. No round trip.
    pub fn by<T, Q>(&self, field: Field<T, Principal>, value: &Q) -> PrincipalSessions
    where
        Q: StoredAs<T> + Serialize + ?Sized,
    {
        let key = field.principal_key(self.layer, value);
        let principal = key.and_then(|key| key.ok_or(CodecError::Principal));
        let (store, cipher) = (Arc::clone(&self.store), self.cipher.clone());
        PrincipalSessions::by_field(store, cipher, field.spec().name(), principal)
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
