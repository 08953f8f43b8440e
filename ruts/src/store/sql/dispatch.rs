//! [`Dispatch`]: the flag that decides whether a statement is sent or its caller cancels it first.
//!
//! Shared by the caller of an executor and the task that runs its statement. Knows nothing of
//! statements.

use std::sync::atomic::{AtomicU8, Ordering};

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
        self.settle(Self::PENDING, Self::SENT)
    }

    /// Takes the statement back. Returns whether it may be sent again.
    pub(in crate::store) fn take_back(&self) -> bool {
        self.settle(Self::SENT, Self::PENDING) || self.0.load(Ordering::Acquire) == Self::PENDING
    }

    /// Returns whether the statement was cancelled, so it must not be sent any more.
    #[cfg(feature = "mysql-store")]
    pub(in crate::store) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::CANCELLED
    }

    /// Cancels the statement. Returns whether it was not sent, or was taken back.
    fn cancel(&self) -> bool {
        self.0.swap(Self::CANCELLED, Ordering::AcqRel) == Self::PENDING
    }

    fn settle(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Cancels a statement when its caller is dropped. If the statement was already sent, it is not
/// repeated.
pub(in crate::store) struct CancelOnDrop<'a>(pub(in crate::store) &'a Dispatch);

impl CancelOnDrop<'_> {
    /// Cancels the statement. Returns whether it will never be sent.
    pub(in crate::store) fn cancel(self) -> bool {
        self.0.cancel()
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
