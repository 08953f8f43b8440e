//! The thread that writes: [`Writer`].
//!
//! Started by `threads`. Runs the tasks of its queue, several in each transaction. Between
//! transactions it deletes expired sessions and looks for changes by other processes.

use std::{
    hash::{BuildHasher, RandomState},
    slice,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tracing::{debug, warn};

use super::{
    connection::Database,
    error::corrupt,
    file::Reserve,
    operations,
    queue::{AbandonOnDrop, Queue},
    statements::{CHANGES, COUNT_CHANGE, DATA_VERSION},
    task::Task,
};
use crate::store::{StoreError, StoreErrorKind, watchers::Watchers};

/// Maximum number of operations in a transaction. It limits how long other processes wait for the
/// lock.
const BATCH: usize = 256;

/// Number of sessions that one transaction of the cleanup deletes.
pub(super) const CLEANUP_BATCH: usize = 100;

/// Maximum time that a cleanup waits for a moment without operations.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(10);

/// Interval between checks for changes by other processes, while sessions are watched.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum time of writing before the writer leaves the lock to other processes for a moment.
/// `SHARED_TURN` applies if another process wrote within the last `LATELY`, and `TURN` otherwise.
const SHARED_TURN: Duration = Duration::from_millis(5);
const TURN: Duration = Duration::from_millis(100);
const LATELY: Duration = Duration::from_secs(1);

/// How long the lock is left to other processes: longer than they sleep between two attempts.
const PAUSE: Duration = Duration::from_micros(1500);

/// The connection that writes, and its queue.
pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) queue: Arc<Queue<Box<dyn Task>>>,
    /// Woken when a session has ended or changed its principal.
    pub(super) watchers: Watchers,
    /// The reserve, or `None` if the database is in memory.
    pub(super) reserve: Option<Reserve>,
    pub(super) cleanup_interval: Option<Duration>,
}

/// State of the work that the thread does between transactions.
struct Chores {
    next_cleanup: Option<Instant>,
    next_look: Instant,
    /// The version of the data at the last check.
    data_version: i64,
    /// The counter of changes at the last notification of watchers.
    counted: i64,
    turn: Turn,
}

/// How long this process has been writing without a pause, and when another process last wrote.
struct Turn {
    began: Instant,
    /// The version of the data after the last transaction.
    data_version: Option<i64>,
    foreign_write: Option<Instant>,
}

impl Writer {
    /// Carries out tasks until the queue is closed and empty.
    pub(super) fn run(&self) {
        let _abandon = AbandonOnDrop(&self.queue);
        let now = Instant::now();
        let mut chores = Chores {
            // The first cleanup begins at a random time, so that processes that start together do
            // not clean up at the same time.
            next_cleanup: self.cleanup_interval.map(|interval| now + interval.mul_f64(random())),
            next_look: now,
            data_version: 0,
            counted: 0,
            turn: Turn { began: now, data_version: None, foreign_write: None },
        };
        let mut batch = Vec::new();
        self.fill_reserve();
        let mut idle_since = now;
        while self.queue.take(&mut batch, BATCH, self.wake_at(&chores)) {
            if idle_since.elapsed() >= PAUSE {
                chores.turn.began = Instant::now();
            }
            batch.retain(|task| !task.is_abandoned());
            if !batch.is_empty() {
                self.carry_out_all(&mut batch, &mut chores);
                self.leave_lock_to_others(&mut chores.turn);
            }
            idle_since = Instant::now();
            self.notice_foreign_changes(&mut chores);
            self.clean_up(&mut chores);
        }
    }

    fn wake_at(&self, chores: &Chores) -> Option<Instant> {
        let look = self.watchers.is_watched().then_some(chores.next_look);
        look.into_iter().chain(chores.next_cleanup).min()
    }

    /// Carries out tasks in one transaction. If the transaction fails, each task gets a transaction
    /// of its own, unless the outcome is unknown.
    fn carry_out_all(&self, batch: &mut Vec<Box<dyn Task>>, chores: &mut Chores) {
        let outcome = match self.database.begin_write() {
            Ok(()) => self.carry_out(batch, chores),
            Err(error) => {
                // No transaction could begin: a locked or missing file affects all tasks.
                batch.drain(..).for_each(|task| task.finish(Err(error.clone())));
                return;
            }
        };
        let is_final = match &outcome {
            Ok(()) => true,
            // After an unknown outcome, a second attempt could apply a task twice.
            Err(error) => error.kind() == StoreErrorKind::OutcomeUnknown,
        };
        for mut task in batch.drain(..) {
            let outcome =
                if is_final { outcome.clone() } else { self.carry_out_alone(&mut task, chores) };
            task.finish(outcome);
        }
    }

    fn carry_out_alone(
        &self,
        task: &mut Box<dyn Task>,
        chores: &mut Chores,
    ) -> Result<(), StoreError> {
        let mut attempt = || {
            self.database.begin_write()?;
            self.carry_out(slice::from_mut(task), chores)
        };
        match attempt() {
            Err(full) if full.kind() == StoreErrorKind::Full && task.may_use_reserve() => {
                let Some(reserve) = &self.reserve else { return Err(full) };
                warn!("the disk is full; a session is ended in the reserved space");
                reserve.release();
                self.database.begin_write()?;
                self.carry_out(slice::from_mut(task), chores)
            }
            outcome => outcome,
        }
    }

    /// Runs tasks in the transaction that has begun, and commits it or rolls it back.
    fn carry_out(
        &self,
        batch: &mut [Box<dyn Task>],
        chores: &mut Chores,
    ) -> Result<(), StoreError> {
        self.finish(batch.iter_mut().try_for_each(|task| task.run(&self.database)), chores)
    }

    /// Commits a transaction and notifies watchers, or rolls it back.
    fn finish<T>(
        &self,
        answer: Result<T, StoreError>,
        chores: &mut Chores,
    ) -> Result<T, StoreError> {
        let has_changes = self.database.has_changes();
        let answer = answer.and_then(|answer| {
            if has_changes {
                self.database.execute(COUNT_CHANGE, [])?;
            }
            self.database.commit().map(|()| answer)
        });
        if answer.is_err() {
            self.database.roll_back();
        } else if has_changes {
            chores.counted += 1;
            for changed in self.database.take_changes() {
                self.watchers.wake(changed);
            }
        }
        answer
    }

    /// Pauses at the end of a turn. SQLite's lock has no queue, so without pauses a busy process
    /// would hold the lock nearly all the time.
    fn leave_lock_to_others(&self, turn: &mut Turn) {
        if self.reserve.is_none() {
            // A store without a reserve is in memory, and no other process uses it.
            return;
        }
        let version = self.database.row(DATA_VERSION, [], |row| row.get::<_, i64>(0));
        let now = Instant::now();
        if let Ok(Some(version)) = version
            && turn.data_version.replace(version).is_some_and(|before| before != version)
        {
            (turn.began, turn.foreign_write) = (now, Some(now));
        }
        let is_shared = turn.foreign_write.is_some_and(|at| now.duration_since(at) < LATELY);
        if now.duration_since(turn.began) >= if is_shared { SHARED_TURN } else { TURN } {
            thread::sleep(PAUSE);
            turn.began = Instant::now();
        }
    }

    /// Makes watchers check their sessions if another process has ended a session or changed its
    /// principal.
    fn notice_foreign_changes(&self, chores: &mut Chores) {
        let now = Instant::now();
        if !self.watchers.is_watched() || now < chores.next_look {
            return;
        }
        chores.next_look = now + WATCH_INTERVAL;
        let number = |sql| self.database.row(sql, [], |row| row.get::<_, i64>(0));
        let looked = number(DATA_VERSION).and_then(|version| {
            let version = version.ok_or_else(corrupt)?;
            if version == chores.data_version {
                return Ok(());
            }
            let counted = number(CHANGES)?.ok_or_else(corrupt)?;
            if counted != chores.counted {
                self.watchers.wake(None);
            }
            (chores.data_version, chores.counted) = (version, counted);
            Ok(())
        });
        if let Err(error) = looked {
            debug!(%error, "could not check for changes by other processes");
        }
    }

    /// Deletes at most [`CLEANUP_BATCH`] expired sessions if a cleanup is due and no operation
    /// waits. Once a cleanup has been due for [`CLEANUP_PATIENCE`], it does not wait any longer.
    fn clean_up(&self, chores: &mut Chores) {
        let (Some(interval), Some(due)) = (self.cleanup_interval, chores.next_cleanup) else {
            return;
        };
        let begun = Instant::now();
        if begun < due || !self.queue.is_empty() && begun < due + CLEANUP_PATIENCE {
            return;
        }
        let deleted = self.database.begin_write().and_then(|()| {
            self.finish(operations::delete_expired(&self.database, CLEANUP_BATCH), chores)
        });
        let now = Instant::now();
        chores.next_cleanup = Some(match deleted {
            // More sessions may be left. The pause is as long as this step, so that the cleanup
            // takes at most half of the time.
            Ok(CLEANUP_BATCH) => now + begun.elapsed(),
            Ok(_) => now + interval.mul_f64(0.8 + 0.4 * random()),
            Err(error) => {
                warn!(%error, "expired sessions were not deleted; the next cleanup retries");
                now + interval
            }
        });
        self.fill_reserve();
    }

    fn fill_reserve(&self) {
        if let Some(reserve) = &self.reserve {
            reserve.fill();
        }
    }
}

/// Returns a random number from 0 to 1. Nothing depends on its quality.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
