//! Limits of a batch of reads: [`MAX_READS`], and the share of one session.
//!
//! Used by the batches of the stores on SQL servers. Knows nothing about statements.

use crate::token::SessionId;

/// Maximum number of reads in a batch.
pub(in crate::store) const MAX_READS: usize = 64;

/// Maximum number of reads of one session in a batch. The limit leaves room for other sessions,
/// even if many reads of one session wait.
const MAX_READS_OF_ONE_SESSION: usize = 8;

/// Returns whether session `next` already has its share of a batch. `batch` yields the session of
/// each read in the batch.
pub(in crate::store) fn has_its_share<'a>(
    batch: impl Iterator<Item = &'a SessionId>,
    next: &SessionId,
) -> bool {
    batch.filter(|id| *id == next).count() >= MAX_READS_OF_ONE_SESSION
}
