//! [`Client`]: a client of a store, with one method for each call that checks make.
//!
//! Used by every check. Most methods panic on a store error, because every check fails on such an
//! error. Knows nothing about backends.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::Barrier, task::JoinSet};

use super::subject::Subject;
use crate::{
    auth::{Assurance, PrincipalKey},
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, Credentials, FieldWrite, Loaded, NewSignIn,
        Precondition, Projection, Refused, Renew, SessionLimit, SignedIn, Store, StoreError,
        TakeField, Touch, Update, Updated, Written,
    },
    token::{CookieLife, Secret, SecretHash, SessionId},
    ttl::Ttl,
};

/// A client with the id of a session and a secret.
pub(super) struct Client<S> {
    pub(super) store: Arc<S>,
    pub(super) id: SessionId,
    pub(super) secret: SecretHash,
}

impl<S> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), ..*self }
    }
}

/// Returns the hash of a new secret.
pub(super) fn secret() -> SecretHash {
    Secret::random(CookieLife::Default).expect("random bytes should be available").hash("")
}

pub(super) fn principal() -> PrincipalKey {
    PrincipalKey::from_bytes(*secret().as_bytes())
}

/// Returns a sign-in of the lowest assurance, without a limit.
pub(super) fn sign_in_of(principal: &PrincipalKey) -> NewSignIn<'_> {
    NewSignIn::new(principal, Assurance::Aal1)
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn ttl(duration: Duration) -> Option<Ttl> {
    Some(Ttl::from_duration(duration))
}

/// Returns a touch that is due when `after` of the idle time has passed.
pub(super) fn touch(idle: Duration, after: Duration) -> Option<Touch> {
    Some(Touch::new(Ttl::from_duration(idle), after))
}

/// Returns a request for an absolute deadline `duration` from now.
pub(super) fn absolute_in(duration: Duration) -> Option<AbsoluteDeadline> {
    Some(AbsoluteDeadline::new(Ttl::from_duration(duration), None))
}

/// Creates a client with an id that no session has.
pub(super) fn new_client<T: Subject>(subject: &T) -> Client<T::Store> {
    let id = SessionId::random().expect("random bytes should be available");
    Client { store: subject.store(), id, secret: secret() }
}

/// Creates a session without deadlines.
pub(super) async fn session<T: Subject>(subject: &T, fields: &[(&str, &str)]) -> Client<T::Store> {
    session_with_deadlines(subject, None, None, fields).await
}

pub(super) async fn session_with_deadlines<T: Subject>(
    subject: &T,
    idle: Option<Ttl>,
    absolute: Option<Ttl>,
    fields: &[(&str, &str)],
) -> Client<T::Store> {
    let client = new_client(subject);
    let values: Vec<Bytes> = fields.iter().map(|(_, value)| bytes(value)).collect();
    let writes: Vec<FieldWrite<'_>> = (fields.iter().zip(&values))
        .map(|((name, _), value)| FieldWrite::new(name, value))
        .collect();
    client.create(idle, absolute, &writes).await.expect("a new session should be possible");
    client
}

impl<S: Store> Client<S> {
    pub(super) fn credentials(&self) -> Credentials<'_> {
        Credentials::new(&self.id, &self.secret)
    }

    /// Returns a client of the same session with a different secret.
    pub(super) fn with(&self, secret: SecretHash) -> Self {
        Self { secret, ..self.clone() }
    }

    /// Returns a client of the same session with a different view of the store: see
    /// [`Subject::store`].
    pub(super) fn through<T: Subject<Store = S>>(&self, subject: &T) -> Self {
        Self { store: subject.store(), ..self.clone() }
    }

    pub(super) async fn create(
        &self,
        idle: Option<Ttl>,
        absolute: Option<Ttl>,
        fields: &[FieldWrite<'_>],
    ) -> Result<(), StoreError> {
        let create = Create::new(&self.id, &self.secret).idle(idle).absolute(absolute);
        self.store.create(create.fields(fields)).await.map(drop)
    }

    pub(super) async fn create_for(
        &self,
        principal: &PrincipalKey,
        limit: Option<SessionLimit>,
    ) -> Result<(), StoreError> {
        let create = Create::new(&self.id, &self.secret);
        let create = create.sign_in(sign_in_of(principal).limit(limit));
        self.store.create(create).await.map(drop)
    }

    /// Signs a principal in, with a new secret.
    pub(super) async fn sign_in(
        &self,
        principal: &PrincipalKey,
        limit: Option<SessionLimit>,
    ) -> Result<(Self, Result<Updated, Refused>), StoreError> {
        let new = self.with(secret());
        let who = sign_in_of(principal).limit(limit);
        let sign = AuthChange::In { who, idle: None, absolute: None };
        let update = Update::new(&[]).rotate(&new.secret).auth_change(sign);
        let answer = fresh(self.store.update(self.credentials(), update).await?);
        Ok((new, answer))
    }

    pub(super) async fn renew(
        &self,
        new: &SecretHash,
        every: Duration,
        grace: Duration,
    ) -> Result<Updated, Refused> {
        let renew = Renew::new(new, Ttl::from_duration(every), grace);
        self.update(Update::new(&[]).renew(renew)).await
    }

    /// Returns the signed-in principal. `None` if no principal is signed in, or if the read is
    /// refused.
    pub(super) async fn signed_in(&self) -> Option<SignedIn> {
        let loaded = self.load(Projection::Named(&[]), None).await;
        loaded.ok().and_then(|loaded| loaded.meta.signed_in)
    }

    pub(super) async fn load(
        &self,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Loaded, Refused> {
        self.store.load(self.credentials(), fields, touch).await.expect("the store should answer")
    }

    pub(super) async fn load_live(&self, fields: Projection<'_>, touch: Option<Touch>) -> Loaded {
        let loaded = self.load(fields, touch).await;
        loaded.unwrap_or_else(|refused| panic!("the session should be live: {refused:?}"))
    }

    pub(super) async fn update(&self, update: Update<'_>) -> Result<Updated, Refused> {
        fresh(self.store.update(self.credentials(), update).await.expect("the store should answer"))
    }

    pub(super) async fn change(&self, changes: &[Change<'_>]) -> Result<Updated, Refused> {
        self.update(Update::new(changes)).await
    }

    pub(super) async fn set(&self, name: &str, value: &str) -> Result<Updated, Refused> {
        self.change(&[Change::Set(FieldWrite::new(name, &bytes(value)))]).await
    }

    pub(super) async fn set_for(
        &self,
        name: &str,
        value: &str,
        ttl: Duration,
    ) -> Result<Updated, Refused> {
        let value = bytes(value);
        self.change(&[Change::Set(FieldWrite::new(name, &value).ttl(Ttl::from_duration(ttl)))])
            .await
    }

    /// Sets a field if it holds the `expected` value, or if it is absent and `expected` is `None`.
    pub(super) async fn set_if(
        &self,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<Updated, Refused> {
        let (expected, value) = (expected.map(bytes), bytes(value));
        let precondition = Precondition::new(name, expected.as_ref());
        let changes = &[Change::Set(FieldWrite::new(name, &value))];
        self.update(Update::new(changes).precondition(precondition)).await
    }

    pub(super) async fn remove(&self, name: &str) -> Result<Updated, Refused> {
        self.change(&[Change::Remove(name)]).await
    }

    pub(super) async fn expire(&self, name: &str, ttl: Duration) -> Result<Updated, Refused> {
        self.change(&[Change::Expire(name, Ttl::from_duration(ttl))]).await
    }

    pub(super) async fn rotate(&self, secret: &SecretHash) -> Result<Updated, Refused> {
        self.update(Update::new(&[]).rotate(secret)).await
    }

    pub(super) async fn take(&self, name: &str) -> Result<Option<Bytes>, Refused> {
        self.take_with(TakeField::new(name)).await
    }

    pub(super) async fn take_with(&self, take: TakeField<'_>) -> Result<Option<Bytes>, Refused> {
        fresh(self.store.take(self.credentials(), take).await.expect("the store should answer"))
    }

    pub(super) async fn delete(&self) -> Result<(), Refused> {
        fresh(self.store.delete(self.credentials()).await.expect("the store should answer"))
    }

    /// Returns all fields, sorted by name. `None` if the read is refused.
    pub(super) async fn fields(&self) -> Option<Vec<(String, String)>> {
        let loaded = self.load(Projection::All, None).await.ok()?;
        let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
        let mut fields: Vec<_> = (loaded.fields.iter())
            .map(|field| (field.name.to_string(), text(&field.value)))
            .collect();
        fields.sort();
        Some(fields)
    }

    /// Returns the value of a field, read by its name.
    pub(super) async fn get(&self, name: &str) -> Option<String> {
        let loaded = self.load(Projection::Named(&[name]), None).await.ok()?;
        let field = loaded.fields.first()?;
        Some(String::from_utf8_lossy(&field.value).into_owned())
    }

    /// Checks that the session has exactly these fields.
    pub(super) async fn holds(&self, fields: &[(&str, &str)]) {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(
            self.fields().await,
            Some(fields),
            "the session should have exactly these fields"
        );
    }

    /// Makes every kind of call and checks that each is refused. No call may have an effect.
    pub(super) async fn is_refused(&self, refusal: Refusal) {
        let (other, hour) = (secret(), Duration::from_secs(3600));
        let touch = touch(hour, Duration::ZERO);
        let update = Update::new(&[]);
        refusal.check("load", self.load(Projection::All, touch).await);
        refusal.check("load of metadata", self.load(Projection::Named(&[]), None).await);
        refusal.check("set", self.set("a", "revived").await);
        refusal.check("set of a different field", self.set_for("new", "revived", hour).await);
        refusal.check("set of an absent field", self.set_if("absent", None, "revived").await);
        refusal.check("removal", self.remove("a").await);
        refusal.check("expiry", self.expire("a", hour).await);
        refusal.check("rotation", self.rotate(&other).await);
        refusal.check("touch", self.update(update.touch(touch)).await);
        refusal.check("new deadline", self.update(update.absolute(absolute_in(hour))).await);
        refusal.check("renewal", self.renew(&other, Duration::from_millis(1), hour).await);
        refusal.check("sign-out", self.update(update.auth_change(AuthChange::Out)).await);
        match self.sign_in(&principal(), None).await {
            Ok((_, answer)) => refusal.check("sign-in", answer),
            Err(error) => panic!("the sign-in should be refused, but the answer was {error:?}"),
        }
        refusal.check("take", self.take("a").await);
        refusal.check("deletion", self.delete().await);
        let with_other = self.with(other).load(Projection::All, None).await;
        assert!(with_other.is_err(), "a refused call should not set the secret");
    }
}

/// The expected reason for the refusal of a call.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    NotFound,
    Replaced,
    Deleted,
    Revoked,
    /// Any of the reasons above.
    Any,
}

impl Refusal {
    fn check<T: fmt::Debug>(self, call: &str, answer: Result<T, Refused>) {
        let is_expected = match self {
            Self::NotFound => matches!(answer, Err(Refused::NotFound)),
            Self::Replaced => matches!(answer, Err(Refused::Replaced { .. })),
            Self::Deleted => matches!(answer, Err(Refused::Deleted { .. })),
            Self::Revoked => matches!(answer, Err(Refused::Revoked)),
            Self::Any => answer.is_err(),
        };
        assert!(is_expected, "the {call} should be refused, but the answer was {answer:?}");
    }
}

/// Returns the answer to a write. Panics if a cache may still serve the state before the write. A
/// cache must not be stale here, because no check stops a cache.
pub(super) fn fresh<T>(written: Result<Written<T>, Refused>) -> Result<T, Refused> {
    written.map(|written| {
        assert_eq!(written.stale_for, None, "no cache should hide a write");
        written.answer
    })
}

/// Starts all futures at the same moment, each in a task of its own. Returns their results in the
/// order in which they finish.
pub(super) async fn race<T: Send + 'static>(
    runners: Vec<impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(runners.len()));
    let mut tasks = JoinSet::new();
    for runner in runners {
        let start = Arc::clone(&start);
        tasks.spawn(async move {
            start.wait().await;
            runner.await
        });
    }
    tasks.join_all().await
}

/// Boxes a future, for a [`race`] of futures of different types.
pub(super) fn runner<T>(
    future: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(future)
}

pub(super) fn applied(found: usize) -> Result<Updated, Refused> {
    Ok(Updated::Applied { found })
}
