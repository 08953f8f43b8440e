use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{Keys, Session, SessionMap, SessionName, TypedSession, Write, value};
use crate::{
    codec::CodecError,
    error::Error,
    event,
    field::{Field, FieldSpec, Mode, Principal, StoredAs},
    principal::PrincipalKey,
    sealing::{Place, Sealer},
    store::{Confirmed, ErasedStore, Fields, IntoStore, Listed, Meta, Page, Whom},
    token::Handle,
};

/// The sessions in a store, by who is signed in. `#[session]` wraps it with a typed method for the field
/// marked `principal`: `Shop::sessions(&store).by_user(&id)`.
#[derive(Clone)]
pub struct SessionIndex {
    store: Arc<dyn ErasedStore>,
    layer: &'static str,
}

impl SessionIndex {
    /// The sessions of the layer to which `T` belongs.
    pub fn of<T: TypedSession>(store: impl IntoStore) -> Self {
        Self { store: store.into_store(), layer: <T::Layer as SessionName>::NAME }
    }

    /// The sessions in which the field has this value. No round trip yet.
    pub fn by<T, Q>(&self, field: Field<T, Principal>, value: &Q) -> Sessions
    where
        Q: StoredAs<T> + Serialize + ?Sized,
    {
        let key = Principal.principal(self.layer, field.spec(), value);
        let principal = key.and_then(|key| key.ok_or(CodecError::Principal));
        Sessions { store: Arc::clone(&self.store), field: field.spec().name(), principal }
    }

    /// Ends all sessions in the store, whoever's they are, those of other layers included. The time it
    /// takes does not depend on how many there are (OWASP ASVS 5.0, 7.4.5).
    ///
    /// # Errors
    ///
    /// [`Error::Store`], and then it should be repeated; [`Error::Unconfirmed`].
    pub fn revoke_everyone(&self) -> Write<'_> {
        Write::new(async move {
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
pub struct Sessions {
    store: Arc<dyn ErasedStore>,
    field: &'static str,
    principal: Result<PrincipalKey, CodecError>,
}

/// A page of the live sessions of a principal.
#[derive(Debug, Clone)]
pub struct SessionPage {
    /// In the order of their handles.
    pub sessions: Vec<SessionInfo>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<Handle>,
}

/// A session of a list. It holds neither a secret nor the hash of one.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// Its public name.
    pub handle: Handle,
    /// Its ages and deadlines, and who is signed in.
    pub meta: Meta,
    /// The fields that were asked for.
    pub fields: SessionMap,
}

impl Sessions {
    pub(super) fn of(store: Arc<dyn ErasedStore>, principal: PrincipalKey) -> Self {
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
    pub async fn list<K: Keys>(
        &self,
        fields: K,
        after: Option<Handle>,
        limit: usize,
    ) -> Result<SessionPage, Error> {
        let mut specs: Vec<&FieldSpec> = Vec::new();
        fields.specs(&mut specs);
        let mut names: Vec<&str> = specs.iter().map(|field| field.name()).collect();
        names.sort_unstable();
        names.dedup();
        let page = Page { after: after.as_ref(), limit };
        let listing = self.store.find(self.principal()?, page, Fields::Named(&names)).await?;
        let sessions = listing.sessions.into_iter().map(SessionInfo::from).collect();
        Ok(SessionPage { sessions, next: listing.next })
    }

    /// Ends one of them, and says whether it was there. A session of somebody else is left alone.
    ///
    /// # Errors
    ///
    /// As [`revoke_all`](Self::revoke_all).
    pub async fn revoke(&self, handle: &Handle) -> Result<bool, Error> {
        Ok(self.end(Whom::One(handle)).await? > 0)
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
        self.end(Whom::All { except: None }).await
    }

    /// Ends all of them but this one, and says how many: after a password was changed (OWASP ASVS 5.0,
    /// 7.4.3). One round trip more if the session was not used before in this request.
    ///
    /// # Errors
    ///
    /// As [`revoke_all`](Self::revoke_all).
    pub async fn revoke_others(&self, own: &Session) -> Result<usize, Error> {
        let own = own.open().await?;
        self.end(Whom::All { except: own.as_ref() }).await
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
    pub async fn revoke_if<K: Keys + Copy>(
        &self,
        fields: K,
        mut judge: impl FnMut(K::Values) -> bool,
    ) -> Result<usize, Error> {
        let (mut after, mut ended) = (None, 0);
        loop {
            let page = self.list(fields, after, 100).await?;
            for session in &page.sessions {
                if judge(fields.values(&session.fields)?) {
                    ended += usize::from(self.revoke(&session.handle).await?);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(ended);
            }
        }
    }

    async fn end(&self, whom: Whom<'_>) -> Result<usize, Error> {
        let revoked = self.store.revoke(self.principal()?, whom).await?;
        for handle in &revoked.handles {
            event::ended(handle, "revoked");
        }
        confirm(revoked.confirmed)?;
        Ok(revoked.handles.len())
    }
}

fn confirm(confirmed: Confirmed) -> Result<(), Error> {
    match confirmed {
        Confirmed::Yes => Ok(()),
        Confirmed::Within(within) => Err(Error::Unconfirmed { within }),
    }
}

impl From<Listed> for SessionInfo {
    fn from(Listed { handle, loaded }: Listed) -> Self {
        let fields = loaded.fields.into_iter().map(|field| {
            let place = Place { handle: &handle, field: &field.name };
            let opened = Sealer::default().open(place, &field.value);
            (field.name, opened)
        });
        let fields = SessionMap::new(fields);
        Self { handle, meta: loaded.meta, fields }
    }
}

impl fmt::Debug for SessionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionIndex").field("store", &self.store.store_type().name).finish()
    }
}

/// Does not say whose they are.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("store", &self.store.store_type().name).finish()
    }
}
