//! Short words for the calls that checks make.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::Barrier, task::JoinSet};

use super::Subject;
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, Credentials, FieldWrite, Loaded, Lookup,
        NewSignIn, Precondition, Projection, Renew, SessionLimit, SignedIn, Store, StoreError,
        TakeField, Touch, Update, Updated,
    },
    token::{Secret, SecretHash, SessionId},
    ttl::{CachePolicy, Ttl},
};

/// One who knows a session's id and a secret.
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

pub(super) fn secret() -> SecretHash {
    Secret::random().expect("the system has randomness").hash("")
}

/// Somebody of target nobody has heard.
pub(super) fn principal() -> PrincipalKey {
    PrincipalKey::from_bytes(*secret().as_bytes())
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn ttl(duration: Duration) -> Option<Ttl> {
    Some(Ttl::require(duration))
}

/// The absolute deadline that long from now.
pub(super) fn in_any_case(duration: Duration) -> Option<AbsoluteDeadline> {
    Some(AbsoluteDeadline { from_now: Ttl::require(duration), from_creation: None })
}

pub(super) fn put<'a>(name: &'a str, value: &'a Bytes) -> FieldWrite<'a> {
    FieldWrite { name, value, ttl: None, hot: CachePolicy::Auto }
}

/// Somebody who might create a session but has not.
pub(super) fn stranger<T: Subject>(subject: &T) -> Client<T::Store> {
    let id = SessionId::random().expect("the system has randomness");
    Client { store: subject.store(), id, secret: secret() }
}

/// A session without deadlines that holds these fields.
pub(super) async fn session<T: Subject>(subject: &T, fields: &[(&str, &str)]) -> Client<T::Store> {
    session_for(subject, None, None, fields).await
}

/// A session with deadlines.
pub(super) async fn session_for<T: Subject>(
    subject: &T,
    idle: Option<Ttl>,
    absolute: Option<Ttl>,
    fields: &[(&str, &str)],
) -> Client<T::Store> {
    let client = stranger(subject);
    let values: Vec<Bytes> = fields.iter().map(|(_, value)| bytes(value)).collect();
    let puts: Vec<FieldWrite<'_>> =
        fields.iter().zip(&values).map(|((name, _), value)| put(name, value)).collect();
    client.create(idle, absolute, &puts).await.expect("a new session can be created");
    client
}

impl<S: Store> Client<S> {
    fn credentials(&self) -> Credentials<'_> {
        Credentials { id: &self.id, secret: &self.secret }
    }

    /// The same session with another secret.
    pub(super) fn with(&self, secret: SecretHash) -> Self {
        Self { secret, ..self.clone() }
    }

    /// The same session through another connection.
    pub(super) fn through<T: Subject<Store = S>>(&self, subject: &T) -> Self {
        Self { store: subject.store(), ..self.clone() }
    }

    pub(super) async fn create(
        &self,
        idle: Option<Ttl>,
        absolute: Option<Ttl>,
        fields: &[FieldWrite<'_>],
    ) -> Result<(), StoreError> {
        let (id, secret) = (&self.id, &self.secret);
        let sign_in = None;
        self.store.create(Create { id, secret, idle, absolute, fields, sign_in }).await
    }

    /// Begins to exist with somebody signed in.
    pub(super) async fn create_for(
        &self,
        principal: &PrincipalKey,
        limit: Option<SessionLimit>,
    ) -> Result<(), StoreError> {
        let (id, secret) = (&self.id, &self.secret);
        let sign_in = Some(NewSignIn { principal, assurance: Assurance::Aal1, limit });
        let (idle, absolute) = (None, None);
        self.store.create(Create { id, secret, idle, absolute, fields: &[], sign_in }).await
    }

    /// Signs somebody in, with a new secret.
    pub(super) async fn sign_in(
        &self,
        principal: &PrincipalKey,
        limit: Option<SessionLimit>,
    ) -> Result<(Self, Lookup<Updated>), StoreError> {
        let new = self.with(secret());
        let who = NewSignIn { principal, assurance: Assurance::Aal1, limit };
        let sign = Some(AuthChange::In { who, idle: None, absolute: None });
        let update = Update { rotate: Some(&new.secret), sign, ..Update::default() };
        let answer = self.store.update(self.credentials(), update).await?;
        Ok((new, answer))
    }

    pub(super) async fn renew(
        &self,
        new: &SecretHash,
        every: Duration,
        grace: Duration,
    ) -> Lookup<Updated> {
        let renew = Some(Renew { secret: new, every: Ttl::require(every), grace });
        self.update(Update { renew, ..Update::default() }).await
    }

    /// Who is signed in; `None` also if the session is not found.
    pub(super) async fn signed_in(&self) -> Option<SignedIn> {
        match self.load(Projection::Named(&[]), None).await {
            Lookup::Found(loaded) => loaded.meta.signed_in,
            _ => None,
        }
    }

    pub(super) async fn load(
        &self,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Lookup<Loaded> {
        self.store.load(self.credentials(), fields, touch).await.expect("the store answers")
    }

    pub(super) async fn update(&self, update: Update<'_>) -> Lookup<Updated> {
        self.store.update(self.credentials(), update).await.expect("the store answers")
    }

    pub(super) async fn change(&self, changes: &[Change<'_>]) -> Lookup<Updated> {
        self.update(Update { changes, ..Update::default() }).await
    }

    pub(super) async fn set(&self, name: &str, value: &str) -> Lookup<Updated> {
        self.change(&[Change::Set(put(name, &bytes(value)))]).await
    }

    pub(super) async fn set_for(&self, name: &str, value: &str, ttl: Duration) -> Lookup<Updated> {
        let value = bytes(value);
        let ttl = Some(Ttl::require(ttl));
        self.change(&[Change::Set(FieldWrite { ttl, ..put(name, &value) })]).await
    }

    /// Sets a field if it holds what is expected.
    pub(super) async fn set_if(
        &self,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Lookup<Updated> {
        let (expected, value) = (expected.map(bytes), bytes(value));
        let expect = Some(Precondition { name, value: expected.as_ref() });
        let changes = &[Change::Set(put(name, &value))];
        self.update(Update { changes, precondition: expect, ..Update::default() }).await
    }

    pub(super) async fn remove(&self, name: &str) -> Lookup<Updated> {
        self.change(&[Change::Remove(name)]).await
    }

    pub(super) async fn expire(&self, name: &str, ttl: Duration) -> Lookup<Updated> {
        self.change(&[Change::Expire(name, Ttl::require(ttl))]).await
    }

    pub(super) async fn rotate(&self, secret: &SecretHash) -> Lookup<Updated> {
        self.update(Update { rotate: Some(secret), ..Update::default() }).await
    }

    pub(super) async fn take(&self, name: &str) -> Lookup<Option<Bytes>> {
        self.take_and_rotate(name, None).await
    }

    pub(super) async fn take_and_rotate(
        &self,
        name: &str,
        rotate: Option<&SecretHash>,
    ) -> Lookup<Option<Bytes>> {
        let take = TakeField { name, rotate, touch: None, sign_out: false };
        self.store.take(self.credentials(), take).await.expect("the store answers")
    }

    pub(super) async fn delete(&self) -> Lookup<()> {
        self.store.delete(self.credentials()).await.expect("the store answers")
    }

    /// All fields in order; `None` if the session is not found.
    pub(super) async fn fields(&self) -> Option<Vec<(String, String)>> {
        let Lookup::Found(loaded) = self.load(Projection::All, None).await else {
            return None;
        };
        let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
        let mut fields: Vec<_> = loaded
            .fields
            .iter()
            .map(|field| (field.name.to_string(), text(&field.value)))
            .collect();
        fields.sort();
        Some(fields)
    }

    /// What a field holds, read by its name.
    pub(super) async fn get(&self, name: &str) -> Option<String> {
        let Lookup::Found(loaded) = self.load(Projection::Named(&[name]), None).await else {
            return None;
        };
        let field = loaded.fields.first()?;
        Some(String::from_utf8_lossy(&field.value).into_owned())
    }

    pub(super) async fn holds(&self, fields: &[(&str, &str)]) {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(self.fields().await, Some(fields), "the session holds something else");
    }

    /// Makes every kind of call and checks that each is answered as `refused` says. None of the
    /// calls may have an effect.
    pub(super) async fn is_refused(&self, refused: Refused) {
        let other = secret();
        let touch = Some(Touch { idle: Ttl::from_secs(3600), after: Duration::ZERO });
        let hour = Duration::from_secs(3600);
        refused.check("load", self.load(Projection::All, touch).await);
        refused.check("load of metadata", self.load(Projection::Named(&[]), None).await);
        refused.check("set", self.set("a", "revived").await);
        refused.check("set of another", self.set_for("new", "revived", hour).await);
        refused.check("set of an absent field", self.set_if("absent", None, "revived").await);
        refused.check("removal", self.remove("a").await);
        refused.check("expiry", self.expire("a", hour).await);
        refused.check("rotation", self.rotate(&other).await);
        refused.check("touch", self.update(Update { touch, ..Update::default() }).await);
        let absolute = in_any_case(hour);
        refused.check("prolongation", self.update(Update { absolute, ..Update::default() }).await);
        let renewed = self.renew(&other, Duration::from_millis(1), hour).await;
        refused.check("renewal", renewed);
        let sign = Some(AuthChange::Out);
        refused.check("sign-out", self.update(Update { sign, ..Update::default() }).await);
        match self.sign_in(&principal(), None).await {
            Ok((_, answer)) => refused.check("sign-in", answer),
            Err(error) => panic!("the sign-in was answered by {error:?}"),
        }
        refused.check("take", self.take("a").await);
        refused.check("deletion", self.delete().await);
        refused.check(
            "load by the new secret",
            match self.with(other).load(Projection::All, None).await {
                Lookup::Found(_) => Lookup::Found(()),
                _ => refused.answer(),
            },
        );
    }
}

/// How a call that must have no effect is answered.
#[derive(Clone, Copy)]
pub(super) enum Refused {
    NotFound,
    Replaced,
    Ended,
    /// In any of these ways.
    Somehow,
}

impl Refused {
    fn answer<T>(self) -> Lookup<T> {
        match self {
            Self::NotFound => Lookup::NotFound,
            Self::Replaced => Lookup::Replaced { ago: Duration::ZERO },
            Self::Ended | Self::Somehow => Lookup::Ended { ago: Duration::ZERO },
        }
    }

    fn check<T: std::fmt::Debug>(self, call: &str, answer: Lookup<T>) {
        let right = match self {
            Self::NotFound => matches!(answer, Lookup::NotFound),
            Self::Replaced => matches!(answer, Lookup::Replaced { .. }),
            Self::Ended => matches!(answer, Lookup::Ended { .. }),
            Self::Somehow => !matches!(answer, Lookup::Found(_)),
        };
        assert!(right, "{call} was answered by {answer:?}");
    }
}

/// Starts all of these at the same moment, each on a task of its own, and waits for their results.
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

/// [`race`] of runners of different kinds.
pub(super) fn runner<T>(
    future: impl Future<Output = T> + Send + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(future)
}

pub(super) fn applied(found: usize) -> Lookup<Updated> {
    Lookup::Found(Updated::Applied { found })
}
