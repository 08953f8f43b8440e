use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{BufMut, BytesMut};

use super::client::{Failure, Source};

/// How many sessions go together at most.
pub(super) const SESSIONS: usize = 64;

/// How many bytes are to be answered: a server does nothing else meanwhile.
pub(super) const BYTES: usize = 256 * 1024;
/// How long what is said of a session is that was not read.
const NOTHING: usize = 1;

/// How many sessions are read together, by how large those before were.
pub(super) struct Pace(AtomicUsize);

impl Pace {
    pub(super) fn most(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes note of how long what is said of each session is.
    pub(super) fn note(&self, sizes: impl Iterator<Item = usize>) {
        let sizes = sizes.filter(|size| *size > NOTHING);
        let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        if count > 0 {
            // Two at least: of one that goes alone, nobody takes note.
            self.0.store((BYTES * count).div_ceil(bytes).clamp(2, SESSIONS), Ordering::Relaxed);
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicUsize::new(SESSIONS))
    }
}

/// Those that are different, and which of them each is, the first being 1.
pub(super) fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> (Vec<T>, Vec<u8>) {
    let mut lists = Vec::new();
    let which = all.map(|one| {
        let place = lists.iter().position(|list| *list == one).unwrap_or_else(|| {
            lists.push(one);
            lists.len() - 1
        });
        1 + place as u8
    });
    let which = which.collect();
    (lists, which)
}

/// What the arguments of a script for several begin with: how many lists there are, how long each is, and which
/// of them belongs to each session.
pub(super) fn head(lengths: impl ExactSizeIterator<Item = usize>, which: &[u8]) -> BytesMut {
    let mut head = BytesMut::with_capacity(1 + lengths.len() + which.len());
    head.put_u8(lengths.len() as u8);
    lengths.for_each(|length| head.put_u8(length as u8));
    head.put_slice(which);
    head
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
