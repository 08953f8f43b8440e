use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

use super::StoreError;
use crate::{
    name::FieldName,
    principal::{Assurance, PrincipalKey},
    token::{SecretHash, SessionId},
    ttl::{CachePolicy, Ttl},
};

/// A place where sessions are kept.
///
/// A session is a id, a secret's hash, two deadlines, who is signed in, and named fields of bytes,
/// each with its own lifetime. Every method up to [`delete`](Self::delete) is **one atomic operation on
/// one session**, one round trip where the backend can do it in one, and these hold for every store:
///
/// - **R**, revocation: once a write, removal, rotation, deletion or revocation has returned `Ok`, no
///   later read anywhere yields the state before it. Of the sessions that had signed in when a
///   revocation began, none is left when it returns, and none that signs in meanwhile escapes it halfway.
/// - **N**, no resurrection: only [`create`](Self::create) brings a session into existence. No
///   interleaving of the other methods does.
/// - **M**, merging: parallel writes to different fields all survive; of parallel updates with the
///   same [`Precondition`], one is applied; [`take`](Self::take) hands a value out once.
/// - **E**, expiry: nothing is served at or after a field's expiry, the idle deadline or the
///   absolute deadline, by the clock of the server that keeps it.
/// - **A**, atomicity: an [`Update`] is applied whole or not at all.
/// - **T**, trips: any set of fields is read in one round trip and written in one.
///
/// `ruts::conformance` (feature of that name) proves them for any store.
///
/// Names of fields are those of [`is_field_name`](crate::is_field_name): nobody asks for others, and a
/// store may keep notes of its own under them.
///
/// # Security
///
/// An [`Credentials`] opens a session only if its hash is the session's own, or was until a
/// [renewal](Renew) whose grace is not over. Hashes are compared with `==` of [`SecretHash`], which takes
/// constant time, or inside the server. A id alone opens nothing; with the [`PrincipalKey`] of
/// whoever is signed in, it can be listed and ended.
///
/// # Cancellation
///
/// Dropping a future may leave the operation done or not done, never half done.
pub trait Store: Send + Sync + 'static {
    /// A short name for errors and traces, such as `"memory"`.
    fn name(&self) -> &'static str;

    /// Reads the named fields, or all, with the session's metadata. Fields that are not there are
    /// left out of the answer.
    fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> impl Future<Output = Result<Lookup<Loaded>, StoreError>> + Send;

    /// Brings a session into existence with its first fields.
    ///
    /// An existing session of that id is left alone:
    /// [`StoreErrorKind::Exists`](super::StoreErrorKind::Exists). With a sign-in it may also fail as
    /// [`update`](Self::update) does.
    fn create(&self, create: Create<'_>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Changes a session that exists.
    ///
    /// A sign-in beyond its limit changes nothing:
    /// [`StoreErrorKind::SessionLimit`](super::StoreErrorKind::SessionLimit). One that a revocation overtook is ended,
    /// or was never there: [`StoreErrorKind::Revoked`](super::StoreErrorKind::Revoked). A store that keeps
    /// its index on another node than its sessions needs more round trips for it, three at most as long as
    /// no limit is reached.
    fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> impl Future<Output = Result<Lookup<Updated>, StoreError>> + Send;

    /// Removes a field and hands out what it held; `None` if it held nothing.
    fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> impl Future<Output = Result<Lookup<Option<Bytes>>, StoreError>> + Send;

    /// Ends a session and frees its fields. From then on its secret is [`Lookup::Ended`].
    fn delete(
        &self,
        credentials: Credentials<'_>,
    ) -> impl Future<Output = Result<Lookup<()>, StoreError>> + Send;

    /// The metadata of a live session, for one who watches it and may not know its secret any more. `None`
    /// if it is over.
    fn inspect(
        &self,
        id: &SessionId,
    ) -> impl Future<Output = Result<Option<SessionMeta>, StoreError>> + Send;

    /// Waits until something may have happened to a session since this was called: it was ended, or
    /// somebody signed in or out. It is a hint: whoever waits looks after a while anyway. A store that
    /// cannot tell need not return.
    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        let _ = id;
        std::future::pending()
    }

    /// Lists the live sessions of a principal, in the order of their ids, with their metadata and
    /// the named fields. Neither secrets nor hashes are among them, nor what has ended.
    fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> impl Future<Output = Result<SessionPage, StoreError>> + Send;

    /// Ends sessions of a principal, and says which. Those that are not its own are left alone. Nothing is
    /// remembered of what was ended: from then on it is [`Lookup::NotFound`], so that who was signed out
    /// elsewhere can sign in at once.
    ///
    /// If it fails, some may have been ended: it can be repeated.
    fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Ends all sessions there are, in a time that does not depend on how many they are.
    fn revoke_everyone(&self) -> impl Future<Output = Result<Confirmed, StoreError>> + Send;

    /// Takes note that fields of that name are declared with this place in a cache tier. A store without
    /// one need not know. Called before a read that names such a field, if it is `Never` or `Checked`.
    fn hint_cache_policy(&self, name: &str, hot: CachePolicy) {
        let _ = (name, hot);
    }

    /// Frees the room of at most `limit` expired sessions and says of how many it did. For stores
    /// whose backend does so by itself, nothing is left to do.
    fn delete_expired(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// The right to use a session: its name and the proof.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The name of the session.
    pub id: &'a SessionId,
    /// The hash of the secret that the client presented.
    pub secret: &'a SecretHash,
}

/// Whether an [`Credentials`] opened a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It did, and this is the answer.
    Found(T),
    /// It did, and this is the answer: in the store of record it is done. But a cache before it could
    /// not be told, and may give answers from before for as long as `within`.
    Unconfirmed {
        /// The answer.
        answer: T,
        /// For how long promise R is not kept.
        within: Duration,
    },
    /// The secret is the one that the session's last rotation replaced, and its grace, if it had one, is
    /// over. Nothing was done.
    Replaced {
        /// How long ago it last opened the session, by the clock of the server.
        ago: Duration,
    },
    /// The secret is the one that the session had when it was [deleted](Store::delete). Nothing was
    /// done. Remembered for [`ENDED_RETENTION`] at least.
    Ended {
        /// How long ago that was, by the clock of the server.
        ago: Duration,
    },
    /// There is no live session of that id, or the secret was never its own. Nothing was done.
    NotFound,
}

/// How long a request may be on its way. For this long after a deletion a store tells the last
/// secret from one that never existed, so that a request that comes too late starts no session.
pub const ENDED_RETENTION: Duration = Duration::from_secs(60);

impl<T> Lookup<T> {
    /// The same answer about something else.
    pub fn map<U>(self, found: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(answer) => Lookup::Found(found(answer)),
            Self::Unconfirmed { answer, within } => {
                Lookup::Unconfirmed { answer: found(answer), within }
            }
            Self::Replaced { ago } => Lookup::Replaced { ago },
            Self::Ended { ago } => Lookup::Ended { ago },
            Self::NotFound => Lookup::NotFound,
        }
    }
}

/// Which fields to read.
#[derive(Debug, Clone, Copy)]
pub enum Projection<'a> {
    /// All of them.
    All,
    /// These, no name twice. An empty list reads the metadata alone.
    Named(&'a [&'a str]),
}

/// Asks that an authorised use count as activity.
///
/// The idle deadline moves to `idle` from now, if at least `after` of it has passed already: most
/// reads then write nothing. Only the idle deadline moves, and never past the absolute one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The idle time to grant.
    pub idle: Ttl,
    /// How much of it must have passed before it is granted anew.
    pub after: Duration,
}

/// A session as a read found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its age and deadlines.
    pub meta: SessionMeta,
    /// The live fields among those asked for, in any order.
    pub fields: Vec<StoredField>,
}

/// A session's age and deadlines, and who is signed in, all by the clock of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionMeta {
    /// Time since it was created.
    pub age: Duration,
    /// Time since its secret was issued.
    pub secret_age: Duration,
    /// Time since a use of it last counted: at its creation, by a [`Touch`] that was due, at a sign-in.
    pub unused: Duration,
    /// Time left until the idle deadline, after any [`Touch`]; `None` without one.
    pub idle: Option<Duration>,
    /// Time left until the absolute deadline; `None` without one.
    pub absolute: Option<Duration>,
    /// Who is signed in.
    pub signed_in: Option<SignedIn>,
    /// It was opened by the secret that a [renewal](Renew) has replaced.
    pub by_former: bool,
}

impl SessionMeta {
    /// What it is that long after, if nothing happens meanwhile.
    pub(crate) fn later(self, since: Duration) -> Self {
        let left = |left: Duration| left.saturating_sub(since);
        Self {
            age: self.age.saturating_add(since),
            secret_age: self.secret_age.saturating_add(since),
            unused: self.unused.saturating_add(since),
            idle: self.idle.map(left),
            absolute: self.absolute.map(left),
            signed_in: self.signed_in.map(|signed_in| SignedIn {
                ago: signed_in.ago.saturating_add(since),
                ..signed_in
            }),
            by_former: self.by_former,
        }
    }
}

/// Who is signed in, and how that came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedIn {
    /// Who it is.
    pub principal: PrincipalKey,
    /// How sure one was of that.
    pub assurance: Assurance,
    /// How long ago that was.
    pub ago: Duration,
}

/// A field as a read found it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredField {
    /// Its name.
    pub name: FieldName,
    /// Its value.
    pub value: Bytes,
    /// What is left of its own lifetime; `None` if it has none.
    pub ttl: Option<Duration>,
    /// Its place in a cache tier.
    pub hot: CachePolicy,
}

/// A session to bring into existence.
#[derive(Debug, Clone, Copy)]
pub struct Create<'a> {
    /// Its name.
    pub id: &'a SessionId,
    /// The hash of its secret.
    pub secret: &'a SecretHash,
    /// Time until the idle deadline.
    pub idle: Option<Ttl>,
    /// Time until the absolute deadline.
    pub absolute: Option<Ttl>,
    /// Its first fields.
    pub fields: &'a [FieldWrite<'a>],
    /// Who signs in with it.
    pub sign_in: Option<NewSignIn<'a>>,
}

/// Somebody to sign in.
#[derive(Debug, Clone, Copy)]
pub struct NewSignIn<'a> {
    /// Who it is.
    pub principal: &'a PrincipalKey,
    /// How sure one is of that.
    pub assurance: Assurance,
    /// How many sessions it may have.
    pub limit: Option<SessionLimit>,
}

/// How many live sessions a principal may have at a time, the one that signs in included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimit {
    /// That many; at least one.
    pub sessions: u32,
    /// What happens to those beyond.
    pub on_limit: OnLimit,
}

/// What happens when somebody signs in once more than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLimit {
    /// The sign-in is refused.
    Reject,
    /// The sessions that signed in first are ended.
    EndOldest,
}

/// A field to write.
#[derive(Clone, Copy)]
pub struct FieldWrite<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a Bytes,
    /// Its own lifetime from now; `None` takes away the one it had.
    pub ttl: Option<Ttl>,
    /// Its place in a cache tier.
    pub hot: CachePolicy,
}

/// One change to one field.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Write it, whether it is there or not.
    Set(FieldWrite<'a>),
    /// Remove it.
    Remove(&'a str),
    /// Give it that long to live from now. A field that is not there stays so.
    Expire(&'a str, Ttl),
}

impl<'a> Change<'a> {
    /// The name of the field.
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Set(put) => put.name,
            Self::Remove(name) | Self::Expire(name, _) => name,
        }
    }
}

/// Changes to apply together, in this order, or not at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Update<'a> {
    /// The changes to fields.
    pub changes: &'a [Change<'a>],
    /// Apply only if a field is as expected.
    pub precondition: Option<Precondition<'a>>,
    /// Replace the session's secret. From then on the old one is [`Lookup::Replaced`]. Replacing it
    /// by itself, as a repeated attempt may do, changes nothing.
    pub rotate: Option<&'a SecretHash>,
    /// Replace the session's secret if it is old, with a grace for the one before.
    pub renew: Option<Renew<'a>>,
    /// Move the absolute deadline, but never beyond the one that a sign-in set.
    pub absolute: Option<AbsoluteDeadline>,
    /// Count as activity.
    pub touch: Option<Touch>,
    /// Sign somebody in or out.
    pub sign: Option<AuthChange<'a>>,
}

/// A secret to be replaced because it is old, although nothing else has changed.
///
/// Nobody may ever get the new one, so the former stays as good as it was until the new one is used for
/// the first time: by a write, or by a read with a [`Touch`]. From then on it opens the session for a
/// grace: it reads, writes fields and ends the session, but it is no activity, and with it nobody
/// replaces the secret, moves a deadline, signs in or out: that is [`Lookup::Replaced`].
#[derive(Debug, Clone, Copy)]
pub struct Renew<'a> {
    /// The new one.
    pub secret: &'a SecretHash,
    /// How old the session's secret has to be, whether it was used or not; else the answer is
    /// [`Updated::NotDue`].
    pub every: Ttl,
    /// The grace.
    pub grace: Duration,
}

/// A change of who is signed in.
#[derive(Debug, Clone, Copy)]
pub enum AuthChange<'a> {
    /// Somebody signs in, or authenticates again: the deadlines begin anew.
    In {
        /// Who does.
        who: NewSignIn<'a>,
        /// Time until the idle deadline.
        idle: Option<Ttl>,
        /// Time until the absolute deadline.
        absolute: Option<Ttl>,
    },
    /// Nobody is signed in any more. The deadlines stay.
    Out,
}

/// A moment, the earlier of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsoluteDeadline {
    /// This long from now.
    pub from_now: Ttl,
    /// This long from the session's creation.
    pub from_creation: Option<Ttl>,
}

/// What a field must hold for an [`Update`] to be applied.
#[derive(Clone, Copy)]
pub struct Precondition<'a> {
    /// The name of the field.
    pub name: &'a str,
    /// Its value, byte for byte; `None` if it must not be there.
    pub value: Option<&'a Bytes>,
}

/// What an [`Update`] came to.
#[derive(Clone, PartialEq, Eq)]
pub enum Updated {
    /// It was applied.
    Applied {
        /// How many of its removals and expiries found their field.
        found: usize,
    },
    /// The secret is not old enough to be [renewed](Update::renew). Nothing was changed.
    NotDue,
    /// The [`Precondition`]ation failed. Nothing was changed, the secret included.
    Conflict {
        /// What the field holds instead.
        current: Option<Bytes>,
    },
}

/// A field to remove and hand out.
#[derive(Debug, Clone, Copy)]
pub struct TakeField<'a> {
    /// Its name.
    pub name: &'a str,
    /// Replace the session's secret, whether or not the field holds something.
    pub rotate: Option<&'a SecretHash>,
    /// Count as activity.
    pub touch: Option<Touch>,
    /// Sign out whoever is signed in.
    pub sign_out: bool,
}

/// Part of a list.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// Begin behind this session; with `None` at the first.
    pub after: Option<&'a SessionId>,
    /// Look at no more sessions than this, at least one.
    pub limit: usize,
}

/// A page of the live sessions of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionPage {
    /// In the order of their ids.
    pub sessions: Vec<ListedSession>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<SessionId>,
}

/// A session of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// Its name.
    pub id: SessionId,
    /// What a read would find.
    pub loaded: Loaded,
}

/// Which sessions of a principal to end.
#[derive(Debug, Clone, Copy)]
pub enum RevokeTarget<'a> {
    /// This one.
    One(&'a SessionId),
    /// All, but perhaps this one.
    All {
        /// The one to leave.
        except: Option<&'a SessionId>,
    },
}

/// The sessions that a revocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Which they are, in any order.
    pub ids: Vec<SessionId>,
    /// Whether everybody was told.
    pub confirmed: Confirmed,
}

/// Whether everybody was told of what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// Nobody answers with what was before.
    Yes,
    /// In the store of record it is done. But a cache before it could not be told, and may give answers
    /// from before for as long as this.
    Within(Duration),
}

/// Values are shown as their lengths.
impl fmt::Debug for StoredField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredField")
            .field("name", &self.name)
            .field("bytes", &self.value.len())
            .field("ttl", &self.ttl)
            .field("hot", &self.hot)
            .finish()
    }
}

/// Values are shown as their lengths.
impl fmt::Debug for FieldWrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldWrite")
            .field("name", &self.name)
            .field("bytes", &self.value.len())
            .field("ttl", &self.ttl)
            .field("hot", &self.hot)
            .finish()
    }
}

/// Values are shown as their lengths.
impl fmt::Debug for Precondition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Precondition")
            .field("name", &self.name)
            .field("bytes", &self.value.map(Bytes::len))
            .finish()
    }
}

/// Values are shown as their lengths.
impl fmt::Debug for Updated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { found } => f.debug_struct("Applied").field("found", found).finish(),
            Self::NotDue => f.write_str("NotDue"),
            Self::Conflict { current } => {
                let bytes = current.as_ref().map(Bytes::len);
                f.debug_struct("Conflict").field("bytes", &bytes).finish()
            }
        }
    }
}

/// A [`Store`], or an [`Arc`] of one.
pub trait IntoStore {
    /// The store.
    type Store: Store;

    /// The store, shared.
    fn into_store(self) -> Arc<Self::Store>;
}

impl<S: Store> IntoStore for S {
    type Store = S;

    fn into_store(self) -> Arc<S> {
        Arc::new(self)
    }
}

impl<S: Store> IntoStore for Arc<S> {
    type Store = S;

    fn into_store(self) -> Self {
        self
    }
}

impl<S: Store> IntoStore for &Arc<S> {
    type Store = S;

    fn into_store(self) -> Arc<S> {
        Arc::clone(self)
    }
}
