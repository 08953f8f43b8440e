//! [`SessionIndex`]: finds, lists and revokes sessions outside a request.
//!
//! Used by jobs and administration pages. Calls the store directly. Knows nothing about cookies.

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    config::{LayerIdentity, SessionConfig, SessionContext, Unreadable},
    future::WriteFuture,
    handle::Session,
    indexed_sessions::IndexedSessions,
    layer_name::LayerName,
    principal_sessions::{PrincipalSessions, check_fresh},
    request::current::{current_sessions, note_ended},
    typed::TypedSession,
};
use crate::{
    codec::{Codec, CodecError},
    crypto::field_cipher::FieldCipher,
    event,
    field::{Field, Mode, Principal, StoredAs},
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

    /// Makes the reads and writes by jobs count as activity, so that they move the idle deadline as
    /// requests do. `timeout` is the idle timeout of the
    /// [layer](crate::SessionLayer::idle_timeout).
    ///
    /// Call this method if the jobs work for a user who is present, as for the frames of a
    /// WebSocket. A job without a user would keep a forgotten session alive.
    ///
    /// # Panics
    ///
    /// Panics if `timeout` is zero or above 100 years.
    #[must_use]
    #[track_caller]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = Some(Ttl::from_duration(timeout));
        self
    }

    /// Sets the keys for fields marked `encrypt`: the same keys as for the
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
    /// Its accessors work as in a handler, and cache a field that was read. To read the field from
    /// the store again, get the session again. If no live session has the id, reads and writes of
    /// fields fail with [`Error::Ended`](crate::Error::Ended), and no session is created. Reads and
    /// writes do not count as activity, unless [`idle_timeout`](Self::idle_timeout) was called.
    ///
    /// A job has no client that could receive a token. So these operations fail with
    /// [`Error::NoRequest`](crate::Error::NoRequest):
    ///
    /// - a sign-in or sign-out,
    /// - a rotation,
    /// - a write of a field marked `rotate` or `index`,
    /// - a move of the absolute deadline,
    /// - a deletion: to end a session, [revoke](PrincipalSessions::revoke) it.
    ///
    /// The id stands for the session, not for its user. If a different user signs in to the session
    /// before the job runs, the job reads and writes the session of the new user. So a job that
    /// concerns a user compares the principal field before each write, as `examples/jobs` in the
    /// repository does.
    ///
    /// # Security
    ///
    /// The id alone grants access here. Never take it from a request: an id proves nothing. Use the
    /// id of the handler's own session, or one from a list.
    ///
    /// # Round trips
    ///
    /// This call takes no round trip. Reads and writes take as many as in a handler.
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
    /// /// A job from a queue: runs long after the request in which the user has ordered.
    /// async fn invoice_is_ready(
    ///     store: Arc<MemoryStore>,
    ///     id: SessionId,
    ///     user: u64,
    /// ) -> Result<(), Error> {
    ///     let shop = Shop::sessions(&store).get(&id);
    ///     if shop.user().await.is_ok_and(|now| now != Some(user)) {
    ///         return Ok(());
    ///     }
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
        let context = SessionContext {
            store,
            config,
            layer,
            settings: String::new(),
            cookie: None,
            reads_header: false,
        };
        let session = Session::internal(Arc::new(context), *id);
        // Never fails, because the layer of a job has only this schema.
        let _ = session.register(self.layer, T::SCHEMA, T::SHAPES);
        T::wrap(session)
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

    /// Returns the sessions whose field has this value. The field is marked `index`. No round trip.
    pub fn by_index<T, M: Mode, Q>(&self, field: Field<T, M>, value: &Q) -> IndexedSessions
    where
        Q: StoredAs<T> + Serialize + ?Sized,
    {
        let key = match field.spec().is_index() {
            true => field.index_key(self.layer, value),
            false => Err(CodecError::NotIndexed),
        };
        let (store, cipher) = (Arc::clone(&self.store), self.cipher.clone());
        IndexedSessions::new(store, cipher, self.layer, field.spec(), key)
    }

    /// Ends all sessions in the store, of all principals, guests and layers (OWASP ASVS 5.0,
    /// 7.4.5).
    ///
    /// # Round trips
    ///
    /// The number depends on the store, but not on the number of sessions.
    ///
    /// # Errors
    ///
    /// [`Error::Store`](crate::Error::Store): repeat the call.
    /// [`Error::StaleCache`](crate::Error::StaleCache): the sessions have ended, but a cache may
    /// still show them.
    pub fn revoke_everyone(&self) -> WriteFuture<'_> {
        WriteFuture::new(async move {
            // A request of a different layer may have its session in a different store, where it
            // stays live.
            let mut own = Vec::new();
            for id in current_sessions() {
                if matches!(self.store.inspect(&id).await, Ok(Some(_))) {
                    own.push(id);
                }
            }
            let revoked = self.store.revoke_everyone().await?;
            event::all_ended();
            note_ended(&own);
            check_fresh(revoked)
        })
    }
}

impl fmt::Debug for SessionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionIndex").field("store", &self.store.store_type().name).finish()
    }
}
