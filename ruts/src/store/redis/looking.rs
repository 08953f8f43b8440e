use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    arguments::Arguments,
    batch::{BYTES, Garbled, Gone, Pace, distinct, head, shared},
    cache::{LOOKUP, LOOKUP_BATCH},
    client::{Call, Failure, NoAnswer, Reply},
    layout::entry_key,
    packed::{self, Token},
    reading::Reading,
    script::Deadline,
    way::Way,
};
use crate::store::{
    StoreError,
    gather::{Gather, Queue, Waiting, call},
};

/// Looks at the entries of a cache, of which those that wait go to the server in one script.
pub(super) struct Looks<C> {
    way: Arc<Way<C>>,
    queue: Queue<Reading, Looked>,
    pace: Pace,
}

/// What became of one.
pub(super) enum Looked {
    Is(Result<Reply, Failure>),
    /// It is to be done alone.
    Alone(Reading),
}

/// One for more fields than a byte can count goes alone.
const FIELDS: usize = 254;

impl<C: Call> Looks<C> {
    pub(super) fn new(way: &Arc<Way<C>>) -> Self {
        Self { way: Arc::clone(way), queue: Queue::default(), pace: Pace::default() }
    }

    /// What the script says. `most` is how many may be under way before it waits.
    pub(super) async fn look(
        self: &Arc<Self>,
        reading: Reading,
        timeout: Duration,
        most: usize,
    ) -> Result<Reply, Failure> {
        let deadline = Deadline::new(timeout);
        let looked = if self.way.is_scattered() || reading.names.len() > FIELDS {
            Some(Looked::Alone(reading))
        } else {
            call(self, reading, timeout, most).await
        };
        match looked {
            Some(Looked::Is(answer)) => answer,
            // Boxed: it is rare, and would make the future of every look as large.
            Some(Looked::Alone(reading)) => Box::pin(self.alone(&reading, deadline)).await,
            None => Err(Failure::Lost(Box::new(Gone))),
        }
    }

    async fn alone(&self, reading: &Reading, deadline: Deadline) -> Result<Reply, Failure> {
        let Reading { id, secret, touch, names } = reading;
        let arguments = Arguments::of(secret.as_bytes(), *touch, "", 1 + names.len());
        let arguments = arguments.nonce().map_err(without_nonce)?;
        let arguments = arguments.texts(names.iter().map(|name| &**name)).list();
        self.way.call(&LOOKUP, &[entry_key(&self.way.prefix, id)], &arguments, deadline).await
    }

    /// What the script says of each, or nothing of one that is to be done alone.
    async fn together(
        &self,
        waiting: &[Waiting<Reading, Looked>],
        deadline: Deadline,
    ) -> Result<Vec<Option<Reply>>, Failure> {
        let works = || waiting.iter().map(|waiting| &waiting.work);
        let keys: Vec<Bytes> = works().map(|look| entry_key(&self.way.prefix, &look.id)).collect();
        let arguments = join(works()).map_err(without_nonce)?.list();
        let reply = self.way.call(&LOOKUP_BATCH, &keys, &arguments, deadline).await?;
        let said = said(&reply, waiting.len()).ok_or_else(|| Failure::Lost(Box::new(Garbled)))?;
        self.pace.note(said.iter().map(|said| said.len()));
        // Copies, so that the answers of the others are not kept as long as a value is.
        let said = said.into_iter().map(Bytes::copy_from_slice);
        Ok(said
            .map(|said| packed::read(&said).filter(|said| !matches!(said, Reply::Nil)))
            .collect())
    }
}

fn without_nonce(error: StoreError) -> Failure {
    Failure::Unsent(Box::new(error))
}

impl<C: Call> Gather for Looks<C> {
    type Work = Reading;
    type Answer = Looked;

    fn queue(&self) -> &Queue<Reading, Looked> {
        &self.queue
    }

    fn fits(&self, going: &[Waiting<Reading, Looked>], _: &Reading) -> bool {
        going.len() < self.pace.most()
    }

    fn too_late() -> Looked {
        Looked::Is(Err(Failure::Unsent(Box::new(NoAnswer))))
    }

    async fn send(self: Arc<Self>, waiting: Vec<Waiting<Reading, Looked>>) {
        let Some(deadline) = waiting.iter().map(Waiting::deadline).min().map(Deadline::until)
        else {
            return;
        };
        let answers = match &waiting[..] {
            [one] => self.alone(&one.work, deadline).await.map(|answer| vec![Some(answer)]),
            _ => self.together(&waiting, deadline).await,
        };
        let parts = waiting.into_iter().map(Waiting::part);
        match answers {
            Ok(answers) => parts.zip(answers).for_each(|((reading, tell), answer)| {
                tell(answer.map_or(Looked::Alone(reading), |answer| Looked::Is(Ok(answer))));
            }),
            Err(failure) if failure.is_scattered() => {
                parts.for_each(|(reading, tell)| tell(Looked::Alone(reading)));
            }
            Err(failure) => parts
                .zip(shared(failure))
                .for_each(|((_, tell), failure)| tell(Looked::Is(Err(failure)))),
        }
    }
}

/// The arguments that the script expects.
fn join<'a>(looks: impl Iterator<Item = &'a Reading> + Clone) -> Result<Arguments, StoreError> {
    let (lists, which) = distinct(looks.clone().map(|look| (look.touch, &look.names[..])));
    let head = head(lists.iter().map(|(_, names)| 1 + names.len()), &which);
    let mut arguments = Arguments::after(head).nonce()?.bytes(BYTES.to_string().into());
    for (touch, names) in lists {
        let names = names.iter().map(|name| &**name);
        arguments = arguments.packed(&[], &touch, "").texts(names);
    }
    Ok(looks.fold(arguments, |arguments, look| arguments.hash(Some(&look.secret))))
}

/// What it says of each of so many. `None` for what it never says.
fn said(reply: &Reply, count: usize) -> Option<Vec<&[u8]>> {
    let Reply::Bytes(packed) = reply else { return None };
    let mut rest = &packed[..];
    match packed::next(&mut rest)? {
        Token::List(length) if length == count => {}
        _ => return None,
    }
    (0..count).map(|_| packed::skip(&mut rest)).collect()
}
