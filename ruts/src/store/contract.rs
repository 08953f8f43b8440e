//! The contract of a session store: the [`Store`] trait.
//!
//! Implemented by the stores of this crate and of other crates. Called by the session through
//! `dyn_store`, and by stores that wrap another store. Knows nothing about types, codecs, cookies
//! or HTTP.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    error::StoreError,
    request::{
        Create, Credentials, PageRequest, Projection, RevokeTarget, TakeField, Touch, Update,
    },
    response::{Expiry, Loaded, Refused, SessionMeta, SessionPage, Updated, Written},
};
use crate::{auth::PrincipalKey, cache_policy::CachePolicy, token::SessionId};

/// Minimum time for which a store recognises the current secret of a deleted session.
///
/// During this time, a store distinguishes a late request from a request with an unknown secret. So
/// a late write does not start a new session.
pub const DELETED_RETENTION: Duration = Duration::from_secs(60);

/// Maximum time for which a store recognises the current and the former secret of a revoked
/// session. If the session had an earlier deadline, the time ends at that deadline.
///
/// If the user returns within this time, the application can report that the session was revoked.
/// Nothing else depends on this time.
pub const REVOKED_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The answer to an operation with [`Credentials`]. The outer error is a failure of the store. The
/// inner error is the reason why the credentials were not accepted.
pub type StoreResult<T> = Result<Result<T, Refused>, StoreError>;

/// A session store.
///
/// A session has an id, the hash of a secret, up to two deadlines, perhaps a principal, and named
/// fields. A field holds bytes and may have a TTL.
///
/// # Contract
///
/// Every method from [`load`](Self::load) to [`delete`](Self::delete) is **one atomic operation on
/// one session**. Each takes one round trip if the backend allows that. These promises hold for
/// every store:
///
/// | | promise |
/// | --- | --- |
/// | **R**, recency | After a write, removal, rotation, deletion or revocation has returned `Ok`, no later read anywhere yields the earlier state. Before a revocation returns `Ok`, it ends each targeted session whose sign-in was complete when the revocation began. If a sign-in overlaps with the revocation, either its session ends too, or the sign-in counts as the later of the two. |
/// | **N**, no revival | Only [`create`](Self::create) brings a session into existence. No interleaving of the other methods does. |
/// | **M**, merging | Parallel writes to different fields all survive. If parallel updates change a field under the same [`Precondition`](super::Precondition) on that field, only one of them is applied. [`take`](Self::take) returns a value only once. |
/// | **E**, expiry | A field is not served at or after its expiry. A session is not served at or after its idle or absolute deadline. The clock of the server that keeps the session decides. |
/// | **A**, atomicity | An [`Update`] is applied as a whole or not at all. |
/// | **T**, trips | A read of any set of fields takes one round trip, and so does a write. A store may need one more round trip, for example to move the idle deadline. |
///
/// The conformance suite (`ruts::conformance`) checks every promise except T, for any store.
///
/// A field name satisfies [`is_field_name`](crate::field::is_field_name). For data of its own, a
/// store may use names that no field can have.
///
/// # Security
///
/// A store accepts the [`Credentials`] of a client only if they have the hash of the current
/// secret, or of a valid former secret. A former secret is valid until the grace period of its
/// [renewal](super::Renew) is over. Compare hashes with `==` of
/// [`SecretHash`](crate::token::SecretHash), which takes constant time, or inside the server. An id
/// grants no access by itself. With a [`PrincipalKey`], a caller can list and end the sessions of
/// that principal. No client can present [internal](super::Proof::Internal) credentials. A store
/// accepts them for any live session. They have the rights of a former secret in its grace period,
/// and can also touch the session.
///
/// # Cancel safety
///
/// If the future of an operation on one session is dropped, the operation is done or not done,
/// never half done. An operation that ends several sessions may have ended only some of them.
///
/// # No trait objects
///
/// There is no `dyn Store`. The type of a [`SessionLayer`](crate::SessionLayer) does not depend on
/// its store. If an application chooses its store at run time, it creates the layer in each branch:
///
/// ```
/// use std::sync::Arc;
/// use ruts::{SessionLayer, store::{Store, memory::MemoryStore}};
///
/// # fn other() -> MemoryStore { MemoryStore::new() }
/// fn sessions(in_memory: bool) -> SessionLayer {
///     match in_memory {
///         true => SessionLayer::new(MemoryStore::new()),
///         false => SessionLayer::new(other()),
///     }
/// }
/// # drop(sessions(true));
/// ```
///
/// # Minimal implementation
///
/// A backend that can lock one record at a time implements [`RecordStore`](super::RecordStore)
/// instead. That trait has six to nine short methods around a
/// [`SessionRecord`](super::SessionRecord), which holds the rules of a session. Every `RecordStore`
/// is a `Store`. The repository's `examples/custom-store` keeps sessions in files that way.
///
/// # Wrappers
///
/// A store around another store forwards **every** method, including the methods with a default
/// implementation. The default of [`expiry`](Self::expiry),
/// [`wait_for_change`](Self::wait_for_change) or [`hint_cache_policy`](Self::hint_cache_policy)
/// would hide the method of the inner store. `#[deny(clippy::missing_trait_methods)]` on the
/// implementation makes Clippy check this.
pub trait Store: Send + Sync + 'static {
    /// Returns a short name for errors and traces, such as `"memory"`.
    fn name(&self) -> &'static str;

    /// Reads fields and the metadata. Absent fields are left out of the answer.
    fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> impl Future<Output = StoreResult<Loaded>> + Send;

    /// Creates a session with its first fields.
    ///
    /// # Errors
    ///
    /// [`Exists`](super::StoreErrorKind::Exists) if a session with that id exists. That session
    /// stays unchanged. A creation with a sign-in can also fail with the errors of
    /// [`update`](Self::update).
    fn create(
        &self,
        create: Create<'_>,
    ) -> impl Future<Output = Result<Written<()>, StoreError>> + Send;

    /// Changes a session.
    ///
    /// If a store keeps the session and the list of its principal on different nodes, a sign-in
    /// takes three round trips. It takes more if other sessions have to end because of the limit.
    ///
    /// # Errors
    ///
    /// - [`SessionLimit`](super::StoreErrorKind::SessionLimit) if the limit of a sign-in refuses
    ///   it. The session stays unchanged.
    /// - [`Revoked`](super::StoreErrorKind::Revoked) if a revocation overtook a sign-in. The
    ///   session has ended, or was never created.
    fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> impl Future<Output = StoreResult<Written<Updated>>> + Send;

    /// Removes a field and returns its value, or `None` if the field was absent.
    fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> impl Future<Output = StoreResult<Written<Option<Bytes>>>> + Send;

    /// Ends a session and frees its fields. For at least [`DELETED_RETENTION`], its secret is
    /// refused with [`Refused::Deleted`].
    fn delete(
        &self,
        credentials: Credentials<'_>,
    ) -> impl Future<Output = StoreResult<Written<()>>> + Send;

    /// Returns the metadata of a live session, or `None` if no live session has this id. Needs no
    /// secret, because the secret that a watcher knows may have been replaced.
    fn inspect(
        &self,
        id: &SessionId,
    ) -> impl Future<Output = Result<Option<SessionMeta>, StoreError>> + Send;

    /// Returns the deadline that ended a session. Called after an operation was refused with
    /// [`NotFound`](Refused::NotFound). Returns `None` if no deadline ended the session, or if the
    /// store has freed the session. A store may free an expired session immediately.
    ///
    /// The default implementation returns `None`.
    fn expiry(
        &self,
        id: &SessionId,
    ) -> impl Future<Output = Result<Option<Expiry>, StoreError>> + Send {
        let _ = id;
        std::future::ready(Ok(None))
    }

    /// Waits until a session may have ended or changed its principal since this call.
    ///
    /// A store may miss a change, so the caller also has to check the session at intervals. In a
    /// store that cannot notice changes, the future never completes. The default implementation
    /// returns such a future.
    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        let _ = id;
        std::future::pending()
    }

    /// Lists the live sessions of a principal, ordered by id, with their metadata and the named
    /// fields. The answer contains neither secrets nor their hashes.
    fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> impl Future<Output = Result<SessionPage, StoreError>> + Send;

    /// Ends sessions of a principal and returns their ids. Sessions of other principals stay.
    ///
    /// Then the store refuses the current and the former secret of such a session with
    /// [`Refused::Revoked`]. It does so until the deadline that the session had, but for no longer
    /// than [`REVOKED_RETENTION`]. The fields of the session are freed, and no list contains the
    /// session. A store that lacks space may forget the session earlier. A session that is ended by
    /// a [limit](super::SessionLimit) counts as revoked, too.
    ///
    /// # Errors
    ///
    /// After an error, some sessions may have ended. The caller has to repeat the call.
    fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> impl Future<Output = Result<Written<Vec<SessionId>>, StoreError>> + Send;

    /// Ends all sessions. Their secrets are then refused with [`Refused::Revoked`], as after
    /// [`revoke`](Self::revoke). If a store keeps no record of these sessions, it answers
    /// [`Refused::NotFound`].
    fn revoke_everyone(&self) -> impl Future<Output = Result<Written<()>, StoreError>> + Send;

    /// Announces the cache policy of a field before the first read of the field. A store without a
    /// cache ignores the policy. Called only for [`NoStore`](CachePolicy::NoStore) and
    /// [`Revalidate`](CachePolicy::Revalidate).
    fn hint_cache_policy(&self, name: &str, policy: CachePolicy) {
        let _ = (name, policy);
    }

    /// Frees the space of at most `limit` expired sessions and returns their number. Returns zero
    /// if the backend itself frees expired sessions.
    fn delete_expired(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// A [`Store`], an [`Arc`] of a store, or a reference to such an `Arc`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session store",
    label = "expected a store, an `Arc` of a store, or a reference to such an `Arc`",
    note = "a store that is borrowed cannot be kept: pass `store.clone()`, or put the store into an `Arc` and \
            pass `&store`",
    note = "call `build` to turn a builder into a store",
    note = "there is no `dyn Store`: the type of a `SessionLayer` does not depend on its store, so \
            create the layer where the type of the store is known"
)]
pub trait IntoStore {
    /// Type of the store.
    type Store: Store;

    /// Returns the store in an [`Arc`].
    fn into_store(self) -> Arc<Self::Store>;
}

#[diagnostic::do_not_recommend] // otherwise errors would be about `Store` or `RecordStore`
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
