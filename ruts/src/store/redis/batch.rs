use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    arguments::{Arguments, split},
    client::{Call, Failure, NoAnswer, Reply, Source},
    packed,
    script::{Limit, Script},
};
use crate::store::gather::{Gather, Queue, Waiting, call};

/// Operations of one kind, of which those that wait go to the server in one script.
pub(super) struct Batch<C> {
    link: Arc<C>,
    alone: &'static Script,
    together: &'static Script,
    queue: Queue<Operation, Answer>,
    /// Sessions are on different nodes: each goes alone.
    scattered: AtomicBool,
}

type Answer = Result<Reply, Failure>;

pub(super) struct Operation {
    key: Bytes,
    own: Vec<Bytes>,
    names: Bytes,
    bytes: usize,
}

/// How many sessions go together.
const SESSIONS: usize = 64;
/// How much goes together, unless it is one operation.
const BYTES: usize = 64 * 1024;
/// Operations with more arguments than a byte can count go alone.
const ARGUMENTS: usize = 255;
/// How much of the first argument is the operation's own: who asks.
const WHO: usize = 32;

impl<C: Call> Batch<C> {
    pub(super) fn new(link: Arc<C>, alone: &'static Script, together: &'static Script) -> Self {
        let (queue, scattered) = (Queue::default(), AtomicBool::new(false));
        Self { link, alone, together, queue, scattered }
    }

    /// Runs the script for a session. `most` is how many may be under way before it waits.
    pub(super) async fn call(
        self: &Arc<Self>,
        key: Bytes,
        arguments: Arguments,
        timeout: Duration,
        most: usize,
    ) -> Answer {
        let operation = Operation::new(key, arguments);
        if self.scattered.load(Ordering::Relaxed) || !operation.is_small() {
            return self.alone(operation, Limit::new(timeout)).await;
        }
        let answer = call(self, operation, timeout, most).await;
        answer.unwrap_or_else(|| Err(Failure::Lost(Box::new(Gone))))
    }

    async fn alone(&self, operation: Operation, limit: Limit) -> Answer {
        let Operation { key, own: mut arguments, names, .. } = operation;
        arguments.extend(split(&names));
        // Boxed, or drivers' futures would be nested more deeply than the compiler follows.
        Box::pin(self.alone.call(&*self.link, &[key], &arguments, limit)).await
    }

    async fn send_alone(&self, waiting: Vec<Waiting<Operation, Answer>>, limit: Limit) {
        for waiting in waiting {
            let (operation, answer) = waiting.part();
            answer(self.alone(operation, limit).await);
        }
    }
}

impl<C: Call> Gather for Batch<C> {
    type Work = Operation;
    type Answer = Answer;

    fn queue(&self) -> &Queue<Operation, Answer> {
        &self.queue
    }

    fn fits(going: &[Waiting<Operation, Answer>], next: &Operation) -> bool {
        let bytes = || going.iter().map(|waiting| waiting.work.bytes).sum::<usize>();
        going.len() < SESSIONS && bytes() + next.bytes <= BYTES
    }

    fn too_late() -> Answer {
        Err(Failure::Unsent(Box::new(NoAnswer)))
    }

    async fn send(self: Arc<Self>, waiting: Vec<Waiting<Operation, Answer>>) {
        let Some(limit) = waiting.iter().map(Waiting::deadline).min().map(Limit::until) else {
            return;
        };
        if waiting.len() == 1 {
            return self.send_alone(waiting, limit).await;
        }
        let (keys, arguments) = join(&waiting);
        match self.together.call(&*self.link, &keys, &arguments, limit).await {
            Ok(reply) => match unpack(reply).filter(|answers| answers.len() == waiting.len()) {
                Some(answers) => deal(waiting, answers.into_iter().map(own)),
                None => deal(waiting, shared(Failure::Lost(Box::new(Garbled)))),
            },
            Err(Failure::Refused(code, _)) if code == "CROSSSLOT" => {
                self.scattered.store(true, Ordering::Relaxed);
                self.send_alone(waiting, limit).await;
            }
            Err(failure) => deal(waiting, shared(failure)),
        }
    }
}

impl Operation {
    fn new(key: Bytes, arguments: Arguments) -> Self {
        let (own, names) = arguments.parts();
        let bytes = key.len() + own.iter().map(Bytes::len).sum::<usize>() + names.len();
        Self { key, own, names, bytes }
    }

    /// Whether its arguments can be counted in bytes, and are those of a session.
    fn is_small(&self) -> bool {
        self.own.first().is_some_and(|first| first.len() > WHO)
            && self.own.len() <= ARGUMENTS
            && self.names.len() < 2 * ARGUMENTS
    }

    /// What many operations have in common: the rest of the first argument, and the names.
    fn list(&self) -> (&[u8], &[u8]) {
        (&self.own[0][WHO..], &self.names)
    }
}

/// The keys of all, and the arguments, as the script expects them.
fn join(waiting: &[Waiting<Operation, Answer>]) -> (Vec<Bytes>, Vec<Bytes>) {
    let operations = || waiting.iter().map(|waiting| &waiting.work);
    let mut lists: Vec<&Operation> = Vec::new();
    let mut counts = BytesMut::with_capacity(2 * waiting.len());
    for operation in operations() {
        let list = lists.iter().position(|other| other.list() == operation.list());
        let list = list.unwrap_or_else(|| {
            lists.push(operation);
            lists.len() - 1
        });
        counts.put_slice(&[list, operation.own.len()].map(|count| count as u8));
    }
    let mut head = BytesMut::with_capacity(1 + lists.len() + counts.len());
    head.put_u8(lists.len() as u8);
    lists.iter().for_each(|list| head.put_u8(1 + split(&list.names).count() as u8));
    head.put(counts);
    let mut arguments = Vec::with_capacity(1 + waiting.len() + 8 * lists.len());
    arguments.push(head.freeze());
    for list in lists {
        arguments.extend(list.own.first().map(|first| first.slice(WHO..)));
        arguments.extend(split(&list.names));
    }
    for Operation { own, .. } in operations() {
        arguments.extend(own.first().map(|first| first.slice(..WHO)));
        arguments.extend(own.iter().skip(1).cloned());
    }
    (operations().map(|operation| operation.key.clone()).collect(), arguments)
}

fn deal(waiting: Vec<Waiting<Operation, Answer>>, answers: impl IntoIterator<Item = Answer>) {
    waiting.into_iter().zip(answers).for_each(|(waiting, answer)| waiting.tell(answer));
}

/// The answers to several.
fn unpack(reply: Reply) -> Option<Vec<Reply>> {
    let Reply::Bytes(mut packed) = reply else { return None };
    match packed::read(&mut packed)? {
        Reply::Array(answers) if packed.is_empty() => Some(answers),
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

/// The runtime is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the task that was to ask is gone")]
struct Gone;

/// What the server sent is no answer to what was asked.
#[derive(Debug, thiserror::Error)]
#[error("an answer that no script gives")]
struct Garbled;

/// What the server said of one of several.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

/// The same failure for each.
fn shared(failure: Failure) -> impl Iterator<Item = Answer> {
    type Kind = Box<dyn Fn(Source) -> Failure + Send>;
    let (kind, source): (Kind, Source) = match failure {
        Failure::Refused(code, source) => {
            (Box::new(move |source| Failure::Refused(code.clone(), source)), source)
        }
        Failure::Unsent(source) => (Box::new(Failure::Unsent), source),
        Failure::Lost(source) => (Box::new(Failure::Lost), source),
    };
    let source = Shared(source.into());
    std::iter::repeat_with(move || Err(kind(Box::new(source.clone()))))
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
