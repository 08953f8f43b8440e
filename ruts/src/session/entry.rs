use std::{fmt, future::IntoFuture, time::Duration};

use bytes::Bytes;

use super::{
    ReadFuture, WriteFuture,
    apply::{Group, Writing, put},
    config::Signing,
    future::Boxed,
    shared::Shared,
    value,
};
use crate::{
    error::Error,
    field::{Field, FieldSpec, Maybe, Mode, Principal, Readable, StoredAs, Updatable},
    principal::{Assurance, PrincipalKey},
    schema::SessionSchema,
    sealing::Plaintext,
    store::Change,
    ttl::Ttl,
};

/// One field of the session of this request. Awaiting it reads it.
///
/// Made by the accessors that `#[session]` generates (`shop.cart()`), or from a key with
/// [`Session::entry`](crate::Session::entry). A field marked `once` has only [`set`](Self::set), [`take`](Self::take) and
/// [`remove`](Self::remove).
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
pub struct Entry<'a, T, M = Maybe> {
    shared: &'a Shared,
    schema: Option<&'static SessionSchema>,
    field: Field<T, M>,
}

impl<'a, T, M: Mode> Entry<'a, T, M> {
    pub(super) fn new(
        shared: &'a Shared,
        schema: Option<&'static SessionSchema>,
        field: Field<T, M>,
    ) -> Self {
        Self { shared, schema, field }
    }

    /// Writes the field and gives it a new lease of life. One round trip, two with a cookie that the
    /// store does not know.
    ///
    /// Without a session, this starts one. Takes whatever [serialises as](StoredAs) a `T`, such as
    /// a `&str` for a `String`. A field marked `principal` is [signed in](Self::sign_in) with
    /// [`Assurance::Aal1`].
    ///
    /// # Errors
    ///
    /// [`Error::Encode`], [`Error::Store`], [`Error::Unconfirmed`]; [`Error::Ended`] if another request
    /// ended the session; [`Error::ResponseSent`] if a session would have to start or rotate after the response.
    pub fn set<Q: StoredAs<T> + ?Sized>(self, value: &Q) -> WriteFuture<'a> {
        self.write(value, Assurance::Aal1)
    }

    fn write<Q: StoredAs<T> + ?Sized>(self, value: &Q, assurance: Assurance) -> WriteFuture<'a> {
        let Self { shared, field, .. } = self;
        let encoded = value::encode(field.spec(), value);
        let principal = value::principal(field, shared.config().layer, value);
        set(shared, field.spec(), encoded, principal, assurance)
    }

    /// Removes the field and says whether it was there. One round trip.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), less `Encode`.
    pub fn remove(self) -> WriteFuture<'a, bool> {
        remove(self.shared, self.field.spec())
    }

    /// Removes the field and hands out its value, `None` if it was not there. One round trip.
    ///
    /// Of any number of parallel callers, one gets the value, also if a cache before the store could not
    /// be told that it is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Decode`], in which case the field is gone nevertheless;
    /// [`Error::ResponseSent`] if a rotation is due and the response is out.
    pub async fn take(self) -> Result<Option<T>, Error> {
        let stored = self.shared.take(self.field.spec()).await?;
        value::decode(self.field, stored.as_ref())
    }
}

impl<'a, T> Entry<'a, T, Principal> {
    /// Says who is signed in, and how sure one is of that. The old cookie is worth nothing from now on,
    /// both deadlines begin anew, and the session is listed among those of the principal. One round trip
    /// in memory and in PostgreSQL, three in Redis, two and two more through a cache.
    ///
    /// The other fields stay: a guest's cart. Before somebody else signs in, [end](crate::Session::delete) the
    /// session of whoever was signed in; else they find what was kept there.
    ///
    /// Who is signed in is known of the session, not of the field: it goes on until the session ends or the
    /// field is [removed](Self::remove). A `ttl` of the field only takes the value away, and
    /// [`Session::set`](crate::Session::set) by name signs nobody in.
    ///
    /// Authenticating again is the same (NIST SP 800-63B-4, 5.2). There is no other way to raise the
    /// assurance of a session.
    ///
    /// ```
    /// use ruts::{Assurance, Error, session};
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
    /// /// So was the code.
    /// async fn second_factor(shop: Shop) -> Result<(), Error> {
    ///     shop.user().sign_in(&7, Assurance::Aal2).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set); [`Error::TooManySessions`]; [`Error::Ended`] also if the principal's
    /// sessions were revoked meanwhile.
    pub fn sign_in<Q: StoredAs<T> + ?Sized>(
        self,
        value: &Q,
        assurance: Assurance,
    ) -> WriteFuture<'a> {
        self.write(value, assurance)
    }
}

// What does not depend on the field's type is compiled here, once, and not in an app once for each type or place.

fn stored<'a>(
    shared: &'a Shared,
    spec: &'static FieldSpec,
    group: Group,
) -> Boxed<'a, Option<Plaintext>> {
    Box::pin(async move {
        shared.declare(spec);
        shared.get(spec.name(), group).await
    })
}

fn set<'a>(
    shared: &'a Shared,
    spec: &'static FieldSpec,
    encoded: Result<Bytes, Error>,
    principal: Result<Option<PrincipalKey>, Error>,
    assurance: Assurance,
) -> WriteFuture<'a> {
    WriteFuture::new(async move {
        let (value, principal) = (encoded?, principal?);
        let signing = principal.map(|principal| Signing::In(principal, assurance));
        let change = Change::Set(put(spec, &value));
        let writing = Writing { signing, ..Writing::of(spec) };
        shared.write(&[change], writing).await.map(drop)
    })
}

fn remove<'a>(shared: &'a Shared, spec: &'static FieldSpec) -> WriteFuture<'a, bool> {
    WriteFuture::new(async move {
        let change = Change::Remove(spec.name());
        let writing = Writing { signing: removal(spec), ..Writing::of(spec) };
        Ok(shared.write(&[change], writing).await? > 0)
    })
}

fn expire<'a>(
    shared: &'a Shared,
    spec: &'static FieldSpec,
    ttl: Duration,
) -> WriteFuture<'a, bool> {
    WriteFuture::new(async move {
        let change = Change::Expire(spec.name(), Ttl::new(ttl)?);
        Ok(shared.write(&[change], Writing::default()).await? > 0)
    })
}

/// Removing the principal signs out.
pub(super) fn removal(field: &FieldSpec) -> Option<Signing> {
    field.is_principal().then_some(Signing::Out)
}

impl<'a, T, M: Readable<T>> Entry<'a, T, M> {
    /// Reads the field; the same as awaiting the entry.
    ///
    /// The first read of a request fetches all fields of the schema that are not `lazy`, `once` or
    /// `hot = "never"` or `"checked"`, in one round trip; further reads of them make none. They show what this request last read or
    /// wrote: see [`Session::refresh`](crate::Session::refresh) for requests that last.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Decode`].
    pub fn get(self) -> ReadFuture<'a, T, M> {
        ReadFuture::new(self.field, stored(self.shared, self.field.spec(), self.group()))
    }

    /// Gives the field this long to live from now, and says whether it was there. One round trip.
    ///
    /// # Errors
    ///
    /// [`Error::Ttl`] for a duration of zero or above 100 years; [`Error::Store`],
    /// [`Error::Unconfirmed`], [`Error::Ended`].
    pub fn expire(self, ttl: Duration) -> WriteFuture<'a, bool> {
        expire(self.shared, self.field.spec(), ttl)
    }

    fn group(&self) -> Group {
        self.schema.filter(|_| self.field.spec().is_eager())
    }
}

impl<T, M: Updatable<T>> Entry<'_, T, M> {
    /// Changes the field by what it holds, atomically: no parallel update is lost.
    ///
    /// One round trip if the field was read before and nobody else writes it, else two, and one
    /// more for each time that another request was faster; `change` runs anew each time, so it
    /// should do nothing else. It gets `&mut T` for a field with a default and `&mut Option<T>`
    /// otherwise, where `None` removes the field. What it returns is handed back.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), [`Error::Decode`], and [`Error::Conflict`] after 48 tries.
    ///
    /// # Panics
    ///
    /// Between two tries it sleeps, which needs a tokio runtime with time enabled.
    pub async fn update<R, F>(self, mut change: F) -> Result<R, Error>
    where
        R: Send,
        F: FnMut(&mut M::Value) -> R + Send,
    {
        let (field, group) = (self.field, self.group());
        let (spec, mode) = (field.spec(), field.mode());
        let mut result = None;
        (self.shared)
            .modify(spec, group, &mut |stored| {
                let mut value = mode.value(value::decode(field, stored)?);
                result = Some(change(&mut value));
                let next = mode.stored(value).map(|value| field.encode(&value)).transpose();
                next.map_err(|source| value::encode_error(spec.name(), source))
            })
            .await?;
        // It ran at least once, or `modify` had failed.
        result.ok_or_else(|| Error::Conflict { field: spec.name().to_owned() })
    }
}

impl<'a, T, M: Readable<T>> IntoFuture for Entry<'a, T, M> {
    type Output = Result<M::Value, Error>;
    type IntoFuture = ReadFuture<'a, T, M>;

    fn into_future(self) -> ReadFuture<'a, T, M> {
        self.get()
    }
}

impl<T, M> fmt::Debug for Entry<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?})", self.field)
    }
}
