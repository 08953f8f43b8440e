//! Limits of a batch: [`AdaptiveBatchSize`] for reads, and the [`Share`] of one session.
//!
//! Used by the other files of this folder. Knows sizes, and sends nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::token::SessionId;

/// Maximum number of sessions in a batch.
pub(super) const MAX_SESSIONS: usize = 64;

/// Maximum number of requests of one session in a batch. Those of others wait for a whole batch at
/// most, so a larger number would make them wait for longer. Smaller batches cost the session itself
/// little.
const MAX_OF_SESSION: usize = 4;

/// Number of bytes that a batch may read. A server does nothing else meanwhile.
pub(super) const MAX_READ: usize = 256 * 1024;

/// Length of the share of a session that was not read.
const UNREAD: usize = 1;

/// The room for another request in a batch.
///
/// The requests of one session fill a part of it. The rest is for others, however many requests of
/// one session wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// There is room.
    Room,
    /// There is room for other sessions.
    RoomForOthers,
    /// There is none.
    Full,
}

impl Share {
    /// Returns the room for a request of `next` in a batch of these sessions with this limit.
    pub(super) fn of<'a>(
        batch: impl ExactSizeIterator<Item = &'a SessionId>,
        next: &SessionId,
        limit: usize,
    ) -> Self {
        if batch.len() >= limit {
            return Self::Full;
        }
        let of_session = batch.filter(|id| *id == next).count();
        let most = MAX_OF_SESSION.min(limit - limit.div_ceil(4));
        if of_session < most { Self::Room } else { Self::RoomForOthers }
    }
}

/// Maximum number of sessions that are read in a batch, by the size of those before.
pub(super) struct AdaptiveBatchSize(AtomicUsize);

impl AdaptiveBatchSize {
    pub(super) fn limit(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes the length of the share of each session in an answer.
    pub(super) fn note(&self, lengths: impl Iterator<Item = usize>) {
        let lengths = lengths.filter(|length| *length > UNREAD);
        let (count, bytes) =
            lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length));
        if count > 0 {
            // At least two, because single reads are not noted.
            let limit = (MAX_READ * count).div_ceil(bytes).clamp(2, MAX_SESSIONS);
            self.0.store(limit, Ordering::Relaxed);
        }
    }
}

impl Default for AdaptiveBatchSize {
    fn default() -> Self {
        Self(AtomicUsize::new(MAX_SESSIONS))
    }
}
