use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, Once, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Everything that is logged on this thread while it lives, at every level.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to listen; ends with the guard.
    pub fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    /// What was logged so far.
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

/// How many of the secrets that were issued last are searched for.
const SEARCHED: usize = 100;

static ISSUED: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Has everything that this process logs, at every level, searched for every secret that is issued.
pub(crate) fn search() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Search)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    });
}

/// A value that must not be logged from now on. Says what was found of the others.
pub(crate) fn is_secret(value: &str) {
    let secret = value.rsplit('.').next().unwrap_or(value);
    // The header that takes a token away is empty.
    if secret.is_empty() {
        return;
    }
    let mut issued = ISSUED.lock().unwrap();
    issued.push_back(secret.to_owned());
    if issued.len() > SEARCHED {
        issued.pop_front();
    }
}

/// Panics if a secret was logged.
pub(crate) fn nothing_leaked() {
    let leaks = LEAKS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(leaks.is_empty(), "secrets were logged: {leaks:?}");
}

struct Search;

impl Write for Search {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if ISSUED.lock().unwrap().iter().any(|secret| text.contains(secret.as_str())) {
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
    fn a_secret_in_a_log_is_found() {
        search();
        is_secret("handle.a secret that is logged by mistake");
        tracing::trace!("this is no leak");
        nothing_leaked();
        tracing::trace!(cookie = "handle.a secret that is logged by mistake", "this is one");
        assert!(std::panic::catch_unwind(nothing_leaked).is_err());
    }
}
