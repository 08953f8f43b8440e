//! [`resend_refused`]: the writes of a batch that the server has refused are sent again, one at a
//! time.
//!
//! Used by the batches of writes on PostgreSQL and on MySQL. Knows nothing about statements.

use crate::store::{
    StoreError,
    StoreErrorKind::{OutcomeUnknown, Unavailable},
};

/// Returns the parts of a batch with this number of requests. If the server has refused the batch,
/// nothing was written, and one request may have caused the error. Each part is then `None`, so
/// that each request is sent again in a statement of its own.
pub(in crate::store) fn resend_refused<T>(
    parts: Result<Vec<Option<T>>, StoreError>,
    requests: usize,
) -> Result<Vec<Option<T>>, StoreError> {
    match parts {
        Err(error) if !matches!(error.kind(), OutcomeUnknown | Unavailable) => {
            Ok((0..requests).map(|_| None).collect())
        }
        parts => parts,
    }
}
