//! The connections of a store: [`Connections`].
//!
//! Replaces a connection that has closed, fails or does not answer. The drivers only open connections
//! and send commands. Created by the store and the channel, and called through
//! [`ScriptClient`](super::client::ScriptClient). It must not know scripts or sessions.

use std::{
    collections::HashMap,
    error::Error,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    super::{
        error::{CommandError, NAME, Source, TimedOut},
        wire::reply::Reply,
    },
    client::{Call, Command, Connection, Connector, ScriptClient},
};

/// Maximum time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After this time, a second attempt to connect begins beside the first one, and so on. The address may lead to
/// a new server, while an attempt at the former server gets no answer.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

/// Idle time after which a connection is tested before its next use. Routers forget idle connections without
/// closing them.
const TEST_AFTER: Duration = Duration::from_secs(10);

/// Maximum duration of the test of a connection, and the silence after which a connection is suspected. A
/// quarter of the timeout of a call, if that is less.
const MAX_SILENCE: Duration = Duration::from_millis(500);

/// Minimum time between two attempts to connect.
const CONNECT_INTERVAL: Duration = Duration::from_millis(20);

/// Number of strikes (commands without an answer) after which a connection is replaced. An answer clears only
/// the strikes of its [`Place`].
const MAX_STRIKES: usize = 3;

/// Minimum wait of a caller that gives up. After a shorter wait, its command does not count as a strike.
const MIN_SILENCE: Duration = Duration::from_millis(100);

/// Minimum age of a connection that is replaced because of silence or strikes. It limits how often a slow
/// server gets a new connection.
const MIN_AGE_SILENT: Duration = Duration::from_secs(1);

/// Minimum age of a connection that is replaced because its server answered that it cannot serve.
const MIN_AGE_REFUSED: Duration = Duration::from_millis(100);

/// Connections that are used in turn. Each is opened at its first use. It is replaced in these cases:
///
/// - It has closed, or its server cannot serve.
/// - It gives no answer at all for [`MAX_SILENCE`].
/// - [`MAX_STRIKES`] commands got no answer.
/// - It was idle, or another connection became silent, and it does not answer a test before its next use.
pub(in crate::store::redis) struct Connections<K: Connector> {
    slots: Vec<Arc<Slot<K>>>,
    next: AtomicUsize,
}

/// One connection, and the attempts to open the next connection.
struct Slot<K: Connector> {
    connector: K,
    state: Mutex<State<K::Connection>>,
}

struct State<T> {
    current: Option<Arc<Judged<T>>>,
    attempt: Option<Attempt<T>>,
    attempted: Option<Instant>,
}

/// An attempt to connect. Its outcome is `None` until the attempt has ended. All callers share it, and no
/// caller can cancel it.
type Attempt<T> = watch::Receiver<Option<Result<Arc<Judged<T>>, ConnectError>>>;

/// A connection, and its recent failures.
struct Judged<T> {
    connection: T,
    since: Instant,
    /// Whether the connection is not used again: its server answered that it cannot serve, or did not answer
    /// the test.
    is_refused: AtomicBool,
    answers: Mutex<Answers>,
    /// Held during the test of the connection.
    testing: tokio::sync::Mutex<()>,
    /// Total number of strikes. Zero while every command is answered.
    strikes: AtomicUsize,
    /// Strikes by place. On a cluster, answers of other nodes must not clear the strikes of an unresponsive
    /// node.
    by_place: Mutex<HashMap<Place, usize>>,
}

/// The times of the answers on a connection.
struct Answers {
    /// The last answer, or the opening of the connection.
    last: Instant,
    /// The time when the first of the commands was sent that have got no answer. `None` if there are none.
    silent_since: Option<Instant>,
    /// Whether another connection has become silent since the last answer on this one.
    is_suspected: bool,
}

/// The first two bytes of the hash tag. All session keys with the same place are on one node.
type Place = [u8; 2];

#[derive(Debug, Clone, thiserror::Error)]
#[error("no connection to the server")]
struct ConnectError(#[source] Arc<dyn Error + Send + Sync>);

impl<K: Connector> Connections<K> {
    pub(in crate::store::redis) fn new(connectors: Vec<K>) -> Self {
        let slot = |connector| {
            let state = State { current: None, attempt: None, attempted: None };
            Arc::new(Slot { connector, state: Mutex::new(state) })
        };
        Self { slots: connectors.into_iter().map(slot).collect(), next: AtomicUsize::new(0) }
    }

    /// Returns the next usable connection. Begins to replace each unusable connection that comes before it.
    /// If no connection is usable, waits for the replacement of the first one.
    async fn connection(&self, deadline: Instant) -> Result<InUse<'_, K>, CommandError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut opening = None;
        for offset in 0..self.slots.len() {
            let slot = &self.slots[first.wrapping_add(offset) % self.slots.len()];
            match slot.usable() {
                Ok(judged) => return Ok(InUse { slot, judged }),
                Err(attempt) => opening = opening.or(Some((slot, attempt))),
            }
        }
        let (slot, mut attempt) = opening.ok_or_else(|| not_sent(TimedOut))?;
        let outcome = timeout_at(deadline, attempt.wait_for(Option::is_some)).await;
        let outcome = outcome.map_err(|_| not_sent(TimedOut))?;
        // An error here means that the runtime of the attempt has shut down.
        let outcome = outcome.map_err(not_sent)?.clone();
        let judged = outcome.ok_or_else(|| not_sent(TimedOut))?.map_err(not_sent)?;
        Ok(InUse { slot, judged })
    }

    /// Has each connection tested before its next use, because one connection became silent. The others may
    /// be silent for the same reason.
    fn suspect_all(&self) {
        for slot in &self.slots {
            if let Some(judged) = &slot.lock().current {
                judged.answers().is_suspected = true;
            }
        }
    }
}

impl<K: Connector> ScriptClient for Connections<K> {
    async fn call(&self, call: Call<'_>, timeout: Duration) -> Result<Reply, CommandError> {
        let deadline = Instant::now() + timeout;
        let max_silence = (timeout / 4).min(MAX_SILENCE);
        let in_use = loop {
            let in_use = self.connection(deadline).await?;
            let judged = &in_use.judged;
            let Some(key) = call.key().filter(|_| judged.needs_test()) else { break in_use };
            // Boxed: tests are rare, and would deepen the type of every call.
            if Box::pin(judged.test(key, max_silence)).await {
                break in_use;
            }
        };
        let sent = Instant::now();
        let left = deadline.saturating_duration_since(sent);
        let mut sending = Sending { in_use, place: place(call.key()), sent, is_answered: false };
        let judged = Arc::clone(&sending.in_use.judged);
        judged.note_sent(sent);
        let mut answering = pin!(judged.connection.call(call, left));
        let quick = timeout_at(deadline.min(sent + max_silence), answering.as_mut()).await;
        let answer = match quick {
            Ok(answer) => Ok(answer),
            Err(_) => {
                // The connection stays in use until a new one is open: perhaps the server is only slow.
                if judged.is_silent_for(max_silence) && judged.since.elapsed() >= MIN_AGE_SILENT {
                    self.suspect_all();
                    sending.in_use.replace();
                }
                timeout_at(deadline, answering).await
            }
        };
        let answer = answer.unwrap_or_else(|_| Err(CommandError::OutcomeUnknown(TimedOut.into())));
        sending.is_answered = true;
        if sending.in_use.judged.has_to_go(&answer, sending.place) {
            sending.in_use.replace();
        }
        answer
    }
}

/// A connection in use, and its slot.
struct InUse<'a, K: Connector> {
    slot: &'a Arc<Slot<K>>,
    judged: Arc<Judged<K::Connection>>,
}

impl<K: Connector> InUse<'_, K> {
    /// Begins to replace the connection, unless another one has taken its place already.
    fn replace(&self) {
        let mut state = self.slot.lock();
        let is_current = |current: &Arc<_>| Arc::ptr_eq(current, &self.judged);
        if state.current.as_ref().is_some_and(is_current) {
            tracing::debug!(store = NAME, "a connection is replaced");
            drop(self.slot.open(&mut state));
        }
    }
}

/// A command that was sent.
///
/// A caller with a shorter timeout, such as a layered store, drops the future of the command. The missing
/// answer may still count as a strike.
struct Sending<'a, K: Connector> {
    in_use: InUse<'a, K>,
    place: Place,
    sent: Instant,
    is_answered: bool,
}

impl<K: Connector> Drop for Sending<'_, K> {
    fn drop(&mut self) {
        // Outside a runtime, no strike is recorded, because no new connection can be opened there.
        let judged = &self.in_use.judged;
        if !self.is_answered
            && (self.sent.elapsed() >= MIN_SILENCE || judged.is_silent_for(MIN_SILENCE))
            && Handle::try_current().is_ok()
            && judged.note_strike(self.place)
        {
            self.in_use.replace();
        }
    }
}

impl<K: Connector> Slot<K> {
    fn lock(&self) -> MutexGuard<'_, State<K::Connection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection if it is usable. Otherwise returns the attempt to open a new connection.
    fn usable(self: &Arc<Self>) -> Result<Arc<Judged<K::Connection>>, Attempt<K::Connection>> {
        let mut state = self.lock();
        match &state.current {
            Some(judged) if judged.is_usable() => Ok(Arc::clone(judged)),
            _ => Err(self.open(&mut state)),
        }
    }

    /// Begins to open a connection, unless an attempt is in progress.
    fn open(self: &Arc<Self>, state: &mut State<K::Connection>) -> Attempt<K::Connection> {
        let is_open =
            |attempt: &&Attempt<_>| attempt.borrow().is_none() && attempt.has_changed().is_ok();
        if let Some(attempt) = state.attempt.as_ref().filter(is_open) {
            return attempt.clone();
        }
        let (outcome, attempt) = watch::channel(None);
        let earliest = state.attempted.map_or_else(Instant::now, |last| last + CONNECT_INTERVAL);
        state.attempt = Some(attempt.clone());
        let slot = Arc::clone(self);
        tokio::spawn(async move {
            sleep_until(earliest).await;
            let opened = timeout(CONNECT_TIMEOUT, slot.connect()).await;
            let opened = opened.unwrap_or_else(|_| Err(TimedOut.into()));
            let opened = opened.map(|connection| Arc::new(Judged::new(connection)));
            let mut state = slot.lock();
            state.attempted = Some(Instant::now());
            if let Ok(judged) = &opened {
                // The former connection closes when the last command on it is over.
                state.current = Some(Arc::clone(judged));
            }
            drop(state);
            outcome.send_replace(Some(opened.map_err(|error| ConnectError(error.into()))));
        });
        attempt
    }

    /// Opens a connection. As long as no attempt has an outcome, further attempts begin. Returns the first
    /// outcome.
    async fn connect(self: &Arc<Self>) -> Result<K::Connection, Source> {
        let mut attempts = JoinSet::new();
        loop {
            let slot = Arc::clone(self);
            attempts.spawn(async move { slot.connector.connect().await });
            match timeout(CONNECT_AGAIN, attempts.join_next()).await {
                Ok(Some(Ok(outcome))) => return outcome,
                Ok(Some(Err(panicked))) => return Err(panicked.into()),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

impl<T: Connection> Judged<T> {
    fn new(connection: T) -> Self {
        let since = Instant::now();
        Self {
            connection,
            since,
            is_refused: AtomicBool::new(false),
            answers: Mutex::new(Answers { last: since, silent_since: None, is_suspected: false }),
            testing: tokio::sync::Mutex::default(),
            strikes: AtomicUsize::new(0),
            by_place: Mutex::default(),
        }
    }

    fn is_usable(&self) -> bool {
        !self.is_refused.load(Ordering::Relaxed) && !self.connection.is_closed()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_sent(&self, now: Instant) {
        self.answers().silent_since.get_or_insert(now);
    }

    fn note_answer(&self) {
        let last = Instant::now();
        *self.answers() = Answers { last, silent_since: None, is_suspected: false };
    }

    /// Returns whether commands were sent, and none was answered in this time.
    fn is_silent_for(&self, time: Duration) -> bool {
        self.answers().silent_since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Returns whether the connection has to be tested before its next use.
    fn needs_test(&self) -> bool {
        let answers = self.answers();
        let is_doubtful = answers.is_suspected || answers.last.elapsed() >= TEST_AFTER;
        // A recent command tests the connection itself. An old one may have lost its caller.
        is_doubtful && answers.silent_since.is_none_or(|since| since.elapsed() >= TEST_AFTER)
    }

    /// Tests the connection on the server of this key, if it still needs a test. Returns whether to use it. If
    /// not, it is not used again.
    async fn test(&self, key: &Bytes, max_test: Duration) -> bool {
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
                self.is_refused.store(true, Ordering::Relaxed);
            }
        }
        self.is_usable()
    }

    /// Records an answer, and returns whether to replace the connection.
    fn has_to_go(&self, answer: &Result<Reply, CommandError>, place: Place) -> bool {
        if matches!(answer, Ok(_) | Err(CommandError::Server(..))) {
            self.note_answer();
        }
        match answer {
            Err(CommandError::OutcomeUnknown(_)) => self.note_strike(place),
            Err(error) if error.is_of_wrong_server() => {
                if self.since.elapsed() < MIN_AGE_REFUSED {
                    return false;
                }
                !self.is_refused.swap(true, Ordering::Relaxed)
            }
            _ => {
                if self.strikes.load(Ordering::Relaxed) > 0 {
                    let mut by_place = self.lock();
                    let strikes = by_place.remove(&place).unwrap_or_default();
                    self.strikes.fetch_sub(strikes, Ordering::Relaxed);
                }
                false
            }
        }
    }

    /// Records a command without an answer, and returns whether to replace the connection. The
    /// connection stays in use until a new one is open, because perhaps only one node of a cluster
    /// has stopped responding.
    fn note_strike(&self, place: Place) -> bool {
        let mut by_place = self.lock();
        *by_place.entry(place).or_default() += 1;
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        let has_to_go = strikes >= MAX_STRIKES && self.since.elapsed() >= MIN_AGE_SILENT;
        if has_to_go {
            // If no new connection opens, further strikes cause a new attempt.
            by_place.clear();
            self.strikes.store(0, Ordering::Relaxed);
        }
        has_to_go
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, usize>> {
        self.by_place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the place of a key.
fn place(key: Option<&Bytes>) -> Place {
    let key = key.map(|key| &**key).unwrap_or_default();
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|brace| key.get(brace + 1..));
    tag.and_then(|tag| tag.first_chunk().copied()).unwrap_or_default()
}

fn not_sent(error: impl Error + Send + Sync + 'static) -> CommandError {
    CommandError::NotSent(Box::new(error))
}
