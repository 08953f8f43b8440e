use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
    vec::IntoIter,
};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    arguments::{self, Arguments},
    batch::{Garbled, Gone, shared},
    client::{Call, Failure, NoAnswer, Reply},
    layout::{key, key_into},
    packed::{self, Token},
    record::Record,
    reply::{Said, loaded, stored},
    script::{LOAD, LOAD_TOGETHER, Limit},
    store::{NAME, corrupt, found},
};
use crate::{
    name::FieldName,
    store::{
        Access, Loaded, Lookup, StoreError, Touch,
        gather::{Gather, Queue, Waiting, call},
    },
    token::{Handle, SecretHash},
};

/// Reads, of which those that wait go to the server in one script.
pub(super) struct Reads<C> {
    link: Arc<C>,
    queue: Queue<Reading, Read>,
    /// Sessions are on different nodes: each goes alone.
    scattered: AtomicBool,
}

/// A read of fields.
pub(super) struct Reading {
    prefix: Arc<str>,
    handle: Handle,
    secret: SecretHash,
    touch: [u64; 2],
    names: Vec<FieldName>,
}

/// What became of it.
pub(super) enum Read {
    Loaded(Loaded),
    /// It was sent alone, and this was said.
    Said(Reading, Reply),
    /// There is more to it than to read, or something is wrong with it: it is to be sent alone.
    Alone(Reading),
    Failed(Failure),
}

/// How many sessions are read together, and about how long a key is.
const SESSIONS: usize = 64;
const KEY: usize = 32;
/// Reads of more fields than a byte can count go alone.
const FIELDS: usize = 255;

impl<C: Call> Reads<C> {
    pub(super) fn new(link: Arc<C>) -> Self {
        Self { link, queue: Queue::default(), scattered: AtomicBool::new(false) }
    }

    /// Reads a session. `most` is how many may be under way before it waits.
    pub(super) async fn load(
        self: &Arc<Self>,
        reading: Reading,
        timeout: Duration,
        most: usize,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let limit = Limit::new(timeout);
        let read = if self.scattered.load(Ordering::Relaxed) || reading.names.len() > FIELDS {
            Read::Alone(reading)
        } else {
            let read = call(self, reading, timeout, most).await;
            read.unwrap_or_else(|| Read::Failed(Failure::Lost(Box::new(Gone))))
        };
        let (reading, reply) = match read {
            Read::Loaded(loaded) => return Ok(Lookup::Found(loaded)),
            Read::Said(reading, reply) => Ok((reading, reply)),
            Read::Alone(reading) => self.alone(reading, limit).await,
            Read::Failed(failure) => Err(failure),
        }
        .map_err(|failure| failure.into_error(NAME))?;
        let said = Said::new(reply).ok_or_else(corrupt)?;
        found(said, |answer| loaded(answer, Some(reading.names.into_iter())))
    }

    async fn alone(&self, reading: Reading, limit: Limit) -> Result<(Reading, Reply), Failure> {
        let Reading { prefix, handle, secret, touch, names } = &reading;
        let arguments = Arguments::of(secret.as_bytes(), *touch, "", names.len());
        let arguments = names.iter().fold(arguments, |arguments, name| arguments.text(name));
        let (key, arguments) = (key(prefix, handle), arguments.list());
        // Boxed, or drivers' futures would be nested more deeply than the compiler follows.
        let reply = Box::pin(LOAD.call(&*self.link, &[key], &arguments, limit)).await?;
        Ok((reading, reply))
    }
}

impl Reading {
    pub(super) fn new(
        prefix: &Arc<str>,
        access: Access<'_>,
        names: &[&str],
        touch: Option<Touch>,
    ) -> Self {
        Self {
            prefix: Arc::clone(prefix),
            handle: *access.handle,
            secret: *access.secret,
            touch: arguments::touch(touch),
            names: names.iter().map(|name| (*name).into()).collect(),
        }
    }
}

impl<C: Call> Gather for Reads<C> {
    type Work = Reading;
    type Answer = Read;

    fn queue(&self) -> &Queue<Reading, Read> {
        &self.queue
    }

    fn fits(going: &[Waiting<Reading, Read>], _: &Reading) -> bool {
        going.len() < SESSIONS
    }

    fn too_late() -> Read {
        Read::Failed(Failure::Unsent(Box::new(NoAnswer)))
    }

    async fn send(self: Arc<Self>, mut waiting: Vec<Waiting<Reading, Read>>) {
        let Some(limit) = waiting.iter().map(Waiting::deadline).min().map(Limit::until) else {
            return;
        };
        if waiting.len() == 1
            && let Some((reading, tell)) = waiting.pop().map(Waiting::part)
        {
            let said = self.alone(reading, limit).await;
            return tell(
                said.map_or_else(Read::Failed, |(reading, said)| Read::Said(reading, said)),
            );
        }
        let (keys, arguments) = join(waiting.iter().map(|waiting| &waiting.work));
        let answers = LOAD_TOGETHER.call(&*self.link, &keys, &arguments, limit).await;
        let answers = answers.map(|reply| Answers::new(reply, waiting.len()));
        let parts = waiting.into_iter().map(Waiting::part);
        match answers {
            Ok(mut answers) => parts.for_each(|(reading, tell)| {
                let read = answers.as_mut().and_then(|answers| answers.next(reading));
                tell(read.unwrap_or_else(|| Read::Failed(Failure::Lost(Box::new(Garbled)))));
            }),
            Err(failure) if failure.is_scattered() => {
                self.scattered.store(true, Ordering::Relaxed);
                parts.for_each(|(reading, tell)| tell(Read::Alone(reading)));
            }
            Err(failure) => {
                parts
                    .zip(shared(failure))
                    .for_each(|((_, tell), failure)| tell(Read::Failed(failure)));
            }
        }
    }
}

/// The keys of all, and the arguments that the script expects.
fn join<'a>(readings: impl ExactSizeIterator<Item = &'a Reading>) -> (Vec<Bytes>, Vec<Bytes>) {
    let count = readings.len();
    let (mut keys, mut buffer) = (Vec::with_capacity(count), BytesMut::with_capacity(KEY * count));
    let (mut lists, mut which) = (Vec::<&[FieldName]>::new(), Vec::with_capacity(count));
    for Reading { prefix, handle, names, .. } in readings {
        key_into(&mut buffer, prefix, handle);
        keys.push(buffer.split().freeze());
        let list = lists.iter().position(|list| list == names).unwrap_or_else(|| {
            lists.push(names);
            lists.len() - 1
        });
        which.push(1 + list as u8);
    }
    buffer.put_u8(lists.len() as u8);
    lists.iter().for_each(|list| buffer.put_u8(list.len() as u8));
    buffer.put_slice(&which);
    let mut arguments = vec![buffer.split().freeze()];
    for name in lists.into_iter().flatten() {
        buffer.put_slice(name.as_bytes());
        arguments.push(buffer.split().freeze());
    }
    (keys, arguments)
}

/// What the script says.
struct Answers {
    now: u64,
    epochs: IntoIter<Option<u64>>,
    packed: Bytes,
}

impl Answers {
    /// Of so many sessions. `None` for what the script never says.
    fn new(reply: Reply, count: usize) -> Option<Self> {
        let Reply::Bytes(mut packed) = reply else { return None };
        let mut next = || packed::next(&mut packed);
        let (Token::List(parts), Token::Number(now), Token::List(epochs)) =
            (next()?, next()?, next()?)
        else {
            return None;
        };
        if (parts, epochs) != (2 + count, count) {
            return None;
        }
        let epochs = (0..count).map(|_| {
            let epoch = packed::bytes(&mut packed)?;
            let digits = epoch.as_deref().map_or(Ok("0"), std::str::from_utf8);
            Some(digits.ok().and_then(|digits| digits.parse().ok()))
        });
        let epochs = epochs.collect::<Option<Vec<_>>>()?.into_iter();
        Some(Self { now, epochs, packed })
    }

    /// What became of the next one. `None` for what the script never says.
    fn next(&mut self, reading: Reading) -> Option<Read> {
        let epoch = self.epochs.next()?;
        match packed::next(&mut self.packed)? {
            Token::List(length) if length == 2 + reading.names.len() => {}
            Token::Nothing => return Some(Read::Alone(reading)),
            _ => return None,
        }
        let mut next = || packed::bytes(&mut self.packed);
        let (base, more) = (next()?.unwrap_or_default(), next()?);
        let Reading { secret, touch, names, .. } = &reading;
        let record = epoch.and_then(|epoch| {
            Record::calm(self.now, &base, more.as_deref(), epoch, secret, *touch)
        });
        let (mut fields, mut are_whole) = (Vec::with_capacity(names.len()), true);
        for name in names {
            let (Some(held), Some(record)) = (next()?, &record) else { continue };
            match stored(record, name.clone(), held) {
                Some(None) => {}
                Some(Some(stored)) => fields.push(stored),
                None => are_whole = false,
            }
        }
        Some(match record.filter(|_| are_whole) {
            Some(record) => Read::Loaded(Loaded { meta: record.meta(), fields }),
            None => Read::Alone(reading),
        })
    }
}
