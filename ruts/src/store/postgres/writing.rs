use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    failure::{NAME, corrupt, late},
    row::{place, updated},
    store::{Columns, Inner, query, touch},
};
use crate::{
    store::{
        Credentials, FieldWrite, Lookup, Precondition, StoreError,
        StoreErrorKind::{Unavailable, Unknown},
        Touch, Update, Updated,
        gather::{Gather, Queue, Waiting},
    },
    token::{SecretHash, SessionId},
};

/// Writes, of which those that wait go together.
pub(super) struct Writes {
    inner: Arc<Inner>,
    queue: Queue<Writing, Written>,
}

/// A write that may go together with others of the same fields.
pub(super) struct Writing {
    id: SessionId,
    secret: SecretHash,
    /// What is there as long as nobody came between, if that matters.
    expected: Option<Bytes>,
    values: Vec<Bytes>,
    like: Like,
}

/// What those have in common that go together.
#[derive(PartialEq)]
struct Like {
    touch: Option<Touch>,
    /// The field of which something is expected.
    expect: Option<String>,
    names: Vec<String>,
    hots: Vec<Option<i64>>,
    ttls: Vec<Option<i64>>,
}

/// What became of it.
pub(super) enum Written {
    Is(Result<Lookup<Updated>, StoreError>),
    /// It was not done: its session was locked, or is not there, or what was wrong with one kept all of them
    /// from being done. Alone, it can wait, and has an answer of its own.
    Alone(Writing),
}

/// How many sessions are written together, and how much.
const SESSIONS: usize = 64;
const BYTES: usize = 64 * 1024;

impl Writes {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::clone(inner), queue: Queue::default() }
    }
}

impl Writing {
    /// Nothing if there is more to it than to set fields, as long as one holds what is expected.
    pub(super) fn new(
        credentials: Credentials<'_>,
        update: &Update<'_>,
        puts: &[FieldWrite<'_>],
    ) -> Option<Self> {
        let Update { precondition: expect, rotate, renew, absolute, sign, touch, changes: _ } =
            update;
        let is_plain = rotate.is_none() && renew.is_none() && absolute.is_none() && sign.is_none();
        let expected = expect.and_then(|expect| expect.value);
        let values = puts.iter().map(|put| put.value).chain(expected);
        let bytes: usize = values.map(Bytes::len).sum();
        if !is_plain || puts.is_empty() || bytes > BYTES / 4 {
            return None;
        }
        let Columns { names, values, hots, ttls } = Columns::of(puts);
        Some(Self {
            id: *credentials.id,
            secret: *credentials.secret,
            expected: expected.cloned(),
            values: values.into_iter().flatten().map(Bytes::copy_from_slice).collect(),
            like: Like {
                touch: *touch,
                expect: expect.map(|expect| expect.name.to_owned()),
                names: names.into_iter().map(str::to_owned).collect(),
                hots,
                ttls,
            },
        })
    }

    fn bytes(&self) -> usize {
        self.values.iter().chain(&self.expected).map(Bytes::len).sum()
    }
}

impl Inner {
    /// One write by itself.
    pub(super) async fn write(
        self: &Arc<Self>,
        writing: &Writing,
        deadline: Instant,
    ) -> Result<Lookup<Updated>, StoreError> {
        let Writing { id, secret, expected, values, like } = writing;
        let expect = like.expect.as_deref();
        let expect = expect.map(|name| Precondition { name, value: expected.as_ref() });
        let update = Update { touch: like.touch, precondition: expect, ..Update::default() };
        let columns = Columns {
            names: like.names.iter().map(String::as_str).collect(),
            values: values.iter().map(|value| Some(&value[..])).collect(),
            hots: like.hots.clone(),
            ttls: like.ttls.clone(),
        };
        let statement = self.update(Credentials { id, secret }, &update, None, columns);
        let rows = self.rows(statement, deadline).await?;
        updated(rows.first().ok_or_else(corrupt)?)
    }
}

impl Gather for Writes {
    type Work = Writing;
    type Answer = Written;

    fn queue(&self) -> &Queue<Writing, Written> {
        &self.queue
    }

    fn fits(&self, going: &[Waiting<Writing, Written>], next: &Writing) -> bool {
        let bytes = || going.iter().map(|waiting| waiting.work.bytes()).sum::<usize>();
        // One statement writes a row once.
        let is_other = |waiting: &Waiting<Writing, Written>| waiting.work.id != next.id;
        going.len() < SESSIONS
            && going[0].work.like == next.like
            && bytes() + next.bytes() <= BYTES
            && going.iter().all(is_other)
    }

    fn too_late() -> Written {
        Written::Is(Err(late(Unavailable)))
    }

    async fn send(self: Arc<Self>, mut waiting: Vec<Waiting<Writing, Written>>) {
        let Some(deadline) = waiting.iter().map(Waiting::deadline).min() else { return };
        if waiting.len() == 1
            && let Some((writing, tell)) = waiting.pop().map(Waiting::part)
        {
            return tell(Written::Is(self.inner.write(&writing, deadline).await));
        }
        let works = || waiting.iter().map(|waiting| &waiting.work);
        let ids: Vec<&[u8]> = works().map(|work| &work.id.as_bytes()[..]).collect();
        let secrets: Vec<&[u8]> = works().map(|work| &work.secret.as_bytes()[..]).collect();
        let values: Vec<&[u8]> =
            works().flat_map(|work| &work.values).map(|value| &value[..]).collect();
        let expected: Vec<Option<&[u8]>> = works().map(|work| work.expected.as_deref()).collect();
        let Like { touch: touched, expect, names, hots, ttls } = &waiting[0].work.like;
        let statement = query(&self.inner.statements.update_together).bind(ids).bind(secrets);
        let statement = touch(statement, *touched).bind(expect.as_deref()).bind(expected);
        let statement = statement.bind(names).bind(values).bind(hots).bind(ttls);
        let mut answers: Vec<_> = waiting.iter().map(|_| None).collect();
        match self.inner.rows(statement, deadline).await.map_err(StoreError::from) {
            Ok(rows) => {
                for row in rows {
                    if let Some(answer) = place(&row, 4).ok().and_then(|at| answers.get_mut(at)) {
                        *answer = Some(updated(&row));
                    }
                }
            }
            Err(error) if matches!(error.kind(), Unknown | Unavailable) => {
                let error = Arc::new(error);
                answers.fill_with(|| {
                    let each = StoreError::new(NAME, error.kind());
                    Some(Err(each.with_source(Arc::clone(&error))))
                });
            }
            // It changed nothing, and alone each has an answer of its own.
            Err(_) => {}
        }
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            let (writing, tell) = waiting.part();
            tell(answer.map_or(Written::Alone(writing), Written::Is));
        }
    }
}
