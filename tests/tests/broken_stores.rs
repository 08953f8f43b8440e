//! The conformance suite finds stores that break a promise: each fault below is one that real
//! session stores have, and each has a check that must fail on it.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use ruts::{
    PrincipalKey,
    conformance::{Subject, atomicity, expiry, merging, revival, revocation, values},
    store::{
        Access, Change, Confirmed, Create, Deadline, Fields, Listing, Loaded, Lookup, Page, Put,
        Revoked, Store, StoreError, Take, Touch, Update, Updated, Whom,
        memory::{ManualClock, MemoryStore},
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// None: the suite must pass.
    Sound,
    /// A write to a session that is gone brings it back.
    Upserts,
    /// Reads are served from a cache that deletions do not reach.
    CachesReads,
    /// A rotation leaves the old secret usable.
    KeepsOldSecret,
    /// The whole session is read, changed and written back.
    WritesWholeSession,
    /// An expectation is checked before the write, not with it.
    ChecksThenWrites,
    /// A value is read and then removed.
    ReadsThenRemoves,
    /// Changes are applied one by one.
    AppliesOneByOne,
    /// Lifetimes of fields are not kept.
    ForgetsFieldLifetimes,
    /// Reads prolong a session past its absolute end.
    SlidesAbsoluteEnd,
    /// A read by name yields everything.
    ReadsEverything,
    /// Any secret will do.
    IgnoresSecret,
}

#[derive(Clone)]
struct Faulty {
    fault: Fault,
    inner: MemoryStore,
    cache: Arc<Mutex<Vec<(ruts::Handle, Loaded)>>>,
    owner: Arc<Mutex<Vec<(ruts::Handle, ruts::SecretHash)>>>,
}

struct Setup<const FAULT: usize> {
    clock: ManualClock,
    store: Arc<Faulty>,
}

const FAULTS: [Fault; 12] = [
    Fault::Sound,
    Fault::Upserts,
    Fault::CachesReads,
    Fault::KeepsOldSecret,
    Fault::WritesWholeSession,
    Fault::ChecksThenWrites,
    Fault::ReadsThenRemoves,
    Fault::AppliesOneByOne,
    Fault::ForgetsFieldLifetimes,
    Fault::SlidesAbsoluteEnd,
    Fault::ReadsEverything,
    Fault::IgnoresSecret,
];

impl<const FAULT: usize> Subject for Setup<FAULT> {
    type Store = Faulty;

    async fn set_up() -> Self {
        let clock = ManualClock::new();
        let inner = MemoryStore::builder().clock(clock.clone()).build();
        let fault = FAULTS[FAULT];
        let store = Faulty { fault, inner, cache: Arc::default(), owner: Arc::default() };
        Self { clock, store: Arc::new(store) }
    }

    fn store(&self) -> Arc<Faulty> {
        Arc::clone(&self.store)
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn rounds(&self) -> usize {
        60
    }
}

impl Faulty {
    /// The secret to ask with: for some faults, that of the owner.
    fn secret(&self, access: Access<'_>) -> ruts::SecretHash {
        let owner = self.owner.lock().unwrap();
        match owner.iter().rev().find(|(handle, _)| handle == access.handle) {
            Some((_, secret)) if self.fault == Fault::IgnoresSecret => *secret,
            _ => *access.secret,
        }
    }
}

impl Store for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn load(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let secret = self.secret(access);
        let access = Access { secret: &secret, ..access };
        if self.fault == Fault::CachesReads && matches!(fields, Fields::All) {
            let cache = self.cache.lock().unwrap();
            if let Some((_, loaded)) = cache.iter().find(|(handle, _)| handle == access.handle) {
                return Ok(Lookup::Found(loaded.clone()));
            }
        }
        let fields = if self.fault == Fault::ReadsEverything { Fields::All } else { fields };
        if let (Fault::SlidesAbsoluteEnd, Some(touch)) = (self.fault, touch) {
            let update = Update {
                absolute: Some(Deadline { from_now: touch.idle, from_creation: None }),
                ..Update::default()
            };
            self.inner.update(access, update).await?;
        }
        let lookup = self.inner.load(access, fields, touch).await?;
        if let (Lookup::Found(loaded), Fields::All) = (&lookup, fields) {
            self.cache.lock().unwrap().push((*access.handle, loaded.clone()));
        }
        Ok(lookup)
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        self.inner.create(create).await?;
        self.owner.lock().unwrap().push((*create.handle, *create.secret));
        Ok(())
    }

    async fn update(
        &self,
        access: Access<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let secret = self.secret(access);
        let access = Access { secret: &secret, ..access };
        match self.fault {
            Fault::Upserts => {
                let lookup = self.inner.update(access, update).await?;
                if !matches!(lookup, Lookup::Found(_)) {
                    let (handle, secret) = (access.handle, access.secret);
                    let puts = update.changes.iter().filter_map(|change| match change {
                        Change::Set(put) => Some(*put),
                        _ => None,
                    });
                    let fields = &puts.collect::<Vec<_>>()[..];
                    let create = Create {
                        handle,
                        secret,
                        idle: None,
                        absolute: None,
                        fields,
                        sign_in: None,
                    };
                    let _ = self.inner.create(create).await;
                }
                Ok(lookup)
            }
            Fault::KeepsOldSecret => {
                self.inner.update(access, Update { rotate: None, ..update }).await
            }
            Fault::WritesWholeSession => {
                let before = self.inner.load(access, Fields::All, None).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                let now = self.inner.load(access, Fields::All, None).await?;
                // What others wrote in between is not in the blob that is written back.
                let (Lookup::Found(before), Lookup::Found(now)) = (before, now) else {
                    return Ok(Lookup::NotFound);
                };
                let lost = now
                    .fields
                    .iter()
                    .filter(|field| !before.fields.iter().any(|known| known.name == field.name));
                let lost = lost.map(|field| Change::Remove(&field.name));
                let changes: Vec<_> = lost.chain(update.changes.iter().copied()).collect();
                self.inner.update(access, Update { changes: &changes, ..update }).await
            }
            Fault::ChecksThenWrites => {
                if let Some(expect) = update.expect {
                    let check = Update { expect: Some(expect), ..Update::default() };
                    let lookup = self.inner.update(access, check).await?;
                    if !matches!(lookup, Lookup::Found(Updated::Applied { .. })) {
                        return Ok(lookup);
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                self.inner.update(access, Update { expect: None, ..update }).await
            }
            Fault::AppliesOneByOne => {
                let mut all = 0;
                for change in update.changes {
                    let changes = std::slice::from_ref(change);
                    let one = Update { changes, ..Update::default() };
                    match self.inner.update(access, one).await? {
                        Lookup::Found(Updated::Applied { found }) => all += found,
                        other => return Ok(other),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let rest = Update { changes: &[], ..update };
                let lookup = self.inner.update(access, rest).await?;
                Ok(lookup.map(|updated| match updated {
                    Updated::Applied { .. } => Updated::Applied { found: all },
                    conflict => conflict,
                }))
            }
            Fault::ForgetsFieldLifetimes => {
                let changes = update.changes.iter().map(|change| match *change {
                    Change::Set(put) => Change::Set(Put { ttl: None, ..put }),
                    other => other,
                });
                let changes: Vec<_> = changes.collect();
                self.inner.update(access, Update { changes: &changes, ..update }).await
            }
            _ => self.inner.update(access, update).await,
        }
    }

    async fn take(
        &self,
        access: Access<'_>,
        take: Take<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let secret = self.secret(access);
        let access = Access { secret: &secret, ..access };
        if self.fault != Fault::ReadsThenRemoves {
            return self.inner.take(access, take).await;
        }
        let lookup = self.inner.load(access, Fields::Named(&[take.name]), None).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let changes = &[Change::Remove(take.name)];
        let update = Update { changes, rotate: take.rotate, ..Update::default() };
        self.inner.update(access, update).await?;
        Ok(lookup.map(|loaded| loaded.fields.into_iter().next().map(|field| field.value)))
    }

    async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
        let secret = self.secret(access);
        self.inner.delete(Access { secret: &secret, ..access }).await
    }

    async fn peek(&self, handle: &ruts::Handle) -> Result<Option<ruts::store::Meta>, StoreError> {
        self.inner.peek(handle).await
    }

    fn changed(&self, handle: &ruts::Handle) -> impl Future<Output = ()> + Send + 'static {
        self.inner.changed(handle)
    }

    async fn find(
        &self,
        principal: &PrincipalKey,
        page: Page<'_>,
        fields: Fields<'_>,
    ) -> Result<Listing, StoreError> {
        self.inner.find(principal, page, fields).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        whom: Whom<'_>,
    ) -> Result<Revoked, StoreError> {
        self.inner.revoke(principal, whom).await
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.inner.revoke_everyone().await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(limit).await
    }
}

/// Whether a check fails.
async fn fails(check: impl Future<Output = ()>) -> bool {
    use futures_util::FutureExt;
    AssertUnwindSafe(check).catch_unwind().await.is_err()
}

macro_rules! found {
    ($($test:ident: $fault:ident at $index:literal by $($check:path),+;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                assert_eq!(FAULTS[$index], Fault::$fault);
                $({
                    let sound = Setup::<0>::set_up().await;
                    assert!(!fails($check(&sound)).await, "{} fails on a sound store", stringify!($check));
                    let faulty = Setup::<$index>::set_up().await;
                    assert!(fails($check(&faulty)).await, "{} overlooks it", stringify!($check));
                })+
            }
        )+
    };
}

found! {
    upserts_are_found: Upserts at 1 by
        revival::nothing_but_create_creates,
        revival::nothing_revives_an_expired_session;
    stale_caches_are_found: CachesReads at 2 by
        revocation::a_write_is_seen_at_once,
        revocation::a_deletion_is_seen_at_once;
    secrets_that_stay_are_found: KeepsOldSecret at 3 by
        revocation::a_rotation_is_seen_at_once,
        merging::one_of_parallel_rotations_wins;
    blobs_are_found: WritesWholeSession at 4 by
        merging::parallel_writes_to_different_fields_survive;
    unlocked_checks_are_found: ChecksThenWrites at 5 by
        merging::one_of_parallel_expectations_is_met,
        merging::parallel_increments_all_count;
    double_hand_outs_are_found: ReadsThenRemoves at 6 by
        merging::a_value_is_taken_once;
    torn_updates_are_found: AppliesOneByOne at 7 by
        atomicity::racing_updates_never_mix,
        atomicity::a_conflict_changes_nothing;
    endless_fields_are_found: ForgetsFieldLifetimes at 8 by
        expiry::a_field_ends_with_its_lifetime,
        expiry::an_expired_field_is_absent_to_every_operation;
    endless_sessions_are_found: SlidesAbsoluteEnd at 9 by
        expiry::a_session_ends_absolutely;
    greedy_reads_are_found: ReadsEverything at 10 by
        values::only_the_named_fields_are_read;
    open_doors_are_found: IgnoresSecret at 11 by
        revocation::a_wrong_secret_opens_nothing,
        revocation::a_rotation_is_seen_at_once;
}
