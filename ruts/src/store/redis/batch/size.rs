//! Limits of a batch: [`AdaptiveBatchSize`] for reads, and [`Share`], the room for one more request
//! of a session.
//!
//! Used by the other files of this folder. Counts requests and bytes, and sends nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::token::SessionId;

/// Maximum number of requests in a batch.
pub(super) const MAX_REQUESTS: usize = 64;

/// Maximum number of requests of one session in a batch. With a higher limit, batches would be
/// longer, and requests of other sessions would wait longer.
const MAX_OF_SESSION: usize = 4;

/// Number of bytes after which a batch stops reading sessions. While a batch runs, the server does
/// nothing else.
pub(super) const MAX_READ: usize = 256 * 1024;

/// Length of the answer for a session that was not read.
const UNREAD: usize = 1;

/// The room for one more request in a batch.
///
/// The requests of one session may fill only a part of the batch. The rest is kept for other
/// sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// There is room.
    Room,
    /// There is room, but only for other sessions.
    RoomForOthers,
    /// There is no room.
    Full,
}

impl Share {
    /// Returns the room for a request of session `next`. `batch` yields the session of each request
    /// in the batch. `limit` is the maximum number of requests.
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

/// Maximum number of reads in a batch, computed from the size of the parts in the latest answer.
pub(super) struct AdaptiveBatchSize(AtomicUsize);

impl AdaptiveBatchSize {
    pub(super) fn limit(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adapts the limit to the length of each part of an answer, in bytes.
    pub(super) fn note(&self, lengths: impl Iterator<Item = usize>) {
        let lengths = lengths.filter(|length| *length > UNREAD);
        let (count, bytes) =
            lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length));
        if count > 0 {
            // At least two. With a limit of one, all reads would be single. Single reads do not
            // change the limit, so it would never rise again.
            let limit = (MAX_READ * count).div_ceil(bytes).clamp(2, MAX_REQUESTS);
            self.0.store(limit, Ordering::Relaxed);
        }
    }
}

impl Default for AdaptiveBatchSize {
    fn default() -> Self {
        Self(AtomicUsize::new(MAX_REQUESTS))
    }
}
