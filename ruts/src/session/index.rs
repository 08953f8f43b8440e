use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{FieldSet, Session, SessionMap, SessionName, TypedSession, WriteFuture, value};
use crate::{
    codec::CodecError,
    error::Error,
    event,
    field::{Field, FieldSpec, Mode, Principal, StoredAs},
    principal::PrincipalKey,
    sealing::{FieldAad, FieldCipher},
    store::{
        Confirmed, DynStore, IntoStore, ListedSession, PageRequest, Projection, RevokeTarget,
        SessionMeta,
    },
    token::SessionId,
};

/// The sessions in a store, by who is signed in. `#[session]` wraps it with a typed method for the field
/// marked `principal`: `Shop::sessions(&store).by_user(&id)`.
#[derive(Clone)]
pub struct SessionIndex {
    store: Arc<dyn DynStore>,
    layer: &'static str,
}

impl SessionIndex {
    /// The sessions of the layer to which `T` belongs.
    pub fn of<T: TypedSession>(store: impl IntoStore) -> Self {
        Self { store: store.into_store(), layer: <T::Layer as SessionName>::NAME }
    }

    /// The sessions in which the field has this value. No round trip yet.
    pub fn by<T, Q>(&self, field: Field<T, Principal>, value: &Q) -> PrincipalSessions
    where
        Q: StoredAs<T> + Serialize + ?Sized,
    {
        let key = Principal.principal(self.layer, field.spec(), value);
        let principal = key.and_then(|key| key.ok_or(CodecError::Principal));
        PrincipalSessions { store: Arc::clone(&self.store), field: field.spec().name(), principal }
    }

    /// Ends all sessions in the store, whoever's they are, those of other layers included. The time it
    /// takes does not depend on how many there are (OWASP ASVS 5.0, 7.4.5).
    ///
    /// # Errors
    ///
    /// [`Error::Store`], and then it should be repeated; [`Error::Unconfirmed`].
    pub fn revoke_everyone(&self) -> WriteFuture<'_> {
        WriteFuture::new(async move {
            let confirmed = self.store.revoke_everyone().await?;
            event::everybody_ended();
            confirm(confirmed)
        })
    }
}

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
    field: &'static str,
    principal: Result<PrincipalKey, CodecError>,
}

/// A page of the live sessions of a principal.
#[derive(Debug, Clone)]
pub struct SummaryPage {
    /// In the order of their ids.
    pub sessions: Vec<SessionSummary>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<SessionId>,
}

/// A session of a list. It holds neither a secret nor the hash of one.
#[derive(Debug, Clone)]
pub struct SessionSummary {
    /// Its public name.
    pub id: SessionId,
    /// Its ages and deadlines, and who is signed in.
    pub meta: SessionMeta,
    /// The fields that were asked for.
    pub fields: SessionMap,
}

impl PrincipalSessions {
    pub(super) fn of(store: Arc<dyn DynStore>, principal: PrincipalKey) -> Self {
        Self { store, field: "", principal: Ok(principal) }
    }

    fn principal(&self) -> Result<&PrincipalKey, Error> {
        (self.principal.as_ref()).map_err(|source| value::encode_error(self.field, source.clone()))
    }

    /// Lists those that are live, with these fields, `()` for none; not with those marked `encrypt`, whose
    /// keys the layer has. A page looks at `limit` sessions at
    /// most, and begins behind `after`.
    ///
    /// One round trip in memory and in PostgreSQL. In Redis, one for the list and one for each session,
    /// all of these at the same time.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Encode`] if the principal's value cannot be written as JSON.
    pub async fn list<K: FieldSet>(
        &self,
        fields: K,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<SummaryPage, Error> {
        let mut specs: Vec<&FieldSpec> = Vec::new();
        fields.specs(&mut specs);
        let mut names: Vec<&str> = specs.iter().map(|field| field.name()).collect();
        names.sort_unstable();
        names.dedup();
        let page = PageRequest { after: after.as_ref(), limit };
        let listing = self
            .store
            .list_by_principal(self.principal()?, page, Projection::Named(&names))
            .await?;
        let sessions = listing.sessions.into_iter().map(SessionSummary::from).collect();
        Ok(SummaryPage { sessions, next: listing.next })
    }

    /// Ends one of them, and says whether it was there. A session of somebody else is left alone.
    ///
    /// # Errors
    ///
    /// As [`revoke_all`](Self::revoke_all).
    pub async fn revoke(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(self.end(RevokeTarget::One(id)).await? > 0)
    }

    /// Ends all of them, and says how many. Once this has returned, none of those that had signed in
    /// when it began opens anything, and of those that were signing in, each began after it or is ended
    /// too.
    ///
    /// Whoever may sign in is for the application to decide: after disabling an account, a request that
    /// had checked it before can still sign in. Check it once more behind the sign-in, or revoke again.
    ///
    /// One round trip in memory and in PostgreSQL. In Redis, two, and one for each session.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], and then some may have been ended: it should be repeated.
    /// [`Error::Unconfirmed`]: they are ended, but a cache does not know. [`Error::Encode`] if the
    /// principal's value cannot be written as JSON.
    pub async fn revoke_all(&self) -> Result<usize, Error> {
        self.end(RevokeTarget::All { except: None }).await
    }

    /// Ends all of them but this one, and says how many: after a password was changed (OWASP ASVS 5.0,
    /// 7.4.3). One round trip more if the session was not used before in this request.
    ///
    /// # Errors
    ///
    /// As [`revoke_all`](Self::revoke_all).
    pub async fn revoke_others(&self, own: &Session) -> Result<usize, Error> {
        let own = own.open().await?;
        self.end(RevokeTarget::All { except: own.as_ref() }).await
    }

    /// Ends those of them of whose fields `judge` says so, and returns how many: with the session that an
    /// identity provider names in a logout token (OpenID Connect Back-Channel Logout), say. A session that
    /// signs in meanwhile may not be looked at. Round trips as [`list`](Self::list) for each hundred, and as
    /// [`revoke`](Self::revoke) for each that is ended.
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
    /// /// The claims `sub` and `sid` of a logout token that was verified.
    /// async fn back_channel(store: &Arc<MemoryStore>, sub: &str, sid: &str) -> Result<usize, Error> {
    ///     let sessions = Shop::sessions(store).by_subject(sub);
    ///     sessions.revoke_if(Shop::PROVIDER_SESSION, |session| session.as_deref() == Some(sid)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`revoke_all`](Self::revoke_all); [`Error::Decode`].
    pub async fn revoke_if<K: FieldSet + Copy>(
        &self,
        fields: K,
        mut judge: impl FnMut(K::Values) -> bool,
    ) -> Result<usize, Error> {
        let (mut after, mut ended) = (None, 0);
        loop {
            let page = self.list(fields, after, 100).await?;
            for session in &page.sessions {
                if judge(fields.values(&session.fields)?) {
                    ended += usize::from(self.revoke(&session.id).await?);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(ended);
            }
        }
    }

    async fn end(&self, target: RevokeTarget<'_>) -> Result<usize, Error> {
        let revoked = self.store.revoke(self.principal()?, target).await?;
        for id in &revoked.ids {
            event::ended(id, "revoked");
        }
        confirm(revoked.confirmed)?;
        Ok(revoked.ids.len())
    }
}

fn confirm(confirmed: Confirmed) -> Result<(), Error> {
    match confirmed {
        Confirmed::Yes => Ok(()),
        Confirmed::Within(within) => Err(Error::Unconfirmed { within }),
    }
}

impl From<ListedSession> for SessionSummary {
    fn from(ListedSession { id, loaded }: ListedSession) -> Self {
        let fields = loaded.fields.into_iter().map(|field| {
            let place = FieldAad { id: &id, field: &field.name };
            let opened = FieldCipher::default().open(place, &field.value);
            (field.name, opened)
        });
        let fields = SessionMap::new(fields);
        Self { id, meta: loaded.meta, fields }
    }
}

impl fmt::Debug for SessionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionIndex").field("store", &self.store.store_type().name).finish()
    }
}

/// Does not say whose they are.
impl fmt::Debug for PrincipalSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrincipalSessions").field("store", &self.store.store_type().name).finish()
    }
}
