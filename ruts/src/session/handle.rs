use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use http::Extensions;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ClientFingerprint, CookieAction, Edit, Entry, FieldSet, LoadFuture, PrincipalSessions,
    ResponseClosed, SessionContext, SessionMap, Unnamed, Values, apply::Writing, shared::Shared,
    value,
};
use crate::{
    error::Error,
    field::{Field, FieldSpec, Mode, is_field_name},
    name::FieldName,
    principal::Assurance,
    schema::SessionSchema,
    store::{Change, FieldWrite, SessionMeta, SignedIn, StoreType},
    token::{SessionId, Token},
    ttl::{CachePolicy, Ttl},
};

/// Any store: the default parameter of [`Session`].
#[derive(Debug)]
pub enum AnyStore {}

/// The session of a request, without a schema: fields by name, and the session as a whole.
///
/// Clones and repeated extractions share one session. `Session` works with every store;
/// `Session<S>` is refused, with a message that names both, by a layer with another store than `S`.
///
/// A request whose session is never used costs no store call. The operations of one request run
/// one after the other, so a future that was polled once and is then held without being polled or
/// dropped holds up the others of its request.
///
/// ```
/// use ruts::Session;
///
/// async fn count(session: Session) -> Result<String, ruts::Error> {
///     let count: u32 = session.get("count").await?.unwrap_or(0) + 1;
///     session.set("count", &count, None, None).await?;
///     Ok(format!("{count} visits"))
/// }
/// ```
pub struct Session<S = AnyStore> {
    shared: Arc<Shared>,
    store: PhantomData<fn() -> S>,
}

impl Session {
    pub(crate) fn start(
        context: Arc<SessionContext>,
        presented: bool,
        tokens: (Option<Token>, Option<Token>),
        client: Option<ClientFingerprint>,
        closed: Option<ResponseClosed>,
    ) -> Self {
        let shared = Arc::new(Shared::new(context, presented, tokens, client, closed));
        Self { shared, store: PhantomData }
    }
}

impl<S: 'static> Session<S> {
    /// The session that the layer put into a request.
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`], [`Error::WrongStore`].
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Error> {
        let session = Session::<AnyStore>::from_extensions_of::<Unnamed>(extensions)?;
        let (found, expected) = (session.shared.store().store_type(), StoreType::of::<S>());
        if expected.id != found.id && expected.id != StoreType::of::<AnyStore>().id {
            return Err(Error::WrongStore { expected: expected.name, found: found.name });
        }
        Ok(Self { shared: session.shared, store: PhantomData })
    }
}

impl<S> Session<S> {
    /// The public name of the session, once a store call of this request has confirmed it:
    /// [`open`](Self::open) does so. `None` without a session. No round trip.
    pub fn id(&self) -> Option<SessionId> {
        self.shared.id()
    }

    /// How many calls this request has made to its store so far, for tests and pages that developers look at.
    /// No round trip.
    pub fn store_calls(&self) -> u32 {
        self.shared.calls()
    }

    /// Confirms the session with the store and returns its public name; `None` without a session.
    /// One round trip, none if it was used before in this request.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn open(&self) -> Result<Option<SessionId>, Error> {
        self.shared.open().await
    }

    /// The value of a field. One round trip, none if this request read or wrote it before.
    ///
    /// Fields with a declared `version` above 1 are not seen from here.
    ///
    /// # Errors
    ///
    /// [`Error::FieldName`], [`Error::Store`], [`Error::Decode`].
    pub async fn get<T: DeserializeOwned>(&self, field: &str) -> Result<Option<T>, Error> {
        check_name(field)?;
        let stored = self.shared.get(field, None).await?;
        value::decode_named(field, stored.as_ref())
    }

    /// All fields, undecoded; `None` without a session. One round trip.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn get_all(&self) -> Result<Option<SessionMap>, Error> {
        self.shared.get_all().await
    }

    /// The values of typed keys. One round trip for those that this request does not know yet.
    ///
    /// ```
    /// # use ruts::{session, Error};
    /// #[session]
    /// struct Shop {
    ///     user: u64,
    ///     #[field(default)]
    ///     cart: Vec<String>,
    /// }
    ///
    /// async fn handler(shop: Shop) -> Result<(), Error> {
    ///     let (user, cart) = shop.session().read((Shop::USER, Shop::CART)).await?;
    /// #   let _: (Option<u64>, Vec<String>) = (user, cart);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Decode`].
    pub async fn read<K: FieldSet>(&self, keys: K) -> Result<K::Values, Error> {
        let mut specs = Vec::with_capacity(8);
        keys.specs(&mut specs);
        keys.values(&self.map(&specs).await?)
    }

    /// Writes a field; without a session, starts one. One round trip, two with a cookie that the
    /// store does not know.
    ///
    /// `ttl` and `hot_ttl` are in seconds: how long the value lives (without one, as long as the
    /// session), and how long at most in the cache tier of a layered store.
    ///
    /// # Errors
    ///
    /// [`Error::FieldName`], [`Error::Ttl`], [`Error::Encode`], [`Error::Store`],
    /// [`Error::Unconfirmed`]; [`Error::Ended`] if another request ended the session; [`Error::ResponseSent`] if a session
    /// would have to start or rotate after the response.
    pub async fn set<T: Serialize + ?Sized + Sync>(
        &self,
        field: &str,
        value: &T,
        ttl: Option<u64>,
        hot_ttl: Option<u64>,
    ) -> Result<(), Error> {
        check_name(field)?;
        let value = value::encode_named(field, self.shared.config().codec, 1, value)?;
        let ttl = ttl.map(seconds).transpose()?;
        let hot = hot_ttl.map(seconds).transpose()?.map_or(CachePolicy::Auto, CachePolicy::For);
        let put = FieldWrite { name: field, value: &value, ttl, hot };
        self.shared.write(&[Change::Set(put)], Writing::default()).await.map(drop)
    }

    /// Removes a field and says whether it was there. One round trip.
    ///
    /// # Errors
    ///
    /// [`Error::FieldName`], [`Error::Store`], [`Error::Unconfirmed`], [`Error::Ended`].
    pub async fn remove(&self, field: &str) -> Result<bool, Error> {
        check_name(field)?;
        Ok(self.shared.write(&[Change::Remove(field)], Writing::default()).await? > 0)
    }

    /// Ends the session, in the store and on the client. One round trip.
    ///
    /// Once this has returned, no request sees the session any more; those under way that write to
    /// it get [`Error::Ended`]. A write of this request after it starts a new session. Signing out
    /// what is signed out already is no error.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: if it [is unknown](Error::is_unknown) whether the session was deleted, the
    /// cookie is removed all the same. [`Error::Unconfirmed`]: it is deleted, and the cookie removed, but
    /// a cache does not know. [`Error::Ended`] if another request took the session over.
    pub async fn delete(&self) -> Result<(), Error> {
        self.shared.delete().await
    }

    /// Replaces the session's secret: the old cookie is refused from now on, and the response
    /// carries the new one. One round trip, none without a session.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], after which the next write tries it again; [`Error::Unconfirmed`], after which
    /// the new secret counts; [`Error::Ended`], [`Error::ResponseSent`], [`Error::Random`].
    pub async fn regenerate(&self) -> Result<(), Error> {
        self.shared.rotate().await
    }

    /// Has the next write replace the secret in the same round trip. Returns the name that the
    /// session keeps, if it is known yet: unlike the secret, it does not change.
    pub fn prepare_regenerate(&self) -> Option<SessionId> {
        self.shared.prepare_rotation();
        self.shared.id()
    }

    /// Has the session end `seconds` from now, sooner or later than it would have, but never later
    /// than the layer's absolute timeout after it began. One round trip, none without a session.
    ///
    /// # Errors
    ///
    /// [`Error::Ttl`] for zero seconds, [`Error::Store`], [`Error::Unconfirmed`], [`Error::Ended`].
    pub async fn expire(&self, seconds: u64) -> Result<(), Error> {
        self.shared.end_after(self::seconds(seconds)?).await
    }

    /// Forgets what this request has read, so that the next read asks the store. For requests that
    /// last, such as event streams.
    pub async fn refresh(&self) {
        self.shared.refresh().await;
    }

    /// From here on, reads of this request do not keep the session alive: for what asks by itself, such
    /// as a page that polls. Writes still do.
    ///
    /// ```
    /// use ruts::{Error, Session};
    ///
    /// /// How many seconds are left, for a page that warns before the end.
    /// async fn left(session: Session) -> Result<String, Error> {
    ///     session.passive();
    ///     let idle = session.deadlines().await?.and_then(|meta| meta.idle);
    ///     Ok(idle.map_or_else(String::new, |idle| idle.as_secs().to_string()))
    /// }
    /// ```
    pub fn passive(&self) {
        self.shared.be_passive();
    }

    /// The session's ages and what is left until its deadlines, by the clock of the store; `None`
    /// without a session. Asking does not keep the session alive (NIST SP 800-63B-4, 5.2). One round
    /// trip each time.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn deadlines(&self) -> Result<Option<SessionMeta>, Error> {
        self.shared.meta().await
    }

    /// Who is signed in, how sure one was of that and how long ago, as the last store call of this
    /// request saw it; `None` if nobody is. One round trip if there was none before.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn signed_in(&self) -> Result<Option<SignedIn>, Error> {
        Ok(self.shared.known_meta().await?.and_then(|meta| meta.signed_in))
    }

    /// Whoever is signed in, if one was at least that sure of it, and no longer ago than `within`. For what
    /// needs a fresh authentication or a second factor (OWASP ASVS 5.0, 7.5.1 and 7.5.3); an axum handler
    /// says it with [`Fresh`](crate::Fresh) and [`Aal`](crate::Aal). Round trips as
    /// [`signed_in`](Self::signed_in).
    ///
    /// # Errors
    ///
    /// [`Error::SignInRequired`] if nobody is signed in, [`Error::StepUpRequired`] if not well enough;
    /// [`Error::Store`].
    pub async fn require(
        &self,
        assurance: Assurance,
        within: Option<Duration>,
    ) -> Result<SignedIn, Error> {
        let signed_in = self.signed_in().await?.ok_or(Error::SignInRequired)?;
        let is_late = within.is_some_and(|within| signed_in.ago > within);
        if signed_in.assurance < assurance || is_late {
            return Err(Error::StepUpRequired { assurance, within });
        }
        Ok(signed_in)
    }

    /// Where somebody who has to sign in is sent.
    #[cfg(feature = "axum")]
    pub(crate) fn sign_in_page(&self) -> Option<&http::HeaderValue> {
        self.shared.config().sign_in_page.as_ref()
    }

    /// The sessions of whoever is signed in here, this one among them; `None` if nobody is. One round
    /// trip, none if the session was read before in this request.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn sessions(&self) -> Result<Option<PrincipalSessions>, Error> {
        let signed_in = self.signed_in().await?;
        let store = || Arc::clone(self.shared.store());
        Ok(signed_in.map(|signed_in| PrincipalSessions::of(store(), signed_in.principal)))
    }

    async fn map(&self, specs: &[&'static FieldSpec]) -> Result<SessionMap, Error> {
        let stored = self.shared.get_many(specs).await?;
        let fields = specs.iter().zip(stored);
        let named =
            fields.filter_map(|(spec, value)| Some((FieldName::from_static(spec.name()), value?)));
        Ok(SessionMap::new(named))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn seal(&self) -> CookieAction {
        let cookie = self.shared.seal();
        if !self.shared.is_in_doubt() {
            return cookie;
        }
        self.abandon(cookie);
        CookieAction::Keep
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.shared.has_ended()
    }

    /// Ends the session of a secret that was to be handed out, since there is nobody to get it.
    pub(crate) fn abandon(&self, cookie: CookieAction) {
        let (CookieAction::Set(token), false) = (cookie, self.shared.is_renewed()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { shared.end_unknown(&token).await });
        }
    }

    /// The entry of a key that was made by hand.
    ///
    /// ```
    /// use ruts::{Error, Field, FieldSpec, Session};
    ///
    /// const THEME: Field<String> = Field::new(&const { FieldSpec::new("theme") });
    ///
    /// async fn dark(session: Session) -> Result<(), Error> {
    ///     session.entry(THEME).set("dark").await
    /// }
    /// ```
    pub fn entry<T, M: Mode>(&self, field: Field<T, M>) -> Entry<'_, T, M> {
        Entry::new(&self.shared, None, field)
    }

    /// Several changes as one atomic write.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(&self.shared)
    }

    /// The entry of a field that is read together with its schema.
    pub(crate) fn entry_of<T, M: Mode>(
        &self,
        schema: &'static SessionSchema,
        field: Field<T, M>,
    ) -> Entry<'_, T, M> {
        Entry::new(&self.shared, Some(schema), field)
    }

    /// All readable fields of a schema.
    pub(crate) fn load<V: Values>(&self, schema: &'static SessionSchema) -> LoadFuture<'_, V> {
        LoadFuture::new(async move {
            let fields = schema.fields().iter().filter(|field| !field.is_once());
            self.map(&fields.collect::<Vec<_>>()).await
        })
    }
}

fn check_name(field: &str) -> Result<(), Error> {
    if is_field_name(field) { Ok(()) } else { Err(Error::FieldName(field.to_owned())) }
}

fn seconds(seconds: u64) -> Result<Ttl, Error> {
    Ok(Ttl::new(Duration::from_secs(seconds))?)
}

impl<S> Clone for Session<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), store: PhantomData }
    }
}

impl<S> fmt::Debug for Session<S> {
    /// Shows the public name only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.id()).finish()
    }
}
