//! [`Dispatch`]: the flag that decides a race: a statement is sent, or its caller cancels it.
//!
//! Shared by the caller of an executor and the task that runs its statement. Knows no statements.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a statement is sent or cancelled. The first of both decides.
///
/// A statement that turned out not to be carried out is taken back, and may be cancelled again.
#[derive(Default)]
pub(in crate::store) struct Dispatch(AtomicU8);

impl Dispatch {
    const PENDING: u8 = 0;
    const SENT: u8 = 1;
    const CANCELLED: u8 = 2;

    /// Returns whether the statement may be sent.
    pub(in crate::store) fn send(&self) -> bool {
        self.settle(Self::PENDING, Self::SENT)
    }

    /// Returns whether the statement may be sent again.
    pub(in crate::store) fn take_back(&self) -> bool {
        self.settle(Self::SENT, Self::PENDING) || self.0.load(Ordering::Acquire) == Self::PENDING
    }

    /// Returns whether the statement was not sent, or taken back.
    fn cancel(&self) -> bool {
        self.0.swap(Self::CANCELLED, Ordering::AcqRel) == Self::PENDING
    }

    fn settle(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Cancels a statement when its caller is dropped. One that was sent is not repeated.
pub(in crate::store) struct CancelOnDrop<'a>(pub(in crate::store) &'a Dispatch);

impl CancelOnDrop<'_> {
    /// Returns whether the statement will never be sent.
    pub(in crate::store) fn cancel(self) -> bool {
        self.0.cancel()
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
