use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use super::{
    arguments::Arguments,
    client::{Call, Failure, Reply, Source},
    layout::{key, key_into},
    script::{Limit, Script},
};
use crate::token::Handle;

/// How many sessions go together at most, and about how long a key is.
pub(super) const SESSIONS: usize = 64;
const KEY: usize = 32;

/// The way to the sessions of a store, for one of them or for several.
pub(super) struct Way<C> {
    link: Arc<C>,
    prefix: Box<str>,
    /// They are on different nodes: each goes alone.
    scattered: AtomicBool,
}

impl<C: Call> Way<C> {
    pub(super) fn new(link: &Arc<C>, prefix: &str) -> Self {
        let scattered = AtomicBool::new(false);
        Self { link: Arc::clone(link), prefix: prefix.into(), scattered }
    }

    pub(super) fn is_scattered(&self) -> bool {
        self.scattered.load(Ordering::Relaxed)
    }

    /// Runs the script of one session.
    pub(super) async fn alone(
        &self,
        script: &'static Script,
        handle: &Handle,
        arguments: Arguments,
        limit: Limit,
    ) -> Result<Reply, Failure> {
        let (key, arguments) = (key(&self.prefix, handle), arguments.list());
        // Boxed, or drivers' futures would be nested more deeply than the compiler follows.
        Box::pin(script.call(&*self.link, &[key], &arguments, limit)).await
    }

    /// Runs the script of several, and takes note if they are scattered.
    pub(super) async fn together(
        &self,
        script: &'static Script,
        handles: impl ExactSizeIterator<Item = &Handle>,
        arguments: Arguments,
        limit: Limit,
    ) -> Result<Reply, Failure> {
        let mut buffer = BytesMut::with_capacity(KEY * handles.len());
        let keys: Vec<Bytes> = handles
            .map(|handle| {
                key_into(&mut buffer, &self.prefix, handle);
                buffer.split().freeze()
            })
            .collect();
        let answer = script.call(&*self.link, &keys, &arguments.list(), limit).await;
        if answer.as_ref().is_err_and(Failure::is_scattered) {
            self.scattered.store(true, Ordering::Relaxed);
        }
        answer
    }
}

impl Failure {
    /// Whether it came of keys that are on different nodes.
    pub(super) fn is_scattered(&self) -> bool {
        matches!(self, Self::Refused(code, _) if code == "CROSSSLOT")
    }
}

/// The runtime is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the task that was to ask is gone")]
pub(super) struct Gone;

/// What the server sent is no answer to what was asked.
#[derive(Debug, thiserror::Error)]
#[error("an answer that no script gives")]
pub(super) struct Garbled;

/// The same failure for each.
pub(super) fn shared(failure: Failure) -> impl Iterator<Item = Failure> {
    type Kind = Box<dyn Fn(Source) -> Failure + Send>;
    let (kind, source): (Kind, Source) = match failure {
        Failure::Refused(code, source) => {
            (Box::new(move |source| Failure::Refused(code.clone(), source)), source)
        }
        Failure::Unsent(source) => (Box::new(Failure::Unsent), source),
        Failure::Lost(source) => (Box::new(Failure::Lost), source),
    };
    let source = Shared(source.into());
    std::iter::repeat_with(move || kind(Box::new(source.clone())))
}

#[derive(Debug, Clone)]
struct Shared(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
