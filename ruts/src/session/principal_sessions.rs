//! [`PrincipalSessions`]: lists and revokes the sessions of one principal.
//!
//! Made by `SessionIndex` and `Session::sessions`. Calls the store directly, not through `request`.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    config::Unreadable,
    field_set::FieldSet,
    map::{SessionMap, Undecrypted},
    request::{
        current::{note_ended, note_ended_by},
        operations::RequestSession,
        own_fields::{REMEMBERED, read_remembered},
    },
    value,
};
use crate::{
    auth::PrincipalKey,
    codec::CodecError,
    crypto::field_cipher::{FieldAad, FieldCipher},
    error::Error,
    event,
    field::FieldSpec,
    store::{DynStore, ListedSession, PageRequest, Projection, RevokeTarget, SessionMeta, Written},
    token::SessionId,
};

/// Number of sessions that [`revoke_if`](PrincipalSessions::revoke_if) lists at a time.
const PAGE: usize = 100;

/// The sessions of one principal, on all of its devices.
///
/// ```
/// use std::sync::Arc;
/// use ruts::{Error, session, store::memory::MemoryStore};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
///     #[field(default)]
///     device: String,
/// }
///
/// /// "Your devices".
/// async fn devices(store: &Arc<MemoryStore>, user: u64) -> Result<Vec<String>, Error> {
///     let sessions = Shop::sessions(store).by_user(&user);
///     let page = sessions.list(Shop::DEVICE, None, 50).await?;
///     page.sessions.iter().map(|session| session.fields.read(Shop::DEVICE)).collect()
/// }
///
/// /// The account was closed.
/// async fn close(store: &Arc<MemoryStore>, user: u64) -> Result<usize, Error> {
///     Shop::sessions(store).by_user(&user).revoke_all().await
/// }
/// ```
#[derive(Clone)]
pub struct PrincipalSessions {
    store: Arc<dyn DynStore>,
    cipher: FieldCipher,
    field: &'static str,
    principal: Result<PrincipalKey, CodecError>,
    /// The request that this value comes from. A task that does not run the handler may use this
    /// value to end the session of that request.
    request: Option<Arc<RequestSession>>,
}

/// A page of the live sessions of a principal.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SummaryPage {
    /// The sessions, ordered by id. If they were found by an index, they are in no particular
    /// order.
    pub sessions: Vec<SessionSummary>,
    /// The cursor of the next page. `None` on the last page.
    pub next: Option<SessionId>,
}

/// A session of a [`SummaryPage`]. It does not contain the secret or the secret hash.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionSummary {
    /// Id of the session.
    pub id: SessionId,
    /// Ages, deadlines and principal of the session.
    pub meta: SessionMeta,
    /// How long the sign-in [is remembered](super::SignIn::remember) without a visit. `None` if it
    /// is not remembered.
    pub remembered: Option<Duration>,
    /// The requested fields.
    pub fields: SessionMap,
}

impl PrincipalSessions {
    pub(super) fn of(
        store: Arc<dyn DynStore>,
        cipher: FieldCipher,
        principal: PrincipalKey,
        request: Arc<RequestSession>,
    ) -> Self {
        Self { request: Some(request), ..Self::by_field(store, cipher, "", Ok(principal)) }
    }

    /// Selects the sessions of a principal. If the value of the field cannot be a principal,
    /// `principal` is an error, and every other method returns this error.
    pub(super) fn by_field(
        store: Arc<dyn DynStore>,
        cipher: FieldCipher,
        field: &'static str,
        principal: Result<PrincipalKey, CodecError>,
    ) -> Self {
        Self { store, cipher, field, principal, request: None }
    }

    fn principal(&self) -> Result<&PrincipalKey, Error> {
        let principal = self.principal.as_ref();
        principal.map_err(|source| value::encode_error(self.field, source.clone()))
    }

    /// Lists live sessions, and reads the given fields of each. `()` reads no fields. `after` is
    /// the `next` of the previous page. `limit` is the maximum number of sessions to examine, so a
    /// page can have fewer sessions even if it is not the last page.
    ///
    /// A field marked `encrypt` needs the keys of the layer. The result of
    /// [`Session::sessions`](crate::Session::sessions) has these keys. For
    /// `Shop::sessions(&store)`, set the keys with `SessionIndex::encryption_keys`.
    ///
    /// # Round trips
    ///
    /// One round trip in memory, in SQLite, in PostgreSQL and in MySQL. In Redis, one to three for
    /// every 256 sessions in the list, and one for each session. Up to 256 of these round trips run
    /// at the same time.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. [`Error::Encode`] if the principal's value cannot be written as JSON.
    pub async fn list<K: FieldSet>(
        &self,
        fields: K,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<SummaryPage, Error> {
        let names = summary_names(&fields);
        let page = PageRequest::new(after.as_ref(), limit);
        let fields = Projection::Named(&names);
        let listed = self.store.list_by_principal(self.principal()?, page, fields).await?;
        let summary = |session| SessionSummary::new(session, &self.cipher);
        let sessions = listed.sessions.into_iter().map(summary).collect();
        Ok(SummaryPage { sessions, next: listed.next })
    }

    /// Ends one session, and returns whether it was live. A session of another principal stays.
    ///
    /// # Errors
    ///
    /// The same as for [`revoke_all`](Self::revoke_all).
    pub async fn revoke(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(self.end(RevokeTarget::One(id)).await? > 0)
    }

    /// Ends all sessions, and returns their number.
    ///
    /// When the call returns, every session whose sign-in was complete before the call has ended. A
    /// session whose sign-in overlaps with the call may end or stay.
    ///
    /// This call does not prevent later sign-ins: the application decides which principals may sign
    /// in. If an account is disabled, a request that checked the account earlier can still sign in.
    /// Check again after the sign-in, or revoke again.
    ///
    /// # Round trips
    ///
    /// - Memory: one.
    /// - SQLite and PostgreSQL: one for every 100 sessions.
    /// - MySQL: two for every 500 sessions.
    /// - Redis: two for every 256 sessions, and one for every 64 sessions.
    /// - Redis cluster: two for every 256 sessions, and one for each session.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: some sessions may have ended. Repeat the call. [`Error::StaleCache`]: all
    /// sessions have ended, but a cache may still show them. [`Error::Encode`] if the principal's
    /// value cannot be written as JSON.
    pub async fn revoke_all(&self) -> Result<usize, Error> {
        self.end(RevokeTarget::All { except: None }).await
    }

    /// Ends all sessions except one, and returns the number of ended sessions. To keep the session
    /// of a request, call [`Session::revoke_others`](crate::Session::revoke_others).
    ///
    /// # Errors
    ///
    /// The same as for [`revoke_all`](Self::revoke_all).
    pub async fn revoke_all_except(&self, id: &SessionId) -> Result<usize, Error> {
        self.end(RevokeTarget::All { except: Some(id) }).await
    }

    /// Ends the sessions for which `judge` returns true, and returns their number.
    ///
    /// For example, it can end the session that an identity provider names in a logout token
    /// (OpenID Connect Back-Channel Logout). A session that signs in during the call may be missed.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ruts::{Error, session, store::memory::MemoryStore};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(principal)]
    ///     subject: String,
    ///     provider_session: String,
    /// }
    ///
    /// /// The claims `sub` and `sid` of a verified logout token.
    /// async fn log_out(store: &Arc<MemoryStore>, sub: &str, sid: &str) -> Result<usize, Error> {
    ///     let is_meant = |session: Option<String>| session.as_deref() == Some(sid);
    ///     Shop::sessions(store).by_subject(sub).revoke_if(Shop::PROVIDER_SESSION, is_meant).await
    /// }
    /// ```
    ///
    /// # Round trips
    ///
    /// As many as [`list`](Self::list) for every hundred sessions, and as many as
    /// [`revoke`](Self::revoke) for each session that ends.
    ///
    /// # Errors
    ///
    /// The same as for [`revoke_all`](Self::revoke_all), and [`Error::Decode`]. After an error
    /// about one session, the others still end. The first such error is returned.
    pub async fn revoke_if<K: FieldSet + Copy>(
        &self,
        fields: K,
        mut judge: impl FnMut(K::Values) -> bool,
    ) -> Result<usize, Error> {
        let (mut after, mut ended, mut failed) = (None, 0, None);
        loop {
            let page = self.list(fields, after, PAGE).await?;
            for session in &page.sessions {
                let revoked = match fields.values(&session.fields).map(&mut judge) {
                    Ok(true) => self.revoke(&session.id).await,
                    is_meant => is_meant,
                };
                match revoked {
                    Ok(is_ended) => ended += usize::from(is_ended),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            after = page.next;
            if after.is_none() {
                return failed.map_or(Ok(ended), Err);
            }
        }
    }

    async fn end(&self, target: RevokeTarget<'_>) -> Result<usize, Error> {
        let ended = revoke(&*self.store, self.principal()?, target).await?;
        if let Some(request) = &self.request {
            note_ended_by(request, &ended.answer);
        }
        Ok(check_fresh(ended)?.len())
    }
}

/// Returns the names of the fields that a summary with these fields needs: sorted, and without
/// duplicates.
pub(super) fn summary_names<K: FieldSet>(fields: &K) -> Vec<&'static str> {
    let mut specs: Vec<&'static FieldSpec> = Vec::new();
    fields.specs(&mut specs);
    let mut names: Vec<&str> = specs.iter().map(|field| field.name()).collect();
    names.push(REMEMBERED);
    names.sort_unstable();
    names.dedup();
    names
}

/// Ends sessions of a principal, and returns their ids.
pub(super) async fn revoke(
    store: &dyn DynStore,
    principal: &PrincipalKey,
    target: RevokeTarget<'_>,
) -> Result<Written<Vec<SessionId>>, Error> {
    let revoked = store.revoke(principal, target).await?;
    for id in &revoked.answer {
        event::ended(id, "revoked");
    }
    note_ended(&revoked.answer);
    Ok(revoked)
}

/// Returns the answer of a write, or an error if a cache missed the write.
pub(super) fn check_fresh<T>(written: Written<T>) -> Result<T, Error> {
    match written.stale_for {
        None => Ok(written.answer),
        Some(stale_for) => Err(Error::StaleCache { stale_for }),
    }
}

impl SessionSummary {
    pub(super) fn new(ListedSession { id, loaded }: ListedSession, cipher: &FieldCipher) -> Self {
        let remembered = loaded.value(REMEMBERED).and_then(|value| read_remembered(value));
        let fields = loaded.fields.into_iter().map(|field| {
            let aad = FieldAad { id: &id, field: &field.name };
            let plaintext = cipher.decrypt(aad, &field.value);
            let failed = |source| Undecrypted::new(source, &field.value);
            (field.name, plaintext.map_err(failed))
        });
        // A list does not belong to a layer, so the default of `Unreadable` applies.
        let fields = SessionMap::new(fields, Unreadable::Error);
        Self { id, meta: loaded.meta, remembered, fields }
    }
}

/// Does not show the principal.
impl fmt::Debug for PrincipalSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrincipalSessions").field("store", &self.store.store_type().name).finish()
    }
}
