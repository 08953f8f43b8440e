//! The log of a test: a recorder for one thread, and a search of all log lines of the process for
//! secrets.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, Once, PoisonError},
};

use tracing::{Level, subscriber::DefaultGuard};
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

/// Log lines of this thread, at every level, from [`Log::start`] until its guard is dropped.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Starts recording, until the guard is dropped.
    pub fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    /// Returns the lines so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Number of secrets to search for. Older secrets are no longer searched for.
const SEARCHED: usize = 100;

static SECRETS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts to search every log line of this process, at every level, for the added secrets.
pub(crate) fn search_for_leaks() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Search)
            .finish();
        tracing::subscriber::set_global_default(subscriber)
            .expect("there should be no other global subscriber");
    });
}

/// Adds the secret of a token, or a whole cookie value, to the values that must not be logged.
pub(crate) fn add_secret(value: &str) {
    let secret = value.rsplit('.').next().unwrap_or(value);
    // A header or cookie that removes a token has an empty value.
    if secret.is_empty() {
        return;
    }
    let mut secrets = SECRETS.lock().unwrap();
    secrets.push_back(secret.to_owned());
    if secrets.len() > SEARCHED {
        secrets.pop_front();
    }
}

/// Panics if a secret was logged.
pub(crate) fn assert_no_leak() {
    let leaks = LEAKS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(leaks.is_empty(), "no secret should be logged: {leaks:?}");
}

struct Search;

impl Write for Search {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if SECRETS.lock().unwrap().iter().any(|secret| text.contains(secret.as_str())) {
            LEAKS.lock().unwrap().push(text.into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: ASVS-16.2.5
    #[test]
    fn a_secret_in_a_log_line_is_found() {
        search_for_leaks();
        add_secret("id.a secret that is logged by mistake");
        tracing::trace!("not a leak");
        assert_no_leak();
        tracing::trace!(cookie = "id.a secret that is logged by mistake", "a leak");
        assert!(std::panic::catch_unwind(assert_no_leak).is_err());
    }
}
