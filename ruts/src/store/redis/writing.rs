use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    arguments::{self, Arguments},
    batch::{Garbled, Gone, SESSIONS, distinct, head, shared},
    client::{Call, Failure, NoAnswer, Reply},
    packed,
    script::{Deadline, Script, UPDATE, UPDATE_ON_FULL_SERVER, UPDATE_TOGETHER},
    way::Way,
};
use crate::{
    name::FieldName,
    store::{
        Change, Credentials, Update,
        gather::{Gather, Queue, Waiting, call},
    },
    token::{SecretHash, SessionId},
};

/// Writes, of which those that wait go to the server in one script.
pub(super) struct Writes<C> {
    way: Arc<Way<C>>,
    queue: Queue<Writing, Written>,
}

type Answer = Result<Reply, Failure>;

/// What became of a write.
pub(super) enum Written {
    Is(Answer),
    /// It was sent with others. With the write itself, so that memory is given back where it was taken.
    Together(Writing, Answer),
    /// It is to be sent alone.
    Alone(Writing),
}

/// A write to a session, and whatever else is done with it.
pub(super) struct Writing {
    id: SessionId,
    secret: SecretHash,
    touch: [u64; 2],
    letters: String,
    /// It sets a field: a server without room refuses it.
    grows: bool,
    /// Of the fields that are set, if there is no more to it than that.
    names: Vec<FieldName>,
    /// The values of these, or all other arguments.
    others: Vec<Bytes>,
    /// How many bytes that makes.
    bytes: usize,
}

/// How much goes together, unless it is one write.
const BYTES: usize = 64 * 1024;
/// A write with more arguments than a byte can count goes alone.
const ARGUMENTS: usize = 250;

impl<C: Call> Writes<C> {
    pub(super) fn new(way: &Arc<Way<C>>) -> Self {
        Self { way: Arc::clone(way), queue: Queue::default() }
    }

    /// Writes to a session. `most` is how many may be under way before it waits.
    pub(super) async fn write(
        self: &Arc<Self>,
        writing: Writing,
        timeout: Duration,
        most: usize,
    ) -> Answer {
        let deadline = Deadline::new(timeout);
        let is_small = writing.grows && writing.others.len() <= ARGUMENTS;
        let written = if is_small && !self.way.is_scattered() {
            call(self, writing, timeout, most).await
        } else {
            Some(Written::Alone(writing))
        };
        match written {
            Some(Written::Is(answer)) => answer,
            Some(Written::Together(writing, answer)) => {
                drop(writing);
                answer
            }
            // Boxed: it is rare, and would make the future of every write as large.
            Some(Written::Alone(writing)) => Box::pin(self.alone(writing, deadline)).await,
            None => Err(Failure::Lost(Box::new(Gone))),
        }
    }

    async fn alone(&self, writing: Writing, deadline: Deadline) -> Answer {
        let script: &Script = if writing.grows { &UPDATE } else { &UPDATE_ON_FULL_SERVER };
        let id = writing.id;
        self.way.alone(script, &id, writing.arguments(), deadline).await
    }
}

impl Writing {
    pub(super) fn new(credentials: Credentials<'_>, update: &Update<'_>) -> Self {
        let changes = update.changes.iter().copied();
        let (letters, arguments) = Arguments::new(2 * update.changes.len()).conditions(update);
        let mut names = Vec::new();
        let others = if letters.is_empty() {
            names.extend(changes.clone().map(|change| change.name().into()));
            arguments.values(changes)
        } else {
            arguments.changes(changes)
        };
        let others = others.list();
        Self {
            id: *credentials.id,
            secret: *credentials.secret,
            touch: arguments::touch(update.touch),
            letters,
            grows: update.changes.iter().any(|change| matches!(change, Change::Set(_))),
            bytes: names
                .iter()
                .map(|name: &FieldName| name.len())
                .chain(others.iter().map(Bytes::len))
                .sum(),
            names,
            others,
        }
    }

    /// Those of the script of one session.
    pub(super) fn arguments(self) -> Arguments {
        let Self { secret, touch, letters, names, others, .. } = self;
        let first = Arguments::of(secret.as_bytes(), touch, &letters, 0);
        if names.is_empty() {
            return others.into_iter().fold(first, Arguments::bytes);
        }
        let pairs = names.iter().zip(others);
        pairs.fold(first, |arguments, (name, value)| arguments.text(name).bytes(value))
    }

    /// What many writes have in common.
    fn list(&self) -> ([u64; 2], &str, &[FieldName]) {
        (self.touch, &self.letters, &self.names)
    }
}

impl<C: Call> Gather for Writes<C> {
    type Work = Writing;
    type Answer = Written;

    fn queue(&self) -> &Queue<Writing, Written> {
        &self.queue
    }

    fn fits(&self, going: &[Waiting<Writing, Written>], next: &Writing) -> bool {
        let bytes = || going.iter().map(|waiting| waiting.work.bytes).sum::<usize>();
        going.len() < SESSIONS && bytes() + next.bytes <= BYTES
    }

    fn too_late() -> Written {
        Written::Is(Err(Failure::Unsent(Box::new(NoAnswer))))
    }

    async fn send(self: Arc<Self>, mut waiting: Vec<Waiting<Writing, Written>>) {
        let Some(deadline) = waiting.iter().map(Waiting::deadline).min().map(Deadline::until)
        else {
            return;
        };
        if waiting.len() == 1
            && let Some((writing, tell)) = waiting.pop().map(Waiting::part)
        {
            return tell(Written::Is(self.alone(writing, deadline).await));
        }
        let works = || waiting.iter().map(|waiting| &waiting.work);
        let keys = self.way.keys(works().map(|writing| &writing.id));
        let arguments = join(works()).list();
        match self.way.call(&UPDATE_TOGETHER, &keys, &arguments, deadline).await {
            Ok(reply) => match unpack(reply).filter(|answers| answers.len() == waiting.len()) {
                Some(answers) => deal(waiting, answers.into_iter().map(own)),
                None => deal(waiting, shared(Failure::Lost(Box::new(Garbled))).map(Err)),
            },
            Err(failure) if failure.is_scattered() => {
                let parts = waiting.into_iter().map(Waiting::part);
                parts.for_each(|(writing, tell)| tell(Written::Alone(writing)));
            }
            Err(failure) => deal(waiting, shared(failure).map(Err)),
        }
    }
}

/// The arguments that the script expects.
fn join<'a>(writings: impl Iterator<Item = &'a Writing> + Clone) -> Arguments {
    let (lists, which) = distinct(writings.clone().map(Writing::list));
    let each = which.iter().zip(writings.clone());
    let which: Vec<u8> =
        each.flat_map(|(list, writing)| [*list, writing.others.len() as u8]).collect();
    let head = head(lists.iter().map(|(_, _, names)| 1 + names.len()), &which);
    let mut arguments = Arguments::after(head);
    for (touch, letters, names) in lists {
        let names = names.iter().map(|name| &**name);
        arguments = arguments.packed(&[], &touch, letters).texts(names);
    }
    for Writing { secret, others, .. } in writings {
        arguments = others.iter().cloned().fold(arguments.hash(Some(secret)), Arguments::bytes);
    }
    arguments
}

fn deal(waiting: Vec<Waiting<Writing, Written>>, answers: impl IntoIterator<Item = Answer>) {
    let parts = waiting.into_iter().map(Waiting::part);
    parts
        .zip(answers)
        .for_each(|((writing, tell), answer)| tell(Written::Together(writing, answer)));
}

/// The answers to several.
fn unpack(reply: Reply) -> Option<Vec<Reply>> {
    let Reply::Bytes(packed) = reply else { return None };
    match packed::read(&packed)? {
        Reply::Array(answers) => Some(answers),
        _ => None,
    }
}

/// The answer to one of several.
fn own(reply: Reply) -> Answer {
    let failed = match &reply {
        Reply::Bytes(bytes) => bytes.strip_prefix(b"failed "),
        _ => None,
    };
    let Some(failed) = failed else { return Ok(reply) };
    let text = String::from_utf8_lossy(failed).into_owned();
    let code = text.split(' ').next().unwrap_or_default();
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = if is_code { code } else { "ERR" }.to_owned();
    Err(Failure::Refused(code, Box::new(Said(text))))
}

/// What the server said of one of several.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);
