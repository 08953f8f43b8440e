//! [`Session`]: the untyped handle to the session of a request.
//!
//! Extracted by handlers, and wrapped by every `#[session]` struct. Encodes and decodes values, and
//! calls `request`. Makes no store call itself, and writes no headers.

use std::{any::type_name, fmt, future::Future, marker::PhantomData, sync::Arc, time::Duration};

use http::Extensions;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    config::SessionContext,
    csrf,
    edit::Edit,
    entry::Entry,
    field_set::FieldSet,
    future::{Boxed, LoadFuture, Renewal},
    layer_name::{DefaultLayer, LayerName},
    map::SessionMap,
    principal_sessions::PrincipalSessions,
    request::{
        current, operations::RequestSession, response::CookieAction, shared::Incoming,
        write_plan::WritePlan,
    },
    schemas::FingerprintFn,
    token_status::TokenStatus,
    value,
    values::Values,
    watch::{self, SessionChange},
};
use crate::{
    auth::Assurance,
    cache_policy::CachePolicy,
    error::Error,
    field::{Field, FieldName, FieldSpec, Mode, SessionSchema, is_field_name, is_reserved},
    store::{Change, FieldWrite, SessionMeta, SignedIn, StoreType},
    token::SessionId,
    ttl::Ttl,
};

/// The default type parameter of [`Session`]: stands for any store.
#[derive(Debug)]
pub enum AnyStore {}

/// The session of a request, without a schema: fields by name, and the session as a whole.
///
/// Clones and repeated extractions share one session. `Session` works with every store. Extracting
/// a `Session<S>` fails if the store of the layer is not an `S`. The error names both store types.
/// As an axum extractor, `Option<Session>` is `None` if no unnamed layer wraps the handler. Inside
/// an unnamed layer it is `Some`, even for a client without a session.
///
/// A request that never uses its session makes no store call. The operations of a request run one
/// at a time. So a future blocks the other operations of its request if it was polled once, and is
/// then neither polled nor dropped.
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
    request: Arc<RequestSession>,
    store: PhantomData<fn() -> S>,
}

/// # Fields
impl<S> Session<S> {
    /// Reads a field.
    ///
    /// # Round trips
    ///
    /// One round trip, or none if this request has read or written the field.
    ///
    /// # Errors
    ///
    /// [`Error::FieldName`], [`Error::Store`], [`Error::Decode`]. [`Error::Newer`] for a value of a
    /// later version than the declared one. The declared version is 1 if no schema declares the
    /// field.
    pub async fn get<T: DeserializeOwned>(&self, field: &str) -> Result<Option<T>, Error> {
        check_name(field)?;
        let stored = self.request.get(field, None).await?;
        let version = self.request.schemas().declaration(field).map_or(1, FieldSpec::version);
        value::decode_named(field, version, stored.as_ref(), self.request.config().unreadable)
    }

    /// Writes a field. Starts a session if there is none.
    ///
    /// `ttl` is the lifetime of the value in seconds. Without `ttl`, the value lives as long as the
    /// session. A `ttl` of zero removes the field instead. `hot_ttl` is the maximum time, in
    /// seconds, that a cache may serve the value. With a `hot_ttl` of zero, the value is never in a
    /// cache.
    ///
    /// A schema that this process has used in the layer may declare the field. Its `version`,
    /// `encrypt`, `index` and `rotate` then apply. Its `ttl` and `hot` apply if the arguments are
    /// `None`. The value is written as MessagePack. If the declared type cannot read it, a read
    /// returns [`Error::Decode`]. The layer can [declare](crate::SessionLayer::schema) the schema
    /// in advance.
    ///
    /// # Round trips
    ///
    /// One round trip, or three if the store does not know the token of the request.
    ///
    /// # Errors
    ///
    /// [`Error::FieldName`], [`Error::PrincipalField`], [`Error::Ttl`], [`Error::Store`],
    /// [`Error::StaleCache`]. [`Error::Encode`], also for a declared field with `writes`.
    /// [`Error::Ended`] if another request ended the session. [`Error::ResponseSent`] if the write
    /// would have to start a session, or replace its secret, after the response.
    pub async fn set<T: Serialize + ?Sized + Sync>(
        &self,
        field: &str,
        value: &T,
        ttl: Option<u64>,
        hot_ttl: Option<u64>,
    ) -> Result<(), Error> {
        check_name(field)?;
        let policy = match hot_ttl {
            None => None,
            Some(0) => Some(CachePolicy::NoStore),
            Some(max_age) => Some(CachePolicy::MaxAge(seconds(max_age)?)),
        };
        if ttl == Some(0) {
            return self.remove(field).await.map(drop);
        }
        let declared = self.declaration_of(field)?;
        let policy = policy.or(declared.map(FieldSpec::cache_policy)).unwrap_or_default();
        let value = value::encode_named(field, declared, self.request.config().codec, value)?;
        let ttl = ttl.map(seconds).transpose()?.or(declared.and_then(FieldSpec::ttl));
        let write = FieldWrite::new(field, &value).ttl(ttl).cache_policy(policy);
        let plan = declared.map(WritePlan::of).unwrap_or_default();
        self::write(&self.request, Change::Set(write), plan).await.map(drop)
    }

    /// Removes a field, and returns whether it was present. One round trip.
    ///
    /// If a schema that this process has used in the layer declares the field, the call does the
    /// same as [`Entry::remove`]. So the removal of a principal field signs out. The layer can
    /// [declare](crate::SessionLayer::schema) the schema in advance.
    ///
    /// # Errors
    ///
    /// [`Error::FieldName`], [`Error::Store`], [`Error::StaleCache`], [`Error::Ended`].
    pub async fn remove(&self, field: &str) -> Result<bool, Error> {
        check_name(field)?;
        let plan = self.request.schemas().declaration(field).map(WritePlan::of_removal);
        Ok(write(&self.request, Change::Remove(field), plan.unwrap_or_default()).await? > 0)
    }

    /// Makes a field expire `seconds` from now, and returns whether the field was present. Zero
    /// removes the field. The session, its cookie and other fields do not change. One round trip.
    ///
    /// ```
    /// use ruts::{Error, Session};
    ///
    /// async fn keep_coupon(session: Session) -> Result<&'static str, Error> {
    ///     let was_there = session.expire_field("coupon", 60 * 60).await?;
    ///     Ok(if was_there { "yours for another hour" } else { "no coupon" })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::FieldName`], [`Error::PrincipalField`], [`Error::Ttl`] above 100 years,
    /// [`Error::Store`], [`Error::StaleCache`], [`Error::Ended`].
    pub async fn expire_field(&self, field: &str, seconds: u64) -> Result<bool, Error> {
        if seconds == 0 {
            return self.remove(field).await;
        }
        check_name(field)?;
        self.declaration_of(field)?;
        let change = Change::Expire(field, self::seconds(seconds)?);
        Ok(write(&self.request, change, WritePlan::default()).await? > 0)
    }

    /// Returns the declaration of a field that is written by name. Refuses a principal field, which
    /// only a sign-in writes.
    fn declaration_of(&self, field: &str) -> Result<Option<&'static FieldSpec>, Error> {
        match self.request.schemas().declaration(field) {
            Some(spec) if spec.is_principal() => Err(Error::PrincipalField(field.to_owned())),
            declared => Ok(declared),
        }
    }

    /// Reads all fields without decoding their values. `None` without a session. One round trip, or
    /// none if this request knows all fields.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn get_all(&self) -> Result<Option<SessionMap>, Error> {
        self.request.get_all().await
    }

    /// Reads the values of typed keys. One round trip for all fields that this request does not
    /// know yet, or none if it knows all of them.
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
        keys.values(&map(&self.request, specs).await?)
    }

    /// Returns the entry of a typed key, such as a key that was made by hand.
    ///
    /// ```
    /// use ruts::{Error, Session, field::{Field, FieldSpec}};
    ///
    /// const THEME: Field<String> = Field::new(&const { FieldSpec::new("theme") });
    ///
    /// async fn dark(session: Session) -> Result<(), Error> {
    ///     session.entry(THEME).set("dark").await
    /// }
    /// ```
    pub fn entry<T, M: Mode>(&self, field: Field<T, M>) -> Entry<'_, T, M> {
        Entry::new(&self.request, None, field)
    }

    /// Returns an edit, which collects several changes and writes them together.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(&self.request)
    }

    /// Forgets the fields that this request has read, so that the next read asks the store. Call
    /// this method in long-lived requests, such as event streams.
    ///
    /// A request presents the secret with which it came, unless it has replaced the secret itself.
    /// If later requests replace the secret by [renewals](crate::SessionLayer::renew_every), this
    /// request finds no session after the grace period. So a stream that may last longer gets the
    /// session as a [job](crate::session::SessionIndex::get), by its [id](Self::id). It calls
    /// [`watch`](Self::watch) to end when the session ends.
    pub async fn refresh(&self) {
        self.request.refresh().await;
    }

    /// Returns the entry of a field that is read together with its schema.
    pub(crate) fn entry_of<T, M: Mode>(
        &self,
        schema: &'static SessionSchema,
        field: Field<T, M>,
    ) -> Entry<'_, T, M> {
        Entry::new(&self.request, Some(schema), field)
    }

    /// Reads all readable fields of a schema.
    pub(crate) fn load<V: Values>(&self, schema: &'static SessionSchema) -> LoadFuture<'_, V> {
        LoadFuture::new(load(&self.request, schema))
    }
}

/// # Life of the session
impl<S> Session<S> {
    /// Returns the id of the session after a store call by this request, such as
    /// [`verify`](Self::verify), has confirmed it. `None` before that, and without a session. No
    /// round trip.
    pub fn id(&self) -> Option<SessionId> {
        self.request.id()
    }

    /// Confirms the session with the store, and returns its id. `None` without a session. One round
    /// trip, or none if this request has used the session before.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn verify(&self) -> Result<Option<SessionId>, Error> {
        self.request.verify().await
    }

    /// Returns the state of the session to which the token of this request belongs: live or, if
    /// known, the reason why it is not live.
    ///
    /// # Round trips
    ///
    /// One round trip, or none if this request has used the session before. Up to two more if the
    /// store does not know the token.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn token_status(&self) -> Result<TokenStatus, Error> {
        self.request.token_status().await
    }

    /// Ends the session, in the store and on the client. One round trip.
    ///
    /// When the call returns, no request can see the session. A concurrent write to the session
    /// fails with [`Error::Ended`]. A later write by this request starts a new session.
    ///
    /// The call also succeeds if the session was deleted or revoked before. But if another request
    /// ended the session, a later write by this request may fail with [`Error::Ended`].
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: if the outcome [is unknown](Error::is_outcome_unknown), the cookie is
    /// removed anyway. [`Error::StaleCache`]: the session has ended and the cookie is removed, but
    /// a cache may still show the session. [`Error::Ended`] if another request has replaced the
    /// secret, or the session has expired during this request.
    pub async fn delete(&self) -> Result<(), Error> {
        self.request.delete().await
    }

    /// Rotates the secret: replaces it immediately. The old cookie is refused from now on, and the
    /// response carries the new cookie. One round trip, or none without a session. A remembered
    /// session takes one more if this request has not read it yet.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: the next write tries the rotation again. [`Error::StaleCache`]: the new
    /// secret is valid, but a cache may still accept the old one. [`Error::Ended`],
    /// [`Error::ResponseSent`], [`Error::Random`].
    pub async fn regenerate(&self) -> Result<(), Error> {
        self.request.rotate().await
    }

    /// Makes the next write replace the secret, in the same round trip. Returns the id of the
    /// session, if it is known yet. The id does not change.
    pub fn prepare_regenerate(&self) -> Option<SessionId> {
        self.request.prepare_rotation();
        self.request.id()
    }

    /// Moves the absolute deadline of the session to `seconds` from now, earlier or later than
    /// before. Zero ends the session now, as [`delete`](Self::delete) does. This method cannot move
    /// the deadline beyond the absolute timeout of the layer. One round trip, or none without a
    /// session.
    ///
    /// # Errors
    ///
    /// [`Error::LifetimeBound`] above the absolute timeout of the layer, [`Error::Ttl`] above 100
    /// years, [`Error::Store`], [`Error::StaleCache`], [`Error::Ended`].
    pub async fn expire(&self, seconds: u64) -> Result<(), Error> {
        match seconds {
            0 => self.delete().await,
            seconds => self.request.end_after(self::seconds(seconds)?).await,
        }
    }

    /// Returns the maximum number of seconds for which the client keeps a cookie. A
    /// [remembered](crate::session::SignIn::remember) sign-in or
    /// [`CookieOptions::max_age`](crate::CookieOptions::max_age) sets this number. `None` if the
    /// cookie ends with the browser. No round trip.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`].
    pub async fn cookie_max_age(&self) -> Result<Option<u64>, Error> {
        Ok(self.request.cookie_life().await?.map(|life| life.as_secs()))
    }

    /// Stops reads by this request from counting as activity. Writes still count. Call this method
    /// in requests that a page makes by itself, such as polling.
    ///
    /// ```
    /// use ruts::{Error, Session};
    ///
    /// /// The seconds that are left, for a page that warns before the end.
    /// async fn left(session: Session) -> Result<String, Error> {
    ///     session.set_passive();
    ///     let idle = session.metadata().await?.and_then(|meta| meta.idle_remaining);
    ///     Ok(idle.map_or_else(String::new, |idle| idle.as_secs().to_string()))
    /// }
    /// ```
    ///
    /// A guard reads the session before the handler runs. So for a route with a guard, call this
    /// method in a middleware around the guard. If a read has counted already, an event at `WARN`
    /// says so.
    ///
    /// ```
    /// use axum::{Router, extract::Request, middleware, response::Response, routing::get};
    /// use ruts::{Session, SessionLayer, guard::Aal, session, store::memory::MemoryStore};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(principal)]
    ///     user: u64,
    /// }
    ///
    /// async fn passive(session: Session, request: Request, next: middleware::Next) -> Response {
    ///     session.set_passive();
    ///     next.run(request).await
    /// }
    ///
    /// async fn news(_: Aal<Shop, 1>) -> &'static str {
    ///     "no news"
    /// }
    ///
    /// let app: Router = Router::new()
    ///     .route("/news", get(news).layer(middleware::from_fn(passive)))
    ///     .layer(SessionLayer::new(MemoryStore::new()));
    /// # drop(app);
    /// ```
    pub fn set_passive(&self) {
        self.request.set_passive();
    }

    /// Returns the ages of the session and the time left until its deadlines, by the clock of the
    /// store. `None` without a session. The call does not count as activity (NIST SP 800-63B-4,
    /// 5.2). One round trip each time.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn metadata(&self) -> Result<Option<SessionMeta>, Error> {
        self.request.meta().await
    }

    /// Returns a future that waits until the session ends or its principal changes. Use it in event
    /// streams and WebSockets, which have to end with the session (OWASP ASVS 5.0, 4.4.3). Without
    /// a session, the future is ready immediately.
    ///
    /// Watching does not count as activity, and continues after a rotation. A change in the same
    /// `MemoryStore`, or through a [`NotifyingStore`](crate::store::notify::NotifyingStore) in any
    /// process, is noticed immediately. A deadline is noticed when it passes, and every other
    /// change within five seconds. If the store fails, the future asks it again.
    ///
    /// ```
    /// use ruts::{Error, Session};
    ///
    /// async fn talk() {}
    ///
    /// /// Ends with the talk or with the session.
    /// async fn connection(session: Session) -> Result<(), Error> {
    ///     let watch = session.watch().await?;
    ///     tokio::select! {
    ///         _ = watch => {}
    ///         () = talk() => {}
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Round trips
    ///
    /// One round trip if this request has not used the session before. The returned future makes
    /// one every five seconds, and one for each notification.
    ///
    /// # Cancel safety
    ///
    /// The returned future may outlive the request. Dropping it is harmless.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] if the session cannot be verified.
    pub async fn watch(
        &self,
    ) -> Result<impl Future<Output = SessionChange> + Send + use<S>, Error> {
        let meta = self.request.known_meta_passively().await?;
        let principal = watch::principal_of(meta.and_then(|meta| meta.signed_in));
        Ok(watch::until_change(Arc::clone(self.request.store()), self.request.id(), principal))
    }
}

/// # The signed-in principal
impl<S> Session<S> {
    /// Returns the signed-in principal with its assurance, as the last read by this request found
    /// it. `None` for a guest. One round trip if this request has not read the session yet, or has
    /// changed the principal or a deadline since.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn signed_in(&self) -> Result<Option<SignedIn>, Error> {
        Ok(self.request.known_meta().await?.and_then(|meta| meta.signed_in))
    }

    /// Returns the signed-in principal if the authentication is strong enough, and no older than
    /// `within` (OWASP ASVS 5.0, 7.5.1 and 7.5.3). In axum handlers, use the guards of
    /// `ruts::guard` instead. As many round trips as [`signed_in`](Self::signed_in).
    ///
    /// # Errors
    ///
    /// [`Error::SignInRequired`] for a guest, [`Error::StepUpRequired`] if the authentication is
    /// too weak or too old, [`Error::Store`].
    pub async fn require(
        &self,
        assurance: Assurance,
        within: Option<Duration>,
    ) -> Result<SignedIn, Error> {
        let signed_in = self.signed_in().await?.ok_or(Error::SignInRequired)?;
        let is_old = within.is_some_and(|within| signed_in.ago > within);
        if signed_in.assurance < assurance || is_old {
            return Err(Error::StepUpRequired { assurance, within });
        }
        Ok(signed_in)
    }

    /// Returns the sessions of the signed-in principal, including this session. `None` for a guest.
    /// One round trip, or none if this request has read the session before.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn sessions(&self) -> Result<Option<PrincipalSessions>, Error> {
        let (store, cipher) = (self.request.store(), &self.request.config().cipher);
        let signed_in = self.signed_in().await?;
        Ok(signed_in.map(|signed_in| {
            let request = Arc::clone(&self.request);
            PrincipalSessions::of(Arc::clone(store), cipher.clone(), signed_in.principal, request)
        }))
    }

    /// Ends all other sessions of the signed-in principal, and returns their number. Call this
    /// method after a change of password (OWASP ASVS 5.0, 7.4.3). Zero for a guest.
    ///
    /// # Round trips
    ///
    /// As many as [`PrincipalSessions::revoke_all`], and one more if this request has not read the
    /// session before.
    ///
    /// # Errors
    ///
    /// The same as for [`PrincipalSessions::revoke_all`].
    pub async fn revoke_others(&self) -> Result<usize, Error> {
        match (self.sessions().await?, self.id()) {
            (Some(sessions), Some(id)) => sessions.revoke_all_except(&id).await,
            _ => Ok(0),
        }
    }

    /// Reads the stamp of the sign-in, together with the eager fields of a schema.
    pub(super) async fn read_stamp(&self, schema: &'static SessionSchema) -> Result<(), Error> {
        self.request.read_stamp(Some(schema)).await
    }

    /// Returns whether the session accepts this stamp of its user.
    pub(super) async fn has_stamp(&self, stamp: &[u8]) -> Result<bool, Error> {
        self.request.has_stamp(stamp).await
    }

    /// Returns whether the principal of a schema is signed in.
    #[cfg(feature = "axum")]
    pub(crate) async fn is_signed_in(&self, schema: &'static SessionSchema) -> Result<bool, Error> {
        self.request.is_signed_in(schema).await
    }

    /// Returns the sign-in page of the layer, and the page that the client asked for.
    #[cfg(feature = "axum")]
    pub(crate) fn sign_in_page(&self) -> Option<(&str, Option<&str>)> {
        let page = self.request.config().sign_in_page.as_deref()?;
        Some((page, self.request.target()))
    }
}

/// # Forms
impl<S> Session<S> {
    /// Returns a token for the forms of this session's pages. When a form is submitted,
    /// [`is_csrf_token`](Self::is_csrf_token) checks its token (NIST SP 800-63B-4, 5.1). Starts a
    /// session if there is none.
    ///
    /// Each call returns a different token. Otherwise the size of a compressed page could reveal
    /// the token (BREACH). All of these tokens are valid until the session ends or its principal
    /// changes.
    ///
    /// `SameSite`, and the `CsrfLayer` of the feature `csrf`, stop cross-site requests even if
    /// forms have no token. A token also stops requests from other subdomains.
    ///
    /// ```
    /// use ruts::{Error, Session};
    ///
    /// async fn form(session: Session) -> Result<String, Error> {
    ///     let token = session.csrf_token().await?;
    ///     Ok(format!(r#"<form method="post"><input type="hidden" name="csrf" value="{token}">"#))
    /// }
    ///
    /// async fn submit(session: Session, csrf: &str) -> Result<&'static str, Error> {
    ///     Ok(if session.is_csrf_token(csrf).await? { "done" } else { "not from our page" })
    /// }
    /// ```
    ///
    /// # Round trips
    ///
    /// Two round trips for the first token of a session, and one for a later token. None if this
    /// request has asked for a token before.
    ///
    /// # Errors
    ///
    /// The same as for [`Entry::set`](crate::Entry::set), and [`Error::Random`].
    pub async fn csrf_token(&self) -> Result<String, Error> {
        csrf::token(&self.request).await
    }

    /// Returns whether `text` is a token of this session. Compares in constant time.
    ///
    /// If a sign-in or rotation has replaced the secret of the request, the tokens of this session
    /// stay valid. The valid tokens are those from before the sign-in, and those of the principal
    /// that is now signed in. So a second click on a sign-in form is accepted.
    ///
    /// # Round trips
    ///
    /// One round trip, or none if this request has asked for a token before. Two round trips if the
    /// secret of the request was replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn is_csrf_token(&self, text: &str) -> Result<bool, Error> {
        csrf::verify(&self.request, text).await
    }
}

/// # Requests and layers
impl<S> Session<S> {
    /// Returns the number of store calls that this request has made so far: for tests and debugging
    /// pages. No round trip.
    pub fn store_calls(&self) -> u32 {
        self.request.calls()
    }

    /// Adds a schema of the named layer to the schemas of this session's layer. Returns an error if
    /// the session is of another layer, or if the schema contradicts one of them.
    pub(super) fn register(
        &self,
        layer: &'static str,
        schema: &'static SessionSchema,
        shapes: &'static [FingerprintFn],
    ) -> Result<(), Error> {
        let found = self.request.config().layer;
        if found != layer {
            return Err(Error::WrongLayer { expected: layer, found });
        }
        self.request.schemas().register(schema, shapes)
    }

    /// Returns whether the session belongs to the layer of a context.
    pub(crate) fn is_of(&self, context: &SessionContext) -> bool {
        self.request.is_of(context)
    }

    /// Polls the handler of the request.
    pub(crate) fn enter<T>(&self, poll: impl FnOnce() -> T) -> T {
        current::enter(&self.request, poll)
    }

    /// Returns whether the response may depend on the session: the handler has used it, or has
    /// moved a handle into the body.
    pub(crate) fn may_affect_response(&self) -> bool {
        self.request.was_used() || Arc::strong_count(&self.request) > 1
    }

    /// Returns a future that renews the secret before the response is sent. `None` if no renewal is
    /// due.
    pub(crate) fn renewal(&self) -> Option<Renewal> {
        RequestSession::renewal(&self.request)
    }

    /// Returns the cookie action, and closes the response.
    pub(crate) fn close_response(&self) -> CookieAction {
        RequestSession::close_response(&self.request)
    }

    /// Discards the token of a response that no client receives.
    pub(crate) fn abandon(&self, cookie: CookieAction) {
        RequestSession::abandon(&self.request, cookie);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.request.has_ended()
    }
}

impl<S: 'static> Session<S> {
    /// Returns the session that the unnamed layer put into a request.
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`], [`Error::WrongStore`].
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Error> {
        let session = Session::<AnyStore>::from_extensions_of::<DefaultLayer>(extensions)?;
        let (found, expected) = (session.request.store().store_type(), StoreType::of::<S>());
        if expected.id != found.id && expected.id != StoreType::of::<AnyStore>().id {
            return Err(Error::WrongStore { expected: expected.name, found: found.name });
        }
        Ok(Self { request: session.request, store: PhantomData })
    }
}

impl Session {
    pub(crate) fn start(context: Arc<SessionContext>, incoming: Incoming) -> Self {
        Self { request: Arc::new(RequestSession::new(context, incoming)), store: PhantomData }
    }

    /// Creates the session of a job, which has no request.
    pub(super) fn internal(context: Arc<SessionContext>, id: SessionId) -> Self {
        Self { request: Arc::new(RequestSession::internal(context, id)), store: PhantomData }
    }

    /// Adds the session to those of the outer layers.
    pub(crate) fn into_extensions(self, extensions: &mut Extensions) {
        match extensions.get_mut::<OfRequest>() {
            Some(outer) => outer.others.push(self),
            None => drop(extensions.insert(OfRequest { first: self, others: Vec::new() })),
        }
    }

    /// Returns whether the layer of a context and an outer layer read their tokens from the same
    /// cookie or header.
    pub(crate) fn shares_token_with_outer(
        extensions: &Extensions,
        context: &SessionContext,
    ) -> bool {
        let outer = extensions.get::<OfRequest>();
        outer.is_some_and(|outer| outer.all().any(|session| session.request.shares_token(context)))
    }

    /// Returns the session that the layer with the name `L` put into a request.
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`].
    pub fn from_extensions_of<L: LayerName>(extensions: &Extensions) -> Result<Self, Error> {
        let mut all = extensions.get::<OfRequest>().into_iter().flat_map(OfRequest::all);
        match all.find(|session| session.request.config().layer == L::NAME) {
            Some(session) => Ok(session.clone()),
            None => Err(Error::MissingLayer {
                layer: (!L::NAME.is_empty()).then_some(type_name::<L>()),
            }),
        }
    }
}

/// The request extension that holds the sessions of all layers around a handler.
#[derive(Clone)]
struct OfRequest {
    /// The session of the outermost layer.
    first: Session,
    others: Vec<Session>,
}

impl OfRequest {
    fn all(&self) -> impl Iterator<Item = &Session> {
        [&self.first].into_iter().chain(&self.others)
    }
}

fn check_name(field: &str) -> Result<(), Error> {
    if is_field_name(field) && !is_reserved(field) {
        Ok(())
    } else {
        Err(Error::FieldName(field.to_owned()))
    }
}

fn seconds(seconds: u64) -> Result<Ttl, Error> {
    Ok(Ttl::new(Duration::from_secs(seconds))?)
}

impl<S> Clone for Session<S> {
    fn clone(&self) -> Self {
        Self { request: Arc::clone(&self.request), store: PhantomData }
    }
}

/// Shows only the id.
impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.id()).finish()
    }
}

// Not generic, so these functions are compiled once, and not in every application.

fn write<'a>(request: &'a RequestSession, change: Change<'a>, plan: WritePlan) -> Boxed<'a, usize> {
    Box::pin(async move { request.write(&[change], plan).await })
}

fn load<'a>(request: &'a RequestSession, schema: &'static SessionSchema) -> Boxed<'a, SessionMap> {
    map(request, schema.fields().iter().filter(|field| !field.is_once()).collect())
}

fn map<'a>(request: &'a RequestSession, specs: Vec<&'static FieldSpec>) -> Boxed<'a, SessionMap> {
    Box::pin(async move {
        let stored = request.get_many(&specs).await?;
        let fields = specs.iter().zip(stored);
        let named =
            fields.filter_map(|(spec, value)| Some((FieldName::from_static(spec.name()), value?)));
        Ok(SessionMap::new(named, request.config().unreadable))
    })
}
