//! [`Dispatch`]: the flag that decides whether a statement is sent or its caller cancels it first.
//!
//! Shared by the caller of an executor and the task that runs its statement. Knows nothing about
//! statements.

use std::{
    future::Future,
    sync::atomic::{AtomicU8, Ordering},
};

use tokio::time::{Instant, timeout_at};

use crate::store::StoreErrorKind;

/// Whether a statement was sent or cancelled. If it is cancelled first, it is not sent.
///
/// If a statement was sent but not carried out, it is taken back. It can then be sent or cancelled
/// again.
#[derive(Default)]
pub(in crate::store) struct Dispatch(AtomicU8);

impl Dispatch {
    const PENDING: u8 = 0;
    const SENT: u8 = 1;
    const CANCELLED: u8 = 2;

    /// Marks the statement as sent. Returns `false`, and changes nothing, if it was cancelled or
    /// already sent.
    pub(in crate::store) fn send(&self) -> bool {
        self.transition(Self::PENDING, Self::SENT)
    }

    /// Takes the statement back. Returns whether it may be sent again.
    pub(in crate::store) fn take_back(&self) -> bool {
        self.transition(Self::SENT, Self::PENDING)
            || self.0.load(Ordering::Acquire) == Self::PENDING
    }

    /// Returns whether the statement was cancelled, so it must not be sent any more.
    #[cfg(feature = "mysql-store")]
    pub(in crate::store) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::CANCELLED
    }

    /// Waits for the work that sends the statement. If the deadline passes or this future is
    /// dropped first, cancels the statement.
    ///
    /// # Errors
    ///
    /// At the deadline, [`Unavailable`](StoreErrorKind::Unavailable) if the statement will never be
    /// sent. Otherwise [`OutcomeUnknown`](StoreErrorKind::OutcomeUnknown).
    pub(in crate::store) async fn wait<T>(
        &self,
        work: impl Future<Output = T>,
        deadline: Instant,
    ) -> Result<T, StoreErrorKind> {
        let caller = CancelOnDrop(self);
        let answer = timeout_at(deadline, work).await;
        answer.map_err(|_| match caller.0.cancel() {
            true => StoreErrorKind::Unavailable,
            false => StoreErrorKind::OutcomeUnknown,
        })
    }

    /// Cancels the statement. Returns whether it was not sent, or was taken back.
    fn cancel(&self) -> bool {
        self.0.swap(Self::CANCELLED, Ordering::AcqRel) == Self::PENDING
    }

    fn transition(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Cancels a statement when its caller is dropped. If the statement was already sent, it is not
/// repeated.
struct CancelOnDrop<'a>(&'a Dispatch);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
