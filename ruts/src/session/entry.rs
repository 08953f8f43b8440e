//! [`Entry`]: the operations on one typed field: `get`, `set`, `update`, `take`, `remove`.
//!
//! Returned by the accessors that `#[session]` generates, and by `Session::entry`. Encodes and
//! decodes values, and calls `request`. Knows nothing about cookies or stores.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    config::Unreadable,
    future::{ReadFuture, WriteFuture},
    preserve,
    request::{
        operations::RequestSession,
        write_plan::{EagerGroup, WritePlan},
    },
    sign_in::SignIn,
    value,
};
use crate::{
    auth::Assurance,
    crypto::field_cipher::Plaintext,
    error::Error,
    field::{
        Field, FieldSpec, Mode, Once, Optional, Principal, Readable, SessionSchema, StoredAs,
        Updatable,
    },
    store::Change,
    ttl::Ttl,
};

/// One field of the session. Awaiting the entry reads the field.
///
/// Returned by the accessors that `#[session]` generates (`shop.cart()`), and by
/// [`Session::entry`](crate::Session::entry). A field marked `once` offers only [`set`](Self::set),
/// [`take`](Self::take) and [`remove`](Self::remove), and [`push`](Self::push) if it is a list.
///
/// ```
/// # use ruts::{session, Error};
/// #[session]
/// struct Shop {
///     #[field(default)]
///     visits: u64,
///     name: String,
/// }
///
/// async fn handler(shop: Shop) -> Result<(), Error> {
///     let visits: u64 = shop.visits().await?;
///     let name: Option<String> = shop.name().await?;
///     shop.name().set("Ada").await?;
///     let visit = shop.visits().update(|n| { *n += 1; *n }).await?;
///     let was_there: bool = shop.name().remove().await?;
/// #   let _ = (visits, name, visit, was_there);
///     Ok(())
/// }
/// ```
#[must_use = "nothing is read until this is awaited"]
pub struct Entry<'a, T, M = Optional> {
    request: &'a RequestSession,
    field: Field<T, M>,
    state: State<'a, T, M>,
}

/// Whether the entry has begun to read its field. Not an `Option`, because rustc would suggest a
/// private field of type `Option` in an error about `match shop.user()`.
enum State<'a, T, M> {
    Idle(EagerGroup),
    Reading(ReadFuture<'a, T, M>),
}

impl<'a, T, M: Mode> Entry<'a, T, M> {
    pub(super) fn new(
        request: &'a RequestSession,
        schema: Option<&'static SessionSchema>,
        field: Field<T, M>,
    ) -> Self {
        let group = schema.filter(|_| field.spec().is_eager());
        Self { request, field, state: State::Idle(group) }
    }
}

// The bounds are on the methods, not on the implementation. So if a call does not meet a bound,
// rustc shows the message of that bound.
impl<'a, T, M: Mode> Entry<'a, T, M> {
    /// Reads the field. Awaiting the entry does the same.
    ///
    /// Returns the value that this request last read or wrote, if there is one. A long-lived
    /// request calls [`Session::refresh`](crate::Session::refresh) to read the field again.
    ///
    /// # Round trips
    ///
    /// One round trip for the first read in a request. It reads all fields of the schema that are
    /// not `lazy`, `once`, `hot = "never"` or `hot = "checked"`. Further reads of these fields take
    /// no round trip.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Decode`]. [`Error::Newer`] for a value of a later release.
    pub fn get(self) -> ReadFuture<'a, T, M>
    where
        M: Readable<T>,
    {
        match self.state {
            State::Idle(group) => read(self.request, self.field, group),
            State::Reading(read) => read,
        }
    }

    /// Sets the lifetime of the field, counted from now, and returns whether the field was present.
    /// One round trip.
    ///
    /// # Errors
    ///
    /// [`Error::Ttl`] for a duration of zero or above 100 years. [`Error::Store`],
    /// [`Error::StaleCache`], [`Error::Ended`].
    pub fn expire(self, ttl: Duration) -> WriteFuture<'a, bool>
    where
        M: Updatable<T>,
    {
        expire(self.request, self.field.spec(), ttl)
    }

    /// Rewrites the stored value if a write would now store it in a different form, and returns
    /// whether it was rewritten. The form consists of the version of the field, its type, its codec
    /// and its encryption key.
    ///
    /// The value keeps its remaining lifetime and, as in an [`update`](Self::update), the struct
    /// fields that only another release knows. Reads migrate values even without this call. Call
    /// `settle` when all values have to be in the new form, for example before a former key is
    /// removed.
    ///
    /// ```
    /// use ruts::{Error, session};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(version = 2, migrate(1 => u32))]
    ///     visits: u64,
    /// }
    ///
    /// async fn visit(shop: Shop) -> Result<(), Error> {
    ///     shop.visits().settle().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Round trips
    ///
    /// One round trip if the stored form is outdated, and otherwise none. One more if this request
    /// has not read the field, and at most two more for each conflict.
    ///
    /// # Errors
    ///
    /// The same as for [`update`](Self::update). If another request calls [`expire`](Self::expire)
    /// between the read and the write of this call, the lifetime that it sets is lost without an
    /// error.
    pub fn settle(self) -> WriteFuture<'a, bool>
    where
        M: Readable<T> + 'a,
        T: 'a,
    {
        let (request, field) = (self.request, self.field);
        let group = match self.state {
            State::Idle(group) => group,
            State::Reading(_) => None,
        };
        WriteFuture::new(async move {
            let spec = field.spec();
            let mut encode = |stored: Option<&Plaintext>| {
                preserve::rewrite(field, stored, Unreadable::Error, |value| {
                    let next = value.map(|value| field.encode(&value)).transpose();
                    next.map_err(|source| value::encode_error(spec.name(), source))
                })
            };
            let is_current = |stored: &[u8]| field.writes_like(stored);
            request.settle(spec, group, &is_current, &mut encode).await
        })
    }

    /// Reads, changes and writes the field atomically: no parallel update is lost.
    ///
    /// During a deploy, the value may contain struct fields that only a later release knows. With
    /// MessagePack the update keeps these struct fields, even inside lists and maps.
    ///
    /// For a field with a default, `change` gets `&mut T`. For any other field, it gets `&mut
    /// Option<T>`, where `None` removes the field. The result of `change` is returned. `change`
    /// runs again after each conflict with another request, so it should have no side effects. For
    /// the same reason it cannot move a captured value. Clone the value inside:
    ///
    /// ```
    /// # use ruts::{session, Error};
    /// #[session]
    /// struct Shop {
    ///     #[field(default)]
    ///     cart: Vec<String>,
    /// }
    ///
    /// async fn add(shop: Shop, item: String) -> Result<(), Error> {
    ///     shop.cart().update(|cart| cart.push(item.clone())).await
    /// }
    /// ```
    ///
    /// # Round trips
    ///
    /// One round trip, or two if this request has not read the field. One more for each conflict
    /// with another request.
    ///
    /// # Errors
    ///
    /// The same as for [`set`](Self::set), [`Error::Decode`], [`Error::Newer`], and
    /// [`Error::Conflict`] after 48 attempts.
    ///
    /// # Panics
    ///
    /// Panics if the update has to wait and there is no tokio runtime with time enabled. An update
    /// waits while another update of the session runs, and after a conflict.
    pub fn update<R, F>(self, mut change: F) -> WriteFuture<'a, R>
    where
        M: Updatable<T> + 'a,
        T: 'a,
        R: Send + 'a,
        F: FnMut(&mut M::Value) -> R + Send + 'a,
    {
        let (request, field) = (self.request, self.field);
        let group = match self.state {
            State::Idle(group) => group,
            State::Reading(_) => None,
        };
        let unreadable = request.config().unreadable;
        WriteFuture::new(async move {
            let (spec, mode) = (field.spec(), field.mode());
            let mut result = None;
            request
                .modify(spec, group, &mut |stored| {
                    preserve::rewrite(field, stored, unreadable, |read| {
                        let mut value = mode.value(read);
                        result = Some(change(&mut value));
                        let next = mode.stored(value).map(|value| field.encode(&value)).transpose();
                        next.map_err(|source| value::encode_error(spec.name(), source))
                    })
                })
                .await?;
            // Never an error here: `modify` succeeds only after `change` has run.
            result.ok_or_else(|| Error::Conflict { field: spec.name().to_owned() })
        })
    }
}

/// `Entry` is a future itself instead of an `IntoFuture`. Only then does rustc show the message of
/// [`Readable`] for `.await` on a `once` field.
impl<'a, T, M: Mode> Entry<'a, T, M> {
    /// Writes the field, and restarts its lifetime. Starts a session if there is none.
    ///
    /// Accepts any value that [serialises as](StoredAs) a `T`, such as a `&str` for a `String`.
    /// Writing a field marked `principal` [signs in](Self::sign_in) with [`Assurance::Aal1`].
    ///
    /// # Round trips
    ///
    /// One round trip, or three if the store does not know the token of the request.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`], [`Error::Store`], [`Error::StaleCache`]. [`Error::Ended`] if another
    /// request ended the session. [`Error::ResponseSent`] if the write would have to start a
    /// session, or replace its secret, after the response.
    pub fn set<Q: StoredAs<T> + ?Sized>(self, value: &Q) -> WriteFuture<'a> {
        self.write(value, Assurance::Aal1).into_future()
    }

    fn write<Q: StoredAs<T> + ?Sized>(self, value: &Q, assurance: Assurance) -> SignIn<'a> {
        let Self { request, field, .. } = self;
        let encoded = value::encode(field, value);
        let principal = value::principal(field, request.config().layer, value);
        let value = encoded.and_then(|value| Ok((value, principal?)));
        SignIn::new(request, field.spec(), value, assurance)
    }

    /// Removes the field, and returns whether it was present. Removing a field marked `principal`
    /// signs out the principal that the field names, but no other principal. The other fields stay,
    /// also for the next user of the browser. [`Session::delete`](crate::Session::delete) ends the
    /// session with all its fields.
    ///
    /// # Round trips
    ///
    /// One round trip, or two for a field marked `principal` that this request has not read.
    ///
    /// # Errors
    ///
    /// The same as for [`set`](Self::set), except [`Error::Encode`].
    pub fn remove(self) -> WriteFuture<'a, bool> {
        remove(self.request, self.field.spec())
    }

    /// Removes the field and returns its value, or `None` if it was absent. One round trip, or two
    /// for a field marked `principal` that this request has not read.
    ///
    /// If several callers take the value concurrently, only one of them gets it, even if a cache
    /// missed the removal.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. [`Error::Decode`]: the field is removed anyway. [`Error::Newer`] for a
    /// value of a later release: the value is kept unless the field is marked `principal`.
    /// [`Error::ResponseSent`] if a rotation is due after the response. [`Error::Ended`] for a
    /// field marked `principal` if another request has replaced the secret: the principal is still
    /// signed in.
    pub async fn take(self) -> Result<Option<T>, Error> {
        let stored = self.request.take(self.field.spec()).await?;
        value::decode(self.field, stored.as_ref(), self.request.config().unreadable)
    }
}

impl<'a, T> Entry<'a, T, Principal> {
    /// Signs a principal in, and adds the session to the list of the principal's sessions. The old
    /// cookie is refused from now on. The idle deadline and the absolute deadline restart.
    ///
    /// The fields of a guest, such as a cart, stay. If a different principal is signed in, the
    /// fields of the session are removed, so that no user sees another user's fields. [`SignIn`]
    /// has options to keep the fields, and to remember the user after the browser is closed.
    ///
    /// The principal stays signed in until the session ends, the field is [removed](Self::remove),
    /// or a different principal signs in. A `ttl` of the field also bounds the lifetime of the
    /// session. [`Session::set`](crate::Session::set), which writes a field by name, cannot sign
    /// in.
    ///
    /// Call this method again when the principal authenticates again (NIST SP 800-63B-4, 5.2). Only
    /// a sign-in raises the assurance of a session.
    ///
    /// ```
    /// use ruts::{Error, auth::Assurance, session};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(principal)]
    ///     user: u64,
    /// }
    ///
    /// /// The password was right.
    /// async fn password(shop: Shop) -> Result<(), Error> {
    ///     shop.set_user(&7).await // the same as `sign_in(&7, Assurance::Aal1)`
    /// }
    ///
    /// /// The code was right, too.
    /// async fn second_factor(shop: Shop) -> Result<(), Error> {
    ///     shop.user().sign_in(&7, Assurance::Aal2).await
    /// }
    /// ```
    ///
    /// # Round trips
    ///
    /// One round trip in memory, in SQLite, in PostgreSQL and on a single Redis server. Two in
    /// MySQL, and three on a Redis cluster. Two more through a cache.
    ///
    /// # Errors
    ///
    /// The same as for [`set`](Self::set). [`Error::TooManySessions`] if the principal has reached
    /// its session limit. [`Error::Ended`] is also the error if a revocation ended the sessions of
    /// the principal during the sign-in.
    pub fn sign_in<Q: StoredAs<T> + ?Sized>(self, value: &Q, assurance: Assurance) -> SignIn<'a> {
        self.write(value, assurance)
    }

    /// Makes the session accept a second [stamp](crate::session::LoadUser::stamp) of its user,
    /// besides the stamp of the sign-in, until the next sign-in.
    ///
    /// Call this method in a handler that changes a password, before the new hash is written.
    /// Otherwise another request of the same session could load the user with the new hash and end
    /// the session. After the new hash is written, sign in with the new stamp. From then on the
    /// former cookie and the former stamp are refused. All other sessions of the user end when they
    /// next load the user.
    ///
    /// ```
    /// use ruts::{Error, auth::Assurance, session};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(principal)]
    ///     user: u64,
    /// }
    ///
    /// # async fn write_hash(_: u64, _: &str) {}
    /// /// The former password was right.
    /// async fn change_password(shop: Shop, new_hash: String) -> Result<(), Error> {
    ///     let user = shop.user().await?.ok_or(Error::SignInRequired)?;
    ///     shop.user().accept_stamp(&new_hash).await?;
    ///     write_hash(user, &new_hash).await;
    ///     shop.user().sign_in(&user, Assurance::Aal1).stamp(&new_hash).await
    /// }
    /// ```
    ///
    /// If the request has presented a former secret, the call may change nothing: the sign-in that
    /// follows starts a new session, and this session ends.
    ///
    /// # Round trips
    ///
    /// One round trip, or two if this request has not read the user with
    /// [`load_user`](crate::session::load_user).
    ///
    /// # Errors
    ///
    /// [`Error::SignInRequired`] for a guest. [`Error::Store`], [`Error::StaleCache`].
    /// [`Error::Ended`] if another request ended the session.
    pub fn accept_stamp(self, stamp: impl AsRef<[u8]>) -> WriteFuture<'a> {
        let Self { request, .. } = self;
        let stamp = stamp.as_ref().to_vec();
        WriteFuture::new(async move { request.accept_stamp(&stamp).await })
    }
}

impl<'a, U: Serialize + DeserializeOwned + Send + Sync + 'a> Entry<'a, Vec<U>, Once> {
    /// Appends a value to a list that is taken once, such as the messages that the next page shows.
    /// No parallel append is lost. The lifetime of the list restarts.
    ///
    /// ```
    /// use ruts::{Error, session};
    ///
    /// #[session]
    /// struct Shop {
    ///     #[field(once, ttl = "1h")]
    ///     messages: Vec<String>,
    /// }
    ///
    /// async fn order(shop: Shop) -> Result<(), Error> {
    ///     shop.messages().push("Your order was placed.".to_owned()).await?;
    ///     shop.messages().push("Your address was saved.".to_owned()).await
    /// }
    ///
    /// async fn page(shop: Shop) -> Result<String, Error> {
    ///     Ok(shop.messages().take().await?.unwrap_or_default().join(" "))
    /// }
    /// ```
    ///
    /// # Round trips
    ///
    /// Two round trips, or one if this request has written the field before. One more for each
    /// conflict.
    ///
    /// # Errors
    ///
    /// The same as for [`update`](Entry::update).
    pub fn push(self, value: U) -> WriteFuture<'a> {
        let (request, field) = (self.request, self.field);
        let unreadable = request.config().unreadable;
        WriteFuture::new(async move {
            let mut append = |stored: Option<&Plaintext>| {
                preserve::rewrite(field, stored, unreadable, |list: Option<Vec<U>>| {
                    let list = list.unwrap_or_default();
                    let list: Vec<&U> = list.iter().chain([&value]).collect();
                    value::encode(field, &list).map(Some)
                })
            };
            request.modify(field.spec(), None, &mut append).await
        })
    }
}

impl<T, M: Readable<T>> Future for Entry<'_, T, M> {
    type Output = Result<M::Value, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.state {
                State::Idle(group) => {
                    let group = *group;
                    self.state = State::Reading(read(self.request, self.field, group));
                }
                State::Reading(read) => return Pin::new(read).poll(cx),
            }
        }
    }
}

impl<T, M> fmt::Debug for Entry<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?})", self.field)
    }
}

fn read<T, M: Readable<T>>(
    request: &RequestSession,
    field: Field<T, M>,
    group: EagerGroup,
) -> ReadFuture<'_, T, M> {
    ReadFuture::new(field, request.get_declared(field.spec(), group), request.config().unreadable)
}

// These functions are not generic. So they are compiled once, and not once for each field type.

fn remove<'a>(request: &'a RequestSession, spec: &'static FieldSpec) -> WriteFuture<'a, bool> {
    WriteFuture::new(async move {
        let change = Change::Remove(spec.name());
        Ok(request.write(&[change], WritePlan::of_removal(spec)).await? > 0)
    })
}

fn expire<'a>(
    request: &'a RequestSession,
    spec: &'static FieldSpec,
    ttl: Duration,
) -> WriteFuture<'a, bool> {
    WriteFuture::new(async move {
        let change = Change::Expire(spec.name(), Ttl::new(ttl)?);
        Ok(request.write(&[change], WritePlan::default()).await? > 0)
    })
}
