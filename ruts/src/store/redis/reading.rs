use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    arguments::{self, Arguments},
    batch::{BYTES, Garbled, Gone, Pace, distinct, head, shared},
    client::{Call, Failure, NoAnswer, Reply},
    packed::{self, Token},
    record::Record,
    reply::{Said, loaded, stored},
    script::{Deadline, LOAD, LOAD_TOGETHER},
    store::{NAME, corrupt, found},
    way::Way,
};
use crate::{
    name::FieldName,
    store::{
        Credentials, Loaded, Lookup, StoreError, Touch,
        gather::{Gather, Queue, Waiting, call},
    },
    token::{SecretHash, SessionId},
};

/// Reads, of which those that wait go to the server in one script.
pub(super) struct Reads<C> {
    way: Arc<Way<C>>,
    queue: Queue<Reading, Read>,
    pace: Pace,
}

/// A read of fields.
pub(super) struct Reading {
    pub(super) id: SessionId,
    pub(super) secret: SecretHash,
    pub(super) touch: [u64; 2],
    pub(super) names: Vec<FieldName>,
}

/// What became of it.
pub(super) enum Read {
    /// It was sent with others, and this is what its session holds.
    Held(Reading, Held),
    /// It was sent alone, and this was said.
    Said(Reading, Reply),
    /// It is to be sent alone.
    Alone(Reading),
    Failed(Failure),
}

/// Reads of more fields than a byte can count go alone.
const FIELDS: usize = 255;

impl<C: Call> Reads<C> {
    pub(super) fn new(way: &Arc<Way<C>>) -> Self {
        Self { way: Arc::clone(way), queue: Queue::default(), pace: Pace::default() }
    }

    /// Reads a session. `most` is how many may be under way before it waits.
    pub(super) async fn load(
        self: &Arc<Self>,
        reading: Reading,
        timeout: Duration,
        most: usize,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let deadline = Deadline::new(timeout);
        let read = if self.way.is_scattered() || reading.names.len() > FIELDS {
            Read::Alone(reading)
        } else {
            let read = call(self, reading, timeout, most).await;
            read.unwrap_or_else(|| Read::Failed(Failure::Lost(Box::new(Gone))))
        };
        let said = match read {
            // Here, so that memory is given back where it was taken.
            Read::Held(reading, held) => match held.loaded(&reading) {
                Some(Some(loaded)) => return Ok(Lookup::Found(loaded)),
                Some(None) => Box::pin(self.alone(reading, deadline)).await,
                None => Err(Failure::Lost(Box::new(Garbled))),
            },
            Read::Said(reading, reply) => Ok((reading, reply)),
            // Boxed: it is rare, and would make the future of every read as large.
            Read::Alone(reading) => Box::pin(self.alone(reading, deadline)).await,
            Read::Failed(failure) => Err(failure),
        };
        let (reading, reply) = said.map_err(|failure| failure.into_error(NAME))?;
        let said = Said::new(reply).ok_or_else(corrupt)?;
        found(said, |answer| loaded(answer, Some(reading.names.into_iter())))
    }

    async fn alone(
        &self,
        reading: Reading,
        deadline: Deadline,
    ) -> Result<(Reading, Reply), Failure> {
        let Reading { id, secret, touch, names } = &reading;
        let arguments = Arguments::of(secret.as_bytes(), *touch, "", names.len());
        let arguments = arguments.texts(names.iter().map(|name| &**name));
        let reply = self.way.alone(&LOAD, id, arguments, deadline).await?;
        Ok((reading, reply))
    }
}

impl Reading {
    pub(super) fn new(credentials: Credentials<'_>, names: &[&str], touch: Option<Touch>) -> Self {
        Self {
            id: *credentials.id,
            secret: *credentials.secret,
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

    fn fits(&self, going: &[Waiting<Reading, Read>], _: &Reading) -> bool {
        going.len() < self.pace.most()
    }

    fn too_late() -> Read {
        Read::Failed(Failure::Unsent(Box::new(NoAnswer)))
    }

    async fn send(self: Arc<Self>, mut waiting: Vec<Waiting<Reading, Read>>) {
        let Some(deadline) = waiting.iter().map(Waiting::deadline).min().map(Deadline::until)
        else {
            return;
        };
        if waiting.len() == 1
            && let Some((reading, tell)) = waiting.pop().map(Waiting::part)
        {
            let said = self.alone(reading, deadline).await;
            return tell(
                said.map_or_else(Read::Failed, |(reading, said)| Read::Said(reading, said)),
            );
        }
        let works = || waiting.iter().map(|waiting| &waiting.work);
        let keys = self.way.keys(works().map(|reading| &reading.id));
        let arguments = join(works()).list();
        let answers = self.way.call(&LOAD_TOGETHER, &keys, &arguments, deadline).await;
        let garbled = || Failure::Lost(Box::new(Garbled));
        let held = answers.and_then(|reply| held(reply, waiting.len()).ok_or_else(garbled));
        let parts = waiting.into_iter().map(Waiting::part);
        match held {
            Ok(held) => {
                self.pace.note(held.iter().map(|held| held.packed.len()));
                parts.zip(held).for_each(|((reading, tell), held)| tell(Read::Held(reading, held)));
            }
            Err(failure) if failure.is_scattered() => {
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

/// The arguments that the script expects.
fn join<'a>(readings: impl Iterator<Item = &'a Reading>) -> Arguments {
    let (lists, which) = distinct(readings.map(|reading| &reading.names[..]));
    let head = head(lists.iter().map(|list| list.len()), &which);
    let arguments = Arguments::after(head).bytes(BYTES.to_string().into());
    arguments.texts(lists.into_iter().flatten().map(|name| &**name))
}

/// What the script says of one of several sessions.
pub(super) struct Held {
    now: u64,
    epoch: Option<u64>,
    packed: Bytes,
}

/// What it says of so many. `None` for what it never says.
fn held(reply: Reply, count: usize) -> Option<Vec<Held>> {
    let Reply::Bytes(packed) = reply else { return None };
    let mut rest = &packed[..];
    let mut next = || packed::next(&mut rest);
    let (Token::List(parts), Token::Number(now), Token::List(epochs)) = (next()?, next()?, next()?)
    else {
        return None;
    };
    if (parts, epochs) != (2 + count, count) {
        return None;
    }
    let epoch = |_| {
        let digits = packed::bytes(&mut rest)?.map_or(Ok("0"), std::str::from_utf8);
        Some(digits.ok().and_then(|digits| digits.parse().ok()))
    };
    let epochs = (0..count).map(epoch).collect::<Option<Vec<_>>>()?;
    let held = epochs.into_iter().map(|epoch| {
        let packed = packed.slice_ref(packed::skip(&mut rest)?);
        Some(Held { now, epoch, packed })
    });
    held.collect()
}

impl Held {
    /// What was read, if there was nothing to do but to read. `None` for what the script never says.
    fn loaded(self, reading: &Reading) -> Option<Option<Loaded>> {
        let Reading { secret, touch, names, .. } = reading;
        // A copy, so that the answers of the others are not kept as long as a value is.
        let packed = Bytes::copy_from_slice(&self.packed);
        let mut rest = &packed[..];
        match packed::next(&mut rest)? {
            Token::List(length) if length == 2 + names.len() => {}
            Token::Nothing => return Some(None),
            _ => return None,
        }
        let mut next = || packed::bytes(&mut rest);
        let (base, more) = (next()?.unwrap_or_default(), next()?);
        let record =
            self.epoch.and_then(|epoch| Record::calm(self.now, base, more, epoch, secret, *touch));
        let Some(record) = record else { return Some(None) };
        let mut fields = Vec::with_capacity(names.len());
        for name in names {
            let Some(held) = next()? else { continue };
            match stored(&record, name.clone(), packed.slice_ref(held)) {
                Some(stored) => fields.extend(stored),
                None => return Some(None),
            }
        }
        Some(Some(Loaded { meta: record.meta(), fields }))
    }
}
