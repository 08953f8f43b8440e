use std::{error::Error, fmt, sync::Arc};

use super::client::{Failure, Source};

/// How many sessions go together at most.
pub(super) const SESSIONS: usize = 64;

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
