//! Turns of the operations that lock the same rows: [`Turns`].
//!
//! Used by the executor. Knows nothing of statements and connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::error::timed_out;
use crate::store::{StoreError, StoreErrorKind};

/// Lets one operation at a time lock a session, or a principal.
///
/// The server would make the others wait as well, each with a connection of the pool.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Box<[u8]>, Arc<Semaphore>>>);

/// A turn, or the wait for it. Dropping it lets the next operation go.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    key: &'a [u8],
    semaphore: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn until `end`. The key is a session id or a principal.
    pub(super) async fn wait<'a>(
        &'a self,
        key: &'a [u8],
        end: Instant,
    ) -> Result<Turn<'a>, StoreError> {
        let semaphore = Arc::clone(
            self.lock().entry(key.into()).or_insert_with(|| Arc::new(Semaphore::new(1))),
        );
        // From here on, a drop removes the entry if no other operation uses it.
        let mut turn =
            Turn { turns: self, key, semaphore: Some(Arc::clone(&semaphore)), permit: None };
        let permit = timeout_at(end, semaphore.acquire_owned()).await;
        // The semaphore is never closed.
        turn.permit = permit.map_err(|_| timed_out(StoreErrorKind::Unavailable))?.ok();
        Ok(turn)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        drop((self.permit.take(), self.semaphore.take()));
        if turns.get(self.key).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            turns.remove(self.key);
        }
    }
}
