//! A store that reads its clock at the wrong moment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ruts::{
    auth::PrincipalKey,
    conformance::{Subject, record_store, revival},
    store::{
        RecordStore, SessionRecord, StoreError,
        memory::{Clock, ManualClock},
    },
    token::SessionId,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::yield_now,
};

use super::fails;

/// A store of records that may read its clock before it has the lock of the record.
#[derive(Clone)]
struct RecordMap {
    reads_clock_early: bool,
    clock: ManualClock,
    records: Arc<Mutex<HashMap<SessionId, SessionRecord>>>,
    principals: Arc<Mutex<()>>,
}

impl RecordMap {
    fn new(reads_clock_early: bool) -> Self {
        let (clock, records, principals) = Default::default();
        Self { reads_clock_early, clock, records, principals }
    }
}

impl Subject for RecordMap {
    type Store = Self;

    async fn set_up() -> Self {
        Self::new(false)
    }

    fn store(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
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
        Ok(Arc::clone(&self.principals).lock_owned().await)
    }

    async fn sessions_of(
        &self,
        principal: &PrincipalKey,
        _: &mut OwnedMutexGuard<()>,
    ) -> Result<Vec<SessionId>, StoreError> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clock_that_is_read_before_the_lock_is_found() {
    let [sound, faulty] = [false, true].map(RecordMap::new);
    record_store::the_clock_is_read_under_the_lock(&sound).await;
    assert!(fails(record_store::the_clock_is_read_under_the_lock(&faulty)).await);
    revival::a_suspended_operation_revives_nothing(&sound).await;
    assert!(fails(revival::a_suspended_operation_revives_nothing(&faulty)).await);
}
