//! [`forty_sessions_at_once`]: more operations than a store has connections.

use std::sync::Arc;

use ruts::store::Store;
use ruts_tests_support::{APPLIED, DELETED, TestSession};

/// Creates, writes and deletes forty sessions at the same time. Panics if an operation fails.
pub async fn forty_sessions_at_once<S: Store>(store: &Arc<S>) {
    let sessions = (0..40).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let session = TestSession::begin(&store).await;
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            assert_eq!(session.delete().await.unwrap(), DELETED);
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await.unwrap();
    }
}
