//! The conformance suite finds stores that break a promise. Each fault below occurs in a real
//! session store. At least one check has to fail for each fault.

mod early_clock;
mod narrow;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use ruts::{
    Ttl,
    auth::PrincipalKey,
    conformance::{
        Subject, atomicity, expiry, internal, limits, listing, merging, recency, revival,
        revocation, values,
    },
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, Credentials, Expiry, Loaded, PageRequest,
        Projection, Refused, RevokeTarget, Store, StoreError, StoreResult, StoredField, TakeField,
        Touch, Update, Updated, Written,
        memory::{ManualClock, MemoryStore},
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_support::delegate_store;

/// Delay between two steps that should be atomic, so that races occur.
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// No fault: every check must pass.
    None,
    /// A write to a session that has ended creates it again.
    UpdateCreates,
    /// A cache serves reads, and deletions do not reach it.
    CachesReads,
    /// A rotation leaves the old secret usable.
    KeepsOldSecret,
    /// The whole session is read, changed and written back.
    WritesWholeSession,
    /// A precondition is checked before the write, not in one step with the write.
    ChecksThenWrites,
    /// A value is read and then removed.
    ReadsThenRemoves,
    /// Changes are applied one at a time.
    AppliesOneByOne,
    /// TTLs of fields are ignored.
    IgnoresFieldLifetimes,
    /// Reads move the absolute deadline.
    MovesAbsoluteDeadline,
    /// A read by name returns all fields.
    ReadsAllFields,
    /// The store accepts any secret.
    IgnoresSecret,
    /// The secrets of revoked sessions are not recognised.
    ForgetsRevoked,
    /// A read with internal credentials touches the session without being asked to.
    CountsJobs,
    /// A read with internal credentials never touches the session.
    IgnoresJobs,
    /// An expired session reports the wrong deadline.
    SwapsDeadlines,
    /// A take removes a value of a later version than the caller knows.
    TakesNewer,
    /// A touch writes the whole session back, even if it has ended in between.
    TouchWritesBack,
    /// A rotation does.
    RotationWritesBack,
    /// A sign-in does.
    SignInWritesBack,
    /// A revocation ends the sessions of the first page.
    RevokesFirstPage,
    /// The cleanup frees deleted sessions immediately.
    ForgetsDeleted,
    /// A sign-in to an existing session counts the sessions of its principal, and then writes.
    CountsThenSignsIn,
    /// The future of an update applies one change after the other, under a lock.
    AppliesHalfWhenDropped,
}

#[derive(Clone)]
struct FaultyStore {
    fault: Fault,
    inner: MemoryStore,
    cache: Arc<Mutex<Vec<(SessionId, Loaded)>>>,
    owner: Arc<Mutex<Vec<(SessionId, SecretHash)>>>,
    /// Sessions that were written back after their end.
    revived: Arc<Mutex<HashMap<SessionId, Loaded>>>,
    deleted: Arc<Mutex<Vec<SessionId>>>,
    forgotten: Arc<Mutex<Vec<SessionId>>>,
    lock: Arc<tokio::sync::RwLock<()>>,
}

struct Setup<const FAULT: usize> {
    clock: ManualClock,
    store: Arc<FaultyStore>,
}

const FAULTS: [Fault; 24] = [
    Fault::None,
    Fault::UpdateCreates,
    Fault::CachesReads,
    Fault::KeepsOldSecret,
    Fault::WritesWholeSession,
    Fault::ChecksThenWrites,
    Fault::ReadsThenRemoves,
    Fault::AppliesOneByOne,
    Fault::IgnoresFieldLifetimes,
    Fault::MovesAbsoluteDeadline,
    Fault::ReadsAllFields,
    Fault::IgnoresSecret,
    Fault::ForgetsRevoked,
    Fault::CountsJobs,
    Fault::IgnoresJobs,
    Fault::SwapsDeadlines,
    Fault::TakesNewer,
    Fault::TouchWritesBack,
    Fault::RotationWritesBack,
    Fault::SignInWritesBack,
    Fault::RevokesFirstPage,
    Fault::ForgetsDeleted,
    Fault::CountsThenSignsIn,
    Fault::AppliesHalfWhenDropped,
];

impl<const FAULT: usize> Subject for Setup<FAULT> {
    type Store = FaultyStore;

    async fn set_up() -> Self {
        let clock = ManualClock::new();
        let inner = MemoryStore::builder().clock(clock.clone()).build();
        let fault = FAULTS[FAULT];
        let store = FaultyStore {
            fault,
            inner,
            cache: Arc::default(),
            owner: Arc::default(),
            revived: Arc::default(),
            deleted: Arc::default(),
            forgotten: Arc::default(),
            lock: Arc::default(),
        };
        Self { clock, store: Arc::new(store) }
    }

    fn store(&self) -> Arc<FaultyStore> {
        Arc::clone(&self.store)
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn rounds(&self) -> usize {
        60
    }
}

impl FaultyStore {
    /// Returns the owner's secret if the inner store must get this secret instead of the presented
    /// one.
    fn secret(&self, credentials: Credentials<'_>) -> Option<SecretHash> {
        let is_job = credentials.secret().is_none();
        let is_replaced =
            self.fault == Fault::IgnoresSecret || is_job && self.fault == Fault::CountsJobs;
        let owner = self.owner.lock().unwrap();
        let owner = owner.iter().rev().find(|(id, _)| is_replaced && id == credentials.id);
        owner.map(|(_, secret)| *secret)
    }

    /// Writes a session back that has ended since it was read.
    async fn write_back(&self, id: &SessionId, before: StoreResult<Loaded>) {
        let Ok(Ok(before)) = before else { return };
        tokio::time::sleep(MOMENT).await;
        if self.inner.inspect(id).await.unwrap().is_none() {
            self.revived.lock().unwrap().insert(*id, before);
        }
    }

    async fn count_then_sign_in(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let Some(AuthChange::In { who, idle, absolute }) = update.auth_change else {
            return self.inner.update(credentials, update).await;
        };
        let page = PageRequest::new(None, 1000);
        let none = Projection::Named(&[]);
        let live = self.inner.list_by_principal(who.principal, page, none).await?.sessions;
        let others = live.iter().filter(|listed| listed.id != *credentials.id).count();
        if who.limit.is_none_or(|limit| others >= limit.sessions as usize) {
            return self.inner.update(credentials, update).await;
        }
        tokio::time::sleep(MOMENT).await;
        let sign_in = AuthChange::In { who: who.limit(None), idle, absolute };
        self.inner.update(credentials, update.auth_change(sign_in)).await
    }

    async fn update_or_create(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let answer = self.inner.update(credentials, update).await?;
        if answer.is_err() {
            let writes: Vec<_> = (update.changes.iter())
                .filter_map(|change| match change {
                    Change::Set(write) => Some(*write),
                    _ => None,
                })
                .collect();
            let secret = credentials.secret().copied().unwrap_or(SecretHash::from_bytes([1; 32]));
            let create = Create::new(credentials.id, &secret).fields(&writes);
            let _ = self.inner.create(create).await;
        }
        Ok(answer)
    }

    async fn write_whole_session(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let before = self.inner.load(credentials, Projection::All, None).await?;
        tokio::time::sleep(MOMENT).await;
        let now = self.inner.load(credentials, Projection::All, None).await?;
        let (Ok(before), Ok(now)) = (before, now) else { return Ok(Err(Refused::NotFound)) };
        // The blob that is written back lacks the fields that other writes added in between.
        let is_lost =
            |field: &&StoredField| !before.fields.iter().any(|known| known.name == field.name);
        let lost = now.fields.iter().filter(is_lost).map(|field| Change::Remove(&field.name));
        let changes: Vec<_> = lost.chain(update.changes.iter().copied()).collect();
        self.inner.update(credentials, with_changes(&update, &changes)).await
    }

    async fn check_then_write(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        if let Some(precondition) = update.precondition {
            let check = Update::new(&[]).precondition(precondition);
            let answer = self.inner.update(credentials, check).await?;
            if !matches!(answer, Ok(Written { answer: Updated::Applied { .. }, .. })) {
                return Ok(answer);
            }
            tokio::time::sleep(MOMENT).await;
        }
        self.inner.update(credentials, update.precondition(None)).await
    }

    async fn apply_one_by_one(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let mut all = 0;
        for change in update.changes {
            let one = Update::new(std::slice::from_ref(change));
            match self.inner.update(credentials, one).await? {
                Ok(Written { answer: Updated::Applied { found }, .. }) => all += found,
                other => return Ok(other),
            }
            tokio::time::sleep(MOMENT).await;
        }
        let answer = self.inner.update(credentials, with_changes(&update, &[])).await?;
        Ok(answer.map(|written| {
            written.map(|updated| match updated {
                Updated::Applied { .. } => Updated::Applied { found: all },
                other => other,
            })
        }))
    }
}

/// Returns the same update with other changes to fields.
fn with_changes<'a>(update: &Update<'a>, changes: &'a [Change<'a>]) -> Update<'a> {
    Update::new(changes)
        .precondition(update.precondition)
        .rotate(update.rotate)
        .renew(update.renew)
        .absolute(update.absolute)
        .touch(update.touch)
        .auth_change(update.auth_change)
}

#[deny(clippy::missing_trait_methods)]
impl Store for FaultyStore {
    delegate_store!(self.inner: inspect wait_for_change list_by_principal revoke_everyone
        hint_cache_policy);

    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let touch = match (self.fault, credentials.secret()) {
            (Fault::CountsJobs, None) => Some(Touch::new(Ttl::from_secs(3600), Duration::ZERO)),
            (Fault::IgnoresJobs, None) => None,
            _ => touch,
        };
        if let Some(loaded) = self.revived.lock().unwrap().get(credentials.id) {
            return Ok(Ok(loaded.clone()));
        }
        if self.forgotten.lock().unwrap().contains(credentials.id) {
            return Ok(Err(Refused::NotFound));
        }
        let _lock = self.lock.read().await;
        let secret = self.secret(credentials);
        let credentials = presented(credentials, &secret);
        if self.fault == Fault::CachesReads && matches!(fields, Projection::All) {
            let cache = self.cache.lock().unwrap();
            if let Some((_, loaded)) = cache.iter().find(|(id, _)| id == credentials.id) {
                return Ok(Ok(loaded.clone()));
            }
        }
        let fields = if self.fault == Fault::ReadsAllFields { Projection::All } else { fields };
        if let (Fault::MovesAbsoluteDeadline, Some(touch)) = (self.fault, touch) {
            let deadline = AbsoluteDeadline::new(touch.idle, None);
            let _ = self.inner.update(credentials, Update::new(&[]).absolute(deadline)).await?;
        }
        let answer = self.inner.load(credentials, fields, touch).await?;
        if self.fault == Fault::TouchWritesBack && touch.is_some() {
            self.write_back(credentials.id, Ok(answer.clone())).await;
        }
        if self.fault == Fault::ForgetsRevoked && answer == Err(Refused::Revoked) {
            return Ok(Err(Refused::NotFound));
        }
        if let (Ok(loaded), Projection::All) = (&answer, fields) {
            self.cache.lock().unwrap().push((*credentials.id, loaded.clone()));
        }
        Ok(answer)
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        let expiry = self.inner.expiry(id).await?;
        Ok(match expiry {
            Some(Expiry::Idle) if self.fault == Fault::SwapsDeadlines => Some(Expiry::Absolute),
            expiry => expiry,
        })
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        let created = self.inner.create(create).await?;
        self.owner.lock().unwrap().push((*create.id, *create.secret));
        Ok(created)
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let secret = self.secret(credentials);
        let credentials = presented(credentials, &secret);
        match self.fault {
            Fault::UpdateCreates => self.update_or_create(credentials, update).await,
            Fault::KeepsOldSecret => self.inner.update(credentials, update.rotate(None)).await,
            Fault::WritesWholeSession => self.write_whole_session(credentials, update).await,
            Fault::ChecksThenWrites => self.check_then_write(credentials, update).await,
            Fault::AppliesOneByOne => self.apply_one_by_one(credentials, update).await,
            Fault::AppliesHalfWhenDropped if update.changes.len() > 1 => {
                let _lock = self.lock.write().await;
                self.apply_one_by_one(credentials, update).await
            }
            Fault::CountsThenSignsIn => self.count_then_sign_in(credentials, update).await,
            Fault::TouchWritesBack | Fault::RotationWritesBack | Fault::SignInWritesBack => {
                let is_faulty = match self.fault {
                    Fault::TouchWritesBack => update.touch.is_some(),
                    Fault::RotationWritesBack => update.rotate.is_some(),
                    _ => update.auth_change.is_some(),
                };
                let before = self.inner.load(credentials, Projection::All, None).await;
                let answer = self.inner.update(credentials, update).await;
                if is_faulty {
                    self.write_back(credentials.id, before).await;
                }
                answer
            }
            Fault::IgnoresFieldLifetimes => {
                let changes: Vec<_> = (update.changes.iter())
                    .map(|change| match *change {
                        Change::Set(write) => Change::Set(write.ttl(None)),
                        other => other,
                    })
                    .collect();
                self.inner.update(credentials, with_changes(&update, &changes)).await
            }
            _ => self.inner.update(credentials, update).await,
        }
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let secret = self.secret(credentials);
        let credentials = presented(credentials, &secret);
        match self.fault {
            Fault::ReadsThenRemoves => {}
            Fault::TakesNewer => {
                return self.inner.take(credentials, TakeField::new(take.name)).await;
            }
            _ => return self.inner.take(credentials, take).await,
        }
        let answer = self.inner.load(credentials, Projection::Named(&[take.name]), None).await?;
        tokio::time::sleep(MOMENT).await;
        let changes = [Change::Remove(take.name)];
        let update = Update::new(&changes).rotate(take.rotate);
        let _ = self.inner.update(credentials, update).await?;
        Ok(answer
            .map(|loaded| Written::new(loaded.fields.into_iter().next().map(|field| field.value))))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let secret = self.secret(credentials);
        let credentials = presented(credentials, &secret);
        self.deleted.lock().unwrap().push(*credentials.id);
        self.inner.delete(credentials).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        let RevokeTarget::All { except } = target else {
            return self.inner.revoke(principal, target).await;
        };
        if self.fault != Fault::RevokesFirstPage {
            return self.inner.revoke(principal, target).await;
        }
        let (page, none) = (PageRequest::new(None, 1000), Projection::Named(&[]));
        let mut ended = Vec::new();
        for listed in self.inner.list_by_principal(principal, page, none).await?.sessions {
            if except != Some(&listed.id) {
                let one = RevokeTarget::One(&listed.id);
                ended.extend(self.inner.revoke(principal, one).await?.answer);
            }
        }
        Ok(Written::new(ended))
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        if self.fault == Fault::ForgetsDeleted {
            let deleted = std::mem::take(&mut *self.deleted.lock().unwrap());
            self.forgotten.lock().unwrap().extend(deleted);
        }
        self.inner.delete_expired(limit).await
    }
}

fn presented<'a>(
    credentials: Credentials<'a>,
    replaced: &'a Option<SecretHash>,
) -> Credentials<'a> {
    match replaced {
        Some(secret) => Credentials::new(credentials.id, secret),
        None => credentials,
    }
}

async fn fails(check: impl Future<Output = ()>) -> bool {
    AssertUnwindSafe(check).catch_unwind().await.is_err()
}

macro_rules! faults {
    ($($test:ident: $fault:ident at $index:literal by $($check:path),+;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                assert_eq!(FAULTS[$index], Fault::$fault);
                $({
                    let name = stringify!($check);
                    let sound = Setup::<0>::set_up().await;
                    assert!(!fails($check(&sound)).await, "{name} should pass on a sound store");
                    let faulty = Setup::<$index>::set_up().await;
                    assert!(fails($check(&faulty)).await, "{name} should fail on a faulty store");
                })+
            }
        )+
    };
}

faults! {
    an_update_that_creates_is_found: UpdateCreates at 1 by
        revival::only_create_creates_a_session,
        revival::nothing_revives_an_expired_session,
        internal::internal_credentials_open_no_ended_session;
    a_stale_cache_is_found: CachesReads at 2 by
        recency::a_write_is_seen_at_once,
        recency::a_deletion_is_seen_at_once;
    a_secret_that_stays_valid_is_found: KeepsOldSecret at 3 by
        recency::a_rotation_is_seen_at_once,
        merging::one_of_parallel_rotations_wins;
    a_write_of_the_whole_session_is_found: WritesWholeSession at 4 by
        merging::parallel_writes_to_different_fields_survive;
    a_check_without_a_lock_is_found: ChecksThenWrites at 5 by
        merging::one_of_parallel_conditional_updates_applies,
        merging::parallel_increments_all_count;
    a_value_taken_twice_is_found: ReadsThenRemoves at 6 by
        merging::a_value_is_taken_once;
    a_torn_update_is_found: AppliesOneByOne at 7 by
        atomicity::racing_updates_never_mix,
        atomicity::a_conflict_changes_nothing;
    a_field_that_never_expires_is_found: IgnoresFieldLifetimes at 8 by
        expiry::a_field_expires_after_its_lifetime,
        expiry::an_expired_field_is_absent_to_every_operation;
    a_session_that_never_expires_is_found: MovesAbsoluteDeadline at 9 by
        expiry::a_session_ends_at_its_absolute_deadline;
    a_read_of_too_many_fields_is_found: ReadsAllFields at 10 by
        values::only_the_named_fields_are_read;
    a_secret_that_is_not_checked_is_found: IgnoresSecret at 11 by
        recency::a_wrong_secret_opens_nothing,
        recency::a_rotation_is_seen_at_once;
    a_forgotten_revocation_is_found: ForgetsRevoked at 12 by
        revocation::a_revoked_session_is_recognised;
    a_job_that_counts_as_activity_is_found: CountsJobs at 13 by
        internal::internal_credentials_use_nothing,
        internal::internal_credentials_have_few_rights;
    a_job_that_never_counts_as_activity_is_found: IgnoresJobs at 14 by
        internal::a_touch_with_internal_credentials_counts;
    a_wrong_deadline_is_found: SwapsDeadlines at 15 by
        expiry::an_expired_session_names_its_deadline;
    a_newer_value_that_is_taken_is_found: TakesNewer at 16 by
        merging::a_newer_value_is_not_taken;
    a_touch_that_revives_is_found: TouchWritesBack at 17 by
        revival::an_end_wins_over_every_racing_operation;
    a_rotation_that_revives_is_found: RotationWritesBack at 18 by
        revival::an_end_wins_over_every_racing_operation;
    a_sign_in_that_revives_is_found: SignInWritesBack at 19 by
        revival::an_end_wins_over_every_racing_operation;
    a_revocation_of_one_page_is_found: RevokesFirstPage at 20 by
        listing::a_principal_may_have_many_sessions;
    a_cleanup_that_forgets_is_found: ForgetsDeleted at 21 by
        revival::nothing_revives_a_deleted_session;
    a_limit_without_a_lock_is_found: CountsThenSignsIn at 22 by
        limits::a_limit_holds_for_parallel_sign_ins;
    half_an_update_is_found: AppliesHalfWhenDropped at 23 by
        atomicity::a_dropped_update_is_done_or_not;
}
