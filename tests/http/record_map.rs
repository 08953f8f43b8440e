//! [`RecordMap`]: records in memory, under a backend with faults.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ruts::{
    auth::PrincipalKey,
    store::{
        RecordStore, SessionRecord, StoreError, StoreErrorKind,
        memory::{Clock, ManualClock},
    },
    token::SessionId,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::yield_now,
};

/// A store of records. Without a fault, it keeps every promise.
#[derive(Clone, Default)]
pub(crate) struct RecordMap {
    clock: ManualClock,
    records: Arc<Mutex<HashMap<SessionId, SessionRecord>>>,
    principals: Arc<Mutex<()>>,
    /// Number of backend calls until one fails. Zero if no call fails.
    failure: Arc<AtomicUsize>,
    reads_clock_early: bool,
}

impl RecordMap {
    /// Returns a store that reads its clock before it has the lock of the record.
    pub(crate) fn with_early_clock() -> Self {
        Self { reads_clock_early: true, ..Self::default() }
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Lets a backend call fail: with 1, the next one.
    pub(crate) fn fail_at(&self, call: usize) {
        self.failure.store(call, Ordering::SeqCst);
    }

    /// Returns whether a call has failed since [`fail_at`](Self::fail_at). From now on, none fails.
    pub(crate) fn stop_failing(&self) -> bool {
        self.failure.swap(0, Ordering::SeqCst) == 0
    }

    fn call(&self) -> Result<(), StoreError> {
        let count = |left: usize| left.checked_sub(1);
        match self.failure.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) {
            Ok(1) => Err(StoreError::new("map", StoreErrorKind::Unavailable)),
            _ => Ok(()),
        }
    }
}

impl RecordStore for RecordMap {
    type PrincipalLock = OwnedMutexGuard<()>;

    fn name(&self) -> &'static str {
        "map"
    }

    async fn with_record<T: Send>(
        &self,
        id: &SessionId,
        operation: impl FnOnce(&mut Option<SessionRecord>, Duration) -> T + Send,
    ) -> Result<T, StoreError> {
        self.call()?;
        let early = self.clock.now();
        // A store may wait for a connection here.
        yield_now().await;
        let mut records = self.records.lock().await;
        let mut record = records.remove(id);
        let now = if self.reads_clock_early { early } else { self.clock.now() };
        let answer = operation(&mut record, now);
        records.extend(record.map(|record| (*id, record)));
        Ok(answer)
    }

    async fn lock_principal(&self, _: &PrincipalKey) -> Result<OwnedMutexGuard<()>, StoreError> {
        self.call()?;
        Ok(Arc::clone(&self.principals).lock_owned().await)
    }

    async fn sessions_of(
        &self,
        principal: &PrincipalKey,
        _: &mut OwnedMutexGuard<()>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.call()?;
        let records = self.records.lock().await;
        let theirs = records.iter().filter(|(_, record)| record.principal() == Some(*principal));
        Ok(theirs.map(|(id, _)| *id).collect())
    }

    async fn expired(&self, _: usize) -> Result<Vec<SessionId>, StoreError> {
        Ok(Vec::new())
    }

    async fn end_all(&self) -> Result<(), StoreError> {
        self.records.lock().await.clear();
        Ok(())
    }
}
