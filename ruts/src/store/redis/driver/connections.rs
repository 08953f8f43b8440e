//! The connections of a store: [`Connections`].
//!
//! Replaces a connection that has closed, fails or does not answer. The drivers only open
//! connections and send commands. Created by the store and the channel, and called through
//! [`CommandClient`](super::client::CommandClient). It must not know scripts or sessions.

use std::{
    error::Error,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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
    client::{Call, CommandClient, Connection, Connector},
    health::{HashTag, MIN_AGE_SILENT, MonitoredConnection, hash_tag},
};

/// Maximum time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After this time, a second attempt to connect begins beside the first one, and so on. The address
/// may lead to a new server, while an attempt at the former server gets no answer.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

/// Maximum duration of the test of a connection, and the silence after which a connection is
/// suspected. A quarter of the timeout of a call, if that is less.
const MAX_SILENCE: Duration = Duration::from_millis(500);

/// Minimum time between two attempts to connect.
const CONNECT_INTERVAL: Duration = Duration::from_millis(20);

/// Minimum wait of a caller that gives up. After a shorter wait, its command does not count as a
/// strike.
const MIN_SILENCE: Duration = Duration::from_millis(100);

/// Connections that are used in turn. Each is opened at its first use. It is replaced in these
/// cases:
///
/// - It has closed, or its server cannot serve.
/// - It gives no answer at all for [`MAX_SILENCE`].
/// - Several commands got no answer.
/// - It was idle, or another connection became silent, and it does not answer a test before its
///   next use.
pub(in crate::store::redis) struct Connections<K: Connector> {
    pool: Vec<Arc<PooledConnection<K>>>,
    next: AtomicUsize,
}

/// One connection, and the attempts to open the next connection.
struct PooledConnection<K: Connector> {
    connector: K,
    state: Mutex<State<K::Connection>>,
}

struct State<T> {
    current: Option<Arc<MonitoredConnection<T>>>,
    attempt: Option<Attempt<T>>,
    attempted: Option<Instant>,
}

/// An attempt to connect. Its outcome is `None` until the attempt has ended. All callers share it,
/// and no caller can cancel it.
type Attempt<T> = watch::Receiver<Option<Result<Arc<MonitoredConnection<T>>, ConnectError>>>;

#[derive(Debug, Clone, thiserror::Error)]
#[error("no connection to the server")]
struct ConnectError(#[source] Arc<dyn Error + Send + Sync>);

impl<K: Connector> Connections<K> {
    pub(in crate::store::redis) fn new(connectors: Vec<K>) -> Self {
        let pooled = |connector| {
            let state = State { current: None, attempt: None, attempted: None };
            Arc::new(PooledConnection { connector, state: Mutex::new(state) })
        };
        Self { pool: connectors.into_iter().map(pooled).collect(), next: AtomicUsize::new(0) }
    }

    /// Returns the next usable connection. Begins to replace each unusable connection that comes
    /// before it. If no connection is usable, waits for the replacement of the first one.
    async fn connection(&self, deadline: Instant) -> Result<InUse<'_, K>, CommandError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut opening = None;
        for offset in 0..self.pool.len() {
            let pooled = &self.pool[first.wrapping_add(offset) % self.pool.len()];
            match pooled.usable() {
                Ok(monitored) => return Ok(InUse { pooled, monitored }),
                Err(attempt) => opening = opening.or(Some((pooled, attempt))),
            }
        }
        let (pooled, mut attempt) = opening.ok_or_else(|| not_sent(TimedOut))?;
        let outcome = timeout_at(deadline, attempt.wait_for(Option::is_some)).await;
        let outcome = outcome.map_err(|_| not_sent(TimedOut))?;
        // An error here means that the runtime of the attempt has shut down.
        let outcome = outcome.map_err(not_sent)?.clone();
        let monitored = outcome.ok_or_else(|| not_sent(TimedOut))?.map_err(not_sent)?;
        Ok(InUse { pooled, monitored })
    }

    /// Has each connection tested before its next use, because one connection became silent. The
    /// others may be silent for the same reason.
    fn suspect_all(&self) {
        for pooled in &self.pool {
            if let Some(connection) = &pooled.lock().current {
                connection.suspect();
            }
        }
    }
}

impl<K: Connector> CommandClient for Connections<K> {
    async fn call(&self, call: Call<'_>, timeout: Duration) -> Result<Reply, CommandError> {
        let deadline = Instant::now() + timeout;
        let max_silence = (timeout / 4).min(MAX_SILENCE);
        let in_use = loop {
            let in_use = self.connection(deadline).await?;
            let monitored = &in_use.monitored;
            let Some(key) = call.key().filter(|_| monitored.needs_test()) else { break in_use };
            // Boxed: tests are rare, and would deepen the type of every call.
            if Box::pin(monitored.test(key, max_silence)).await {
                break in_use;
            }
        };
        let sent = Instant::now();
        let left = deadline.saturating_duration_since(sent);
        let mut sending =
            Sending { in_use, hash_tag: hash_tag(call.key()), sent, is_answered: false };
        let monitored = Arc::clone(&sending.in_use.monitored);
        monitored.note_sent(sent);
        let mut answering = pin!(monitored.connection.call(call, left));
        let quick = timeout_at(deadline.min(sent + max_silence), answering.as_mut()).await;
        let answer = match quick {
            Ok(answer) => Ok(answer),
            Err(_) => {
                // The connection stays in use until a new one is open: perhaps the server is only
                // slow.
                if monitored.is_silent_for(max_silence)
                    && monitored.since.elapsed() >= MIN_AGE_SILENT
                {
                    self.suspect_all();
                    sending.in_use.replace();
                }
                timeout_at(deadline, answering).await
            }
        };
        let answer = answer.unwrap_or_else(|_| Err(CommandError::OutcomeUnknown(TimedOut.into())));
        sending.is_answered = true;
        if sending.in_use.monitored.note_answer_and_check(&answer, sending.hash_tag) {
            sending.in_use.replace();
        }
        answer
    }
}

/// A connection in use, and its pooled.
struct InUse<'a, K: Connector> {
    pooled: &'a Arc<PooledConnection<K>>,
    monitored: Arc<MonitoredConnection<K::Connection>>,
}

impl<K: Connector> InUse<'_, K> {
    /// Begins to replace the connection, unless another one has taken its place already.
    fn replace(&self) {
        let mut state = self.pooled.lock();
        let is_current = |current: &Arc<_>| Arc::ptr_eq(current, &self.monitored);
        if state.current.as_ref().is_some_and(is_current) {
            tracing::debug!(store = NAME, "a connection is replaced");
            drop(self.pooled.open(&mut state));
        }
    }
}

/// A command that was sent.
///
/// A caller with a shorter timeout, such as a layered store, drops the future of the command. The
/// missing answer may still count as a strike.
struct Sending<'a, K: Connector> {
    in_use: InUse<'a, K>,
    hash_tag: HashTag,
    sent: Instant,
    is_answered: bool,
}

impl<K: Connector> Drop for Sending<'_, K> {
    fn drop(&mut self) {
        // Outside a runtime, no strike is recorded, because no new connection can be opened there.
        let monitored = &self.in_use.monitored;
        if !self.is_answered
            && (self.sent.elapsed() >= MIN_SILENCE || monitored.is_silent_for(MIN_SILENCE))
            && Handle::try_current().is_ok()
            && monitored.note_strike(self.hash_tag)
        {
            self.in_use.replace();
        }
    }
}

impl<K: Connector> PooledConnection<K> {
    fn lock(&self) -> MutexGuard<'_, State<K::Connection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection if it is usable. Otherwise returns the attempt to open a new
    /// connection.
    fn usable(
        self: &Arc<Self>,
    ) -> Result<Arc<MonitoredConnection<K::Connection>>, Attempt<K::Connection>> {
        let mut state = self.lock();
        match &state.current {
            Some(monitored) if monitored.is_usable() => Ok(Arc::clone(monitored)),
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
        let pooled = Arc::clone(self);
        tokio::spawn(async move {
            sleep_until(earliest).await;
            let opened = timeout(CONNECT_TIMEOUT, pooled.connect()).await;
            let opened = opened.unwrap_or_else(|_| Err(TimedOut.into()));
            let opened = opened.map(|connection| Arc::new(MonitoredConnection::new(connection)));
            let mut state = pooled.lock();
            state.attempted = Some(Instant::now());
            if let Ok(monitored) = &opened {
                // The former connection closes when the last command on it is over.
                state.current = Some(Arc::clone(monitored));
            }
            drop(state);
            outcome.send_replace(Some(opened.map_err(|error| ConnectError(error.into()))));
        });
        attempt
    }

    /// Opens a connection. As long as no attempt has an outcome, further attempts begin. Returns
    /// the first outcome.
    async fn connect(self: &Arc<Self>) -> Result<K::Connection, Source> {
        let mut attempts = JoinSet::new();
        loop {
            let pooled = Arc::clone(self);
            attempts.spawn(async move { pooled.connector.connect().await });
            match timeout(CONNECT_AGAIN, attempts.join_next()).await {
                Ok(Some(Ok(outcome))) => return outcome,
                Ok(Some(Err(panicked))) => return Err(panicked.into()),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

fn not_sent(error: impl Error + Send + Sync + 'static) -> CommandError {
    CommandError::NotSent(Box::new(error))
}
