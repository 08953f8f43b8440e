//! A store that reads its clock at the wrong moment.

use std::{sync::Arc, time::Duration};

use ruts::conformance::{Subject, record_store, revival};

use super::fails;
use crate::record_map::RecordMap;

impl Subject for RecordMap {
    type Store = Self;

    async fn set_up() -> Self {
        Self::default()
    }

    fn store(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    async fn pass(&self, time: Duration) {
        self.clock().advance(time);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clock_that_is_read_before_the_lock_is_found() {
    let (sound, faulty) = (RecordMap::default(), RecordMap::with_early_clock());
    record_store::the_clock_is_read_under_the_lock(&sound).await;
    assert!(fails(record_store::the_clock_is_read_under_the_lock(&faulty)).await);
    revival::a_suspended_operation_revives_nothing(&sound).await;
    assert!(fails(revival::a_suspended_operation_revives_nothing(&faulty)).await);
}
