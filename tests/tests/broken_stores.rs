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
        AbsoluteDeadline, Change, Confirmed, Create, Credentials, FieldWrite, Loaded, Lookup,
        PageRequest, Projection, RevokeTarget, Revoked, SessionPage, Store, StoreError, TakeField,
        Touch, Update, Updated,
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
    cache: Arc<Mutex<Vec<(ruts::SessionId, Loaded)>>>,
    owner: Arc<Mutex<Vec<(ruts::SessionId, ruts::SecretHash)>>>,
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
    fn secret(&self, credentials: Credentials<'_>) -> ruts::SecretHash {
        let owner = self.owner.lock().unwrap();
        match owner.iter().rev().find(|(id, _)| id == credentials.id) {
            Some((_, secret)) if self.fault == Fault::IgnoresSecret => *secret,
            _ => *credentials.secret,
        }
    }
}

impl Store for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let secret = self.secret(credentials);
        let credentials = Credentials { secret: &secret, ..credentials };
        if self.fault == Fault::CachesReads && matches!(fields, Projection::All) {
            let cache = self.cache.lock().unwrap();
            if let Some((_, loaded)) = cache.iter().find(|(id, _)| id == credentials.id) {
                return Ok(Lookup::Found(loaded.clone()));
            }
        }
        let fields = if self.fault == Fault::ReadsEverything { Projection::All } else { fields };
        if let (Fault::SlidesAbsoluteEnd, Some(touch)) = (self.fault, touch) {
            let update = Update {
                absolute: Some(AbsoluteDeadline { from_now: touch.idle, from_creation: None }),
                ..Update::default()
            };
            self.inner.update(credentials, update).await?;
        }
        let lookup = self.inner.load(credentials, fields, touch).await?;
        if let (Lookup::Found(loaded), Projection::All) = (&lookup, fields) {
            self.cache.lock().unwrap().push((*credentials.id, loaded.clone()));
        }
        Ok(lookup)
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        self.inner.create(create).await?;
        self.owner.lock().unwrap().push((*create.id, *create.secret));
        Ok(())
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let secret = self.secret(credentials);
        let credentials = Credentials { secret: &secret, ..credentials };
        match self.fault {
            Fault::Upserts => {
                let lookup = self.inner.update(credentials, update).await?;
                if !matches!(lookup, Lookup::Found(_)) {
                    let (id, secret) = (credentials.id, credentials.secret);
                    let puts = update.changes.iter().filter_map(|change| match change {
                        Change::Set(put) => Some(*put),
                        _ => None,
                    });
                    let fields = &puts.collect::<Vec<_>>()[..];
                    let create =
                        Create { id, secret, idle: None, absolute: None, fields, sign_in: None };
                    let _ = self.inner.create(create).await;
                }
                Ok(lookup)
            }
            Fault::KeepsOldSecret => {
                self.inner.update(credentials, Update { rotate: None, ..update }).await
            }
            Fault::WritesWholeSession => {
                let before = self.inner.load(credentials, Projection::All, None).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                let now = self.inner.load(credentials, Projection::All, None).await?;
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
                self.inner.update(credentials, Update { changes: &changes, ..update }).await
            }
            Fault::ChecksThenWrites => {
                if let Some(expect) = update.precondition {
                    let check = Update { precondition: Some(expect), ..Update::default() };
                    let lookup = self.inner.update(credentials, check).await?;
                    if !matches!(lookup, Lookup::Found(Updated::Applied { .. })) {
                        return Ok(lookup);
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                self.inner.update(credentials, Update { precondition: None, ..update }).await
            }
            Fault::AppliesOneByOne => {
                let mut all = 0;
                for change in update.changes {
                    let changes = std::slice::from_ref(change);
                    let one = Update { changes, ..Update::default() };
                    match self.inner.update(credentials, one).await? {
                        Lookup::Found(Updated::Applied { found }) => all += found,
                        other => return Ok(other),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let rest = Update { changes: &[], ..update };
                let lookup = self.inner.update(credentials, rest).await?;
                Ok(lookup.map(|updated| match updated {
                    Updated::Applied { .. } => Updated::Applied { found: all },
                    conflict => conflict,
                }))
            }
            Fault::ForgetsFieldLifetimes => {
                let changes = update.changes.iter().map(|change| match *change {
                    Change::Set(put) => Change::Set(FieldWrite { ttl: None, ..put }),
                    other => other,
                });
                let changes: Vec<_> = changes.collect();
                self.inner.update(credentials, Update { changes: &changes, ..update }).await
            }
            _ => self.inner.update(credentials, update).await,
        }
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let secret = self.secret(credentials);
        let credentials = Credentials { secret: &secret, ..credentials };
        if self.fault != Fault::ReadsThenRemoves {
            return self.inner.take(credentials, take).await;
        }
        let lookup = self.inner.load(credentials, Projection::Named(&[take.name]), None).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let changes = &[Change::Remove(take.name)];
        let update = Update { changes, rotate: take.rotate, ..Update::default() };
        self.inner.update(credentials, update).await?;
        Ok(lookup.map(|loaded| loaded.fields.into_iter().next().map(|field| field.value)))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        let secret = self.secret(credentials);
        self.inner.delete(Credentials { secret: &secret, ..credentials }).await
    }

    async fn inspect(
        &self,
        id: &ruts::SessionId,
    ) -> Result<Option<ruts::store::SessionMeta>, StoreError> {
        self.inner.inspect(id).await
    }

    fn wait_for_change(&self, id: &ruts::SessionId) -> impl Future<Output = ()> + Send + 'static {
        self.inner.wait_for_change(id)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        self.inner.list_by_principal(principal, page, fields).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        self.inner.revoke(principal, target).await
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.inner.revoke_everyone().await
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.inner.delete_expired(limit).await
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
