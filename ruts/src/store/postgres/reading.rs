use std::sync::Arc;

use tokio::time::Instant;

use super::{
    failure::late,
    row::{loaded, loaded_together},
    store::{Inner, open, query, touch},
};
use crate::{
    store::{
        Credentials, Loaded, Lookup, Projection, StoreError, StoreErrorKind, Touch,
        gather::{Gather, Queue, Waiting},
    },
    token::{SecretHash, SessionId},
};

/// Reads, of which those that wait go together.
pub(super) struct Reads {
    inner: Arc<Inner>,
    queue: Queue<Reading, Read>,
}

/// A read that may go together with others of the same fields.
pub(super) struct Reading {
    id: SessionId,
    secret: SecretHash,
    /// Each before a zero byte, which none holds.
    names: Option<Box<str>>,
    touch: Option<Touch>,
}

/// What became of it.
pub(super) enum Read {
    Is(Result<Lookup<Loaded>, StoreError>),
    /// It counts as activity, which takes a lock, or something went wrong: it is to be done alone.
    Alone(Reading),
}

/// How many sessions are read together.
const SESSIONS: usize = 64;

impl Reads {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::clone(inner), queue: Queue::default() }
    }
}

impl Reading {
    pub(super) fn new(
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Self {
        let names = match fields {
            Projection::All => None,
            Projection::Named(names) => {
                let mut joined =
                    String::with_capacity(names.iter().map(|name| 1 + name.len()).sum());
                names.iter().for_each(|name| joined.extend([name, "\0"]));
                Some(joined.into())
            }
        };
        Self { id: *credentials.id, secret: *credentials.secret, names, touch }
    }
}

impl Inner {
    /// One read by itself.
    pub(super) async fn read(
        self: &Arc<Self>,
        reading: &Reading,
        deadline: Instant,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let touches = reading.touch.is_some();
        let statement = || {
            let texts = &self.statements;
            let [all, named] = if touches { &texts.load_and_touch } else { &texts.load };
            let credentials = Credentials { id: &reading.id, secret: &reading.secret };
            let with = |text| {
                let statement = open(text, credentials);
                if touches { touch(statement, reading.touch) } else { statement }
            };
            match &reading.names {
                None => with(all),
                Some(names) => with(named).bind(split(names)),
            }
        };
        let rows = match self.rows(statement(), deadline).await {
            // To read twice does no harm.
            Err(failed) if failed.connection_is_dead => self.rows(statement(), deadline).await?,
            rows => rows?,
        };
        match rows.first() {
            Some(row) => loaded(row, touches),
            None => Ok(Lookup::NotFound),
        }
    }
}

fn split(names: &str) -> Vec<&str> {
    names.split_terminator('\0').collect()
}

impl Gather for Reads {
    type Work = Reading;
    type Answer = Read;

    fn queue(&self) -> &Queue<Reading, Read> {
        &self.queue
    }

    fn fits(&self, going: &[Waiting<Reading, Read>], next: &Reading) -> bool {
        let first = &going[0].work;
        going.len() < SESSIONS && (&first.names, first.touch) == (&next.names, next.touch)
    }

    fn too_late() -> Read {
        Read::Is(Err(late(StoreErrorKind::Unavailable)))
    }

    async fn send(self: Arc<Self>, mut waiting: Vec<Waiting<Reading, Read>>) {
        let Some(deadline) = waiting.iter().map(Waiting::deadline).min() else { return };
        if waiting.len() == 1
            && let Some((reading, tell)) = waiting.pop().map(Waiting::part)
        {
            return tell(Read::Is(self.inner.read(&reading, deadline).await));
        }
        let works = || waiting.iter().map(|waiting| &waiting.work);
        let ids: Vec<&[u8]> = works().map(|work| &work.id.as_bytes()[..]).collect();
        let secrets: Vec<&[u8]> = works().map(|work| &work.secret.as_bytes()[..]).collect();
        let Reading { names, touch: touched, .. } = &waiting[0].work;
        let [all, named] = &self.inner.statements.load_together;
        let with = |sql| touch(query(sql).bind(ids).bind(secrets), *touched);
        let statement = match names {
            None => with(all),
            Some(names) => with(named).bind(split(names)),
        };
        let mut answers: Vec<_> = waiting.iter().map(|_| Some(Lookup::NotFound)).collect();
        // What is wrong with one is told to whoever reads it alone.
        let rows = self.inner.rows(statement, deadline).await;
        let read: Result<Vec<_>, _> = rows
            .map_err(StoreError::from)
            .and_then(|rows| rows.iter().map(loaded_together).collect());
        match read {
            Ok(read) => {
                for (place, lookup) in read {
                    if let Some(answer) = answers.get_mut(place) {
                        *answer = lookup;
                    }
                }
            }
            Err(_) => answers.fill(None),
        }
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            let (reading, tell) = waiting.part();
            tell(answer.map_or(Read::Alone(reading), |lookup| Read::Is(Ok(lookup))));
        }
    }
}
