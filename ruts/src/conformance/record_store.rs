//! Checks of a [`RecordStore`]: its lock, and the moment at which it reads its clock.
//!
//! [`record_store_tests!`](crate::record_store_tests) generates a test for each check.

// The checks call `with_record`, whose closure runs under the lock. A call of `Store` cannot stop
// there.

use std::sync::mpsc;

use tokio::{sync::oneshot, time::sleep};

use super::{client::session, subject::Subject};
use crate::store::RecordStore;

/// A call that waited for the lock of a record gets the time at which it got the lock. With an
/// earlier time, it would accept a session that has expired.
pub async fn the_clock_is_read_under_the_lock<T: Subject<Store: RecordStore>>(subject: &T) {
    let unit = subject.unit();
    let id = session(subject, &[]).await.id;
    let (locked, is_locked) = oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    let first = tokio::spawn({
        let store = subject.store();
        async move {
            let hold = move |_: &mut Option<_>, now| {
                let _ = locked.send(());
                // Blocks this thread of the runtime until the sender is dropped.
                let _ = released.recv();
                now
            };
            store.with_record(&id, hold).await.expect("the store should answer")
        }
    });
    is_locked.await.expect("the first call should get the lock");
    // A task of its own, because a store may block a thread that waits for a lock.
    let (begin, begins) = oneshot::channel();
    let second = tokio::spawn({
        let store = subject.store();
        async move {
            let _ = begin.send(());
            let read = |_: &mut Option<_>, now| now;
            store.with_record(&id, read).await.expect("the store should answer")
        }
    });
    begins.await.expect("the second call should begin");
    sleep(unit / 4).await;
    assert!(!second.is_finished(), "the second call should wait for the lock");
    // Two units, because the clock may have a resolution that does not divide the unit.
    subject.pass(unit * 2).await;
    drop(release);
    let first = first.await.expect("the first call should not panic");
    let second = second.await.expect("the second call should not panic");
    assert!(
        second >= first + unit,
        "the second call got the lock at least {unit:?} after the first, not {:?}",
        second.saturating_sub(first)
    );
}
