//! The health of one connection: [`MonitoredConnection`].
//!
//! Used by `connections`, which replaces a connection on its advice. Knows times and answers, and
//! opens no connection.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::{
    super::{
        error::{CommandError, NAME},
        wire::reply::Reply,
    },
    client::{Call, Command, Connection},
};

/// Idle time after which a connection is tested before its next use. Routers forget idle
/// connections without closing them.
const TEST_AFTER: Duration = Duration::from_secs(10);

/// Number of strikes (commands without an answer) after which a connection is replaced. An answer
/// clears only the strikes of its [`HashTag`].
const MAX_STRIKES: usize = 3;

/// Minimum age of a connection that is replaced because of silence or strikes. It limits how often
/// a slow server gets a new connection.
pub(super) const MIN_AGE_SILENT: Duration = Duration::from_secs(1);

/// Minimum age of a connection that is replaced because its server answered that it cannot serve.
const MIN_AGE_REFUSED: Duration = Duration::from_millis(100);

/// A connection, and its recent failures.
pub(super) struct MonitoredConnection<T> {
    pub(super) connection: T,
    pub(super) since: Instant,
    /// Whether the connection is not used again: its server answered that it cannot serve, or did
    /// not answer the test.
    is_retired: AtomicBool,
    answers: Mutex<Answers>,
    /// Held during the test of the connection.
    testing: tokio::sync::Mutex<()>,
    /// Total number of strikes. Zero while every command is answered.
    strikes: AtomicUsize,
    /// Strikes by hash tag. On a cluster, answers of other nodes must not clear the strikes of an
    /// unresponsive node.
    by_hash_tag: Mutex<HashMap<HashTag, usize>>,
}

/// The times of the answers on a connection.
struct Answers {
    /// The last answer, or the opening of the connection.
    last: Instant,
    /// The time when the first of the commands was sent that have got no answer. `None` if there
    /// are none.
    silent_since: Option<Instant>,
    /// Whether another connection has become silent since the last answer on this one.
    is_suspected: bool,
}

/// The first two bytes of the hash tag. All session keys with the same bytes are on one node.
pub(super) type HashTag = [u8; 2];

impl<T: Connection> MonitoredConnection<T> {
    pub(super) fn new(connection: T) -> Self {
        let since = Instant::now();
        Self {
            connection,
            since,
            is_retired: AtomicBool::new(false),
            answers: Mutex::new(Answers { last: since, silent_since: None, is_suspected: false }),
            testing: tokio::sync::Mutex::default(),
            strikes: AtomicUsize::new(0),
            by_hash_tag: Mutex::default(),
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.is_retired.load(Ordering::Relaxed) && !self.connection.is_closed()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_sent(&self, now: Instant) {
        self.answers().silent_since.get_or_insert(now);
    }

    /// Has the connection tested before its next use, because another connection became silent.
    pub(super) fn suspect(&self) {
        self.answers().is_suspected = true;
    }

    fn note_answer(&self) {
        let last = Instant::now();
        *self.answers() = Answers { last, silent_since: None, is_suspected: false };
    }

    /// Returns whether commands were sent, and none was answered in this time.
    pub(super) fn is_silent_for(&self, time: Duration) -> bool {
        self.answers().silent_since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Returns whether the connection has to be tested before its next use.
    pub(super) fn needs_test(&self) -> bool {
        let answers = self.answers();
        let is_doubtful = answers.is_suspected || answers.last.elapsed() >= TEST_AFTER;
        // A recent command tests the connection itself. An old one may have lost its caller.
        is_doubtful && answers.silent_since.is_none_or(|since| since.elapsed() >= TEST_AFTER)
    }

    /// Tests the connection on the server of this key, if it still needs a test. Returns whether to
    /// use it. If not, it is not used again.
    pub(super) async fn test(&self, key: &Bytes, max_test: Duration) -> bool {
        // Other callers wait, because they would also send their commands to a dead connection.
        let _testing = self.testing.lock().await;
        if !self.is_usable() || !self.needs_test() {
            return self.is_usable();
        }
        let ping = || Command { name: "PING", arguments: Vec::new() };
        let commands = [ping(), ping(), ping()];
        let call = Call::Commands { key, commands: &commands };
        match timeout(max_test, self.connection.call(call, max_test)).await {
            // A role that may not use this command also gets an answer.
            Ok(Ok(_) | Err(CommandError::Server(..))) => self.note_answer(),
            _ => {
                tracing::debug!(store = NAME, "a connection did not answer its test");
                self.is_retired.store(true, Ordering::Relaxed);
            }
        }
        self.is_usable()
    }

    /// Records an answer, and returns whether to replace the connection.
    pub(super) fn note_answer_and_check(
        &self,
        answer: &Result<Reply, CommandError>,
        hash_tag: HashTag,
    ) -> bool {
        if matches!(answer, Ok(_) | Err(CommandError::Server(..))) {
            self.note_answer();
        }
        match answer {
            Err(CommandError::OutcomeUnknown(_)) => self.note_strike(hash_tag),
            Err(error) if error.is_of_wrong_server() => {
                if self.since.elapsed() < MIN_AGE_REFUSED {
                    return false;
                }
                !self.is_retired.swap(true, Ordering::Relaxed)
            }
            _ => {
                if self.strikes.load(Ordering::Relaxed) > 0 {
                    let mut by_hash_tag = self.lock();
                    let strikes = by_hash_tag.remove(&hash_tag).unwrap_or_default();
                    self.strikes.fetch_sub(strikes, Ordering::Relaxed);
                }
                false
            }
        }
    }

    /// Records a command without an answer, and returns whether to replace the connection. The
    /// connection stays in use until a new one is open, because perhaps only one node of a cluster
    /// has stopped responding.
    pub(super) fn note_strike(&self, hash_tag: HashTag) -> bool {
        let mut by_hash_tag = self.lock();
        *by_hash_tag.entry(hash_tag).or_default() += 1;
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        let is_due = strikes >= MAX_STRIKES && self.since.elapsed() >= MIN_AGE_SILENT;
        if is_due {
            // If no new connection opens, further strikes cause a new attempt.
            by_hash_tag.clear();
            self.strikes.store(0, Ordering::Relaxed);
        }
        is_due
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HashTag, usize>> {
        self.by_hash_tag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the hash tag of a key.
pub(super) fn hash_tag(key: Option<&Bytes>) -> HashTag {
    let key = key.map(|key| &**key).unwrap_or_default();
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|brace| key.get(brace + 1..));
    tag.and_then(|tag| tag.first_chunk().copied()).unwrap_or_default()
}
