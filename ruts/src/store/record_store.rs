//! A smaller trait for backends that can lock one record at a time: [`RecordStore`].
//!
//! Every `RecordStore` is a [`Store`]: the implementation below composes the operations of the
//! contract from [`SessionRecord`]. It knows nothing about backends.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use tokio::task::yield_now;

use super::{
    contract::{Store, StoreResult},
    error::{StoreError, StoreErrorKind},
    record::SessionRecord,
    request::{
        AuthChange, Create, Credentials, NewSignIn, PageRequest, Projection, RevokeTarget,
        TakeField, Touch, Update,
    },
    response::{
        Expiry, ListedSession, Loaded, Refused, SessionMeta, SessionPage, Updated, Written,
    },
};
use crate::{auth::PrincipalKey, token::SessionId};

/// Number of sessions that a revocation ends before it releases the lock of the principal for a
/// moment.
const STEP: usize = 256;

/// A backend that keeps one [`SessionRecord`] for each session, and can lock a single record.
///
/// Each implementation is a [`Store`] and keeps the whole contract of a store. Most operations call
/// [`with_record`](Self::with_record) once. A change of the principal, or the end of a signed-in
/// session, takes several calls. An operation takes one more call for each other session that it
/// lists, counts or ends.
///
/// # Contract
///
/// - [`with_record`](Self::with_record) is exclusive for each session: no other call of any process
///   sees or changes the record during the call.
/// - [`lock_principal`](Self::lock_principal) grants one lock at a time for each principal, or one
///   for all principals together. The lock may be held across any number of calls of `with_record`.
/// - [`sessions_of`](Self::sessions_of) may list sessions that have ended, but never omits a live
///   session.
///
/// The repository's `examples/custom-store` is a complete implementation.
pub trait RecordStore: Send + Sync + 'static {
    /// The exclusive right to a principal's list of sessions. Dropping it releases the right.
    type PrincipalLock: Send;

    /// Returns a short name for errors and traces, such as `"file"`.
    fn name(&self) -> &'static str;

    /// Runs `operation` on the record of a session under its lock, and stores the result.
    ///
    /// `operation` gets `None` if there is no record. If `operation` leaves a record that [was
    /// modified](SessionRecord::is_modified), store that record. If `operation` leaves `None`,
    /// remove the record. The [`Duration`] is the current time, read under the lock and counted
    /// from a point in time that the store chooses once.
    ///
    /// A dropped future must leave the old record or the new one, never a mixture of both.
    fn with_record<T: Send>(
        &self,
        id: &SessionId,
        operation: impl FnOnce(&mut Option<SessionRecord>, Duration) -> T + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// Waits for the exclusive right to a principal's list of sessions.
    fn lock_principal(
        &self,
        principal: &PrincipalKey,
    ) -> impl Future<Output = Result<Self::PrincipalLock, StoreError>> + Send;

    /// Returns the ids of the principal's sessions, in any order. If two sessions have the same
    /// sign-in time, the session limit first ends the one that comes first in the answer.
    fn sessions_of(
        &self,
        principal: &PrincipalKey,
        lock: &mut Self::PrincipalLock,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Returns at most `limit` ids of the principal's sessions after `after`, in ascending order.
    /// The default implementation sorts the ids of [`sessions_of`](Self::sessions_of).
    fn page_of(
        &self,
        principal: &PrincipalKey,
        after: Option<&SessionId>,
        limit: usize,
        lock: &mut Self::PrincipalLock,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        async move {
            let mut ids = self.sessions_of(principal, lock).await?;
            ids.retain(|id| after.is_none_or(|after| id > after));
            ids.sort_unstable();
            ids.truncate(limit);
            Ok(ids)
        }
    }

    /// Adds a session to the principal's list, before the sign-in. A backend that can search its
    /// records needs no list.
    fn add_to_list(
        &self,
        principal: &PrincipalKey,
        id: &SessionId,
        lock: &mut Self::PrincipalLock,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = (principal, id, lock);
        std::future::ready(Ok(()))
    }

    /// Removes a session from the principal's list, after the session ended or changed its
    /// principal, or after its creation or sign-in failed.
    fn remove_from_list(
        &self,
        principal: &PrincipalKey,
        id: &SessionId,
        lock: &mut Self::PrincipalLock,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = (principal, id, lock);
        std::future::ready(Ok(()))
    }

    /// Returns at most `limit` sessions whose records may no longer have to be
    /// [retained](SessionRecord::is_retained).
    fn expired(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Ends all sessions: removes their records, or [revokes](SessionRecord::revoke) each session,
    /// so that its secret stays recognised. Callers wait for this method, so it has to be fast with
    /// many sessions.
    fn end_all(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits until a session may have ended or changed its principal:
    /// [`Store::wait_for_change`]. The default implementation never completes.
    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        let _ = id;
        std::future::pending()
    }
}

#[diagnostic::do_not_recommend] // otherwise errors would ask for a `RecordStore`
impl<S: RecordStore> Store for S {
    fn name(&self) -> &'static str {
        RecordStore::name(self)
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let Credentials { id, proof } = credentials;
        self.with_record(id, |record, now| match record {
            Some(record) => record.load(proof, fields, touch, now),
            None => Err(Refused::NotFound),
        })
        .await
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        let Some(who) = create.sign_in else {
            return insert(self, &create).await.map(Written::new);
        };
        let mut lock = self.lock_principal(who.principal).await?;
        let ended = end_oldest(self, create.id, &who, &mut lock).await?;
        let after_some = |error| after_some(self, &ended, error);
        self.add_to_list(who.principal, create.id, &mut lock).await.map_err(after_some)?;
        let inserted = insert(self, &create).await.map_err(after_some);
        if inserted.is_err() {
            keep_listed(self, unlist(self, who.principal, create.id, &mut lock).await);
        }
        inserted.map(Written::new)
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let Credentials { id, proof } = credentials;
        let apply = |record: &mut SessionRecord, now| record.update(proof, &update, now);
        let Some(AuthChange::In { who, .. }) = update.auth_change else {
            return change(self, id, apply).await;
        };
        let would_apply = |record: &mut Option<SessionRecord>, now| match record {
            Some(record) => record.would_apply(proof, &update, now),
            None => Err(Refused::NotFound),
        };
        let mut lock = self.lock_principal(who.principal).await?;
        // A refused sign-in must not end other sessions, so the update is checked first.
        let mut ended = Vec::new();
        match self.with_record(id, would_apply).await? {
            Ok(true) => {
                ended = end_oldest(self, id, &who, &mut lock).await?;
                let listed = self.add_to_list(who.principal, id, &mut lock).await;
                listed.map_err(|error| after_some(self, &ended, error))?;
            }
            Ok(false) => {}
            Err(refused) => return Ok(Err(refused)),
        }
        let changed = change_record(self, id, apply).await;
        let (answer, left) = changed.map_err(|error| after_some(self, &ended, error))?;
        keep_listed(self, unlist(self, who.principal, id, &mut lock).await);
        drop(lock);
        if let Some(former) = left.filter(|former| former != who.principal) {
            keep_listed(self, unlist_from(self, &former, id).await);
        }
        Ok(answer)
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let Credentials { id, proof } = credentials;
        change(self, id, |record, now| record.take(proof, &take, now)).await
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let Credentials { id, proof } = credentials;
        change(self, id, |record, now| record.delete(proof, now)).await
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        self.with_record(id, |record, now| record.as_ref()?.inspect(now)).await
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        self.with_record(id, |record, now| record.as_ref()?.expiry(now)).await
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        RecordStore::wait_for_change(self, id)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let mut lock = self.lock_principal(principal).await?;
        let limit = page.limit.max(1);
        let ids = self.page_of(principal, page.after, limit.saturating_add(1), &mut lock).await?;
        drop(lock);
        let next = ids.get(limit).and(ids.get(limit - 1)).copied();
        let mut listed = SessionPage::new(Vec::new(), next);
        for id in ids.into_iter().take(limit) {
            let load = |record: &mut Option<SessionRecord>, now| {
                record.as_ref()?.load_for(principal, fields, now)
            };
            if let Some(loaded) = self.with_record(&id, load).await? {
                listed.sessions.push(ListedSession::new(id, loaded));
            }
        }
        Ok(listed)
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        let mut lock = self.lock_principal(principal).await?;
        let mut ids = self.sessions_of(principal, &mut lock).await?;
        ids.retain(|id| target.includes(id));
        let mut ended = Vec::new();
        for (step, ids) in ids.chunks(STEP).enumerate() {
            if step > 0 {
                // Other operations get the lock between two steps. If the principal signs in to a
                // session in that time, the session stays.
                drop(lock);
                yield_now().await;
                let locked = self.lock_principal(principal).await;
                lock = locked.map_err(|error| after_some(self, &ended, error))?;
            }
            for id in ids {
                let revoked = revoke_one(self, principal, id, &mut lock).await;
                if revoked.map_err(|error| after_some(self, &ended, error))? {
                    ended.push(*id);
                }
            }
        }
        Ok(Written::new(ended))
    }

    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        self.end_all().await.map(Written::new)
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let mut freed = 0;
        for id in self.expired(limit).await? {
            let removed = self.with_record(&id, |record, now| {
                let expired = record.take_if(|record| !record.is_retained(now))?;
                Some(expired.principal())
            });
            if let Some(principal) = removed.await? {
                freed += 1;
                if let Some(principal) = principal {
                    keep_listed(self, unlist_from(self, &principal, &id).await);
                }
            }
        }
        Ok(freed)
    }
}

async fn insert<S: RecordStore>(store: &S, create: &Create<'_>) -> Result<(), StoreError> {
    let inserted = store.with_record(create.id, |record, now| {
        let is_free = !record.as_ref().is_some_and(|held| held.is_retained(now));
        if is_free {
            *record = Some(SessionRecord::new(create, now));
        }
        is_free
    });
    match inserted.await? {
        true => Ok(()),
        false => Err(StoreError::new(RecordStore::name(store), StoreErrorKind::Exists)),
    }
}

/// Changes a session, and removes it from the list of a principal that is no longer signed in.
async fn change<S: RecordStore, T: Send>(
    store: &S,
    id: &SessionId,
    operation: impl FnOnce(&mut SessionRecord, Duration) -> Result<T, Refused> + Send,
) -> StoreResult<Written<T>> {
    let (answer, left) = change_record(store, id, operation).await?;
    if let Some(former) = left {
        keep_listed(store, unlist_from(store, &former, id).await);
    }
    Ok(answer)
}

/// Logs the failure to remove a session from a list. The operation has succeeded before, so it must
/// not return this failure. A list may contain sessions that have ended.
fn keep_listed<S: RecordStore>(store: &S, unlisted: Result<(), StoreError>) {
    if let Err(error) = unlisted {
        let cause: &dyn std::error::Error = &error;
        let store = RecordStore::name(store);
        tracing::warn!(store, error = cause, "a session stays on the list of its former principal");
    }
}

/// Returns the error of an operation that has ended some sessions before. Nothing else is certain,
/// unless the error says that a session exists: its caller tries another id.
fn after_some<S: RecordStore>(store: &S, ended: &[SessionId], error: StoreError) -> StoreError {
    if ended.is_empty() || error.kind() == StoreErrorKind::Exists {
        return error;
    }
    StoreError::new(RecordStore::name(store), StoreErrorKind::OutcomeUnknown).with_source(error)
}

/// Changes a session. Also returns the principal that is no longer signed in.
async fn change_record<S: RecordStore, T: Send>(
    store: &S,
    id: &SessionId,
    operation: impl FnOnce(&mut SessionRecord, Duration) -> Result<T, Refused> + Send,
) -> Result<(Result<Written<T>, Refused>, Option<PrincipalKey>), StoreError> {
    let changed = store.with_record(id, |record, now| {
        let Some(record) = record else { return (Err(Refused::NotFound), None) };
        let former = record.principal();
        let answer = operation(record, now).map(Written::new);
        (answer, former.filter(|_| record.principal() != former))
    });
    changed.await
}

/// Ends the oldest sessions of the principal, so that the session `own` fits under the limit.
/// Returns the ended sessions.
async fn end_oldest<S: RecordStore>(
    store: &S,
    own: &SessionId,
    who: &NewSignIn<'_>,
    lock: &mut S::PrincipalLock,
) -> Result<Vec<SessionId>, StoreError> {
    let mut ended = Vec::new();
    let Some(limit) = who.limit else { return Ok(ended) };
    let mut live = Vec::new();
    for id in store.sessions_of(who.principal, lock).await? {
        let since = |record: &mut Option<SessionRecord>, now| {
            let record = record.as_ref().filter(|held| held.belongs_to(who.principal, now))?;
            record.signed_in_at()
        };
        if id != *own
            && let Some(since) = store.with_record(&id, since).await?
        {
            live.push((since, id));
        }
    }
    let Some(beyond) = limit.beyond(live) else {
        return Err(StoreError::new(RecordStore::name(store), StoreErrorKind::SessionLimit));
    };
    for id in beyond {
        let revoked = revoke_one(store, who.principal, &id, lock).await;
        revoked.map_err(|error| after_some(store, &ended, error))?;
        ended.push(id);
    }
    Ok(ended)
}

/// Revokes a session if it is live and the principal is signed in to it. Returns whether it was
/// revoked. Removes the session from the principal's list in any case.
async fn revoke_one<S: RecordStore>(
    store: &S,
    principal: &PrincipalKey,
    id: &SessionId,
    lock: &mut S::PrincipalLock,
) -> Result<bool, StoreError> {
    let revoke = |record: &mut Option<SessionRecord>, now| {
        let live = record.as_mut().filter(|record| record.belongs_to(principal, now));
        live.map(|record| record.revoke(now)).is_some()
    };
    let was_live = store.with_record(id, revoke).await?;
    keep_listed(store, store.remove_from_list(principal, id, lock).await);
    Ok(was_live)
}

async fn unlist_from<S: RecordStore>(
    store: &S,
    principal: &PrincipalKey,
    id: &SessionId,
) -> Result<(), StoreError> {
    let mut lock = store.lock_principal(principal).await?;
    unlist(store, principal, id, &mut lock).await
}

/// Removes a session from the principal's list, unless the principal is signed in to it.
async fn unlist<S: RecordStore>(
    store: &S,
    principal: &PrincipalKey,
    id: &SessionId,
    lock: &mut S::PrincipalLock,
) -> Result<(), StoreError> {
    let is_theirs = |record: &mut Option<SessionRecord>, now| {
        record.as_ref().is_some_and(|record| record.belongs_to(principal, now))
    };
    if store.with_record(id, is_theirs).await? {
        return Ok(());
    }
    store.remove_from_list(principal, id, lock).await
}
