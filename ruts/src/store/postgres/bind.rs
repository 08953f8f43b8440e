//! [`Statement`]: the text of a statement with its bound parameters.
//!
//! Built by the store, the batches, the cleanup and `check`, and sent by the executor. The files in
//! `sql` define the order of the parameters. Knows nothing about connections or rows.

use std::{collections::HashSet, time::Duration};

use sqlx::{Arguments, Encode, Error, Postgres, SqlStr, Type, postgres::PgArguments, query::Query};

use super::error::{StatementError, statement_error};
use crate::{
    auth::Assurance,
    store::{AuthChange, Change, Credentials, FieldWrite, NewSignIn, OnLimit, Touch, Update},
    token::{SecretHash, SessionId},
    ttl::Ttl,
};

/// The text of a statement, and the parameters that were bound to it so far.
pub(super) struct Statement {
    sql: SqlStr,
    parameters: Result<PgArguments, StatementError>,
    is_read: bool,
}

impl Statement {
    /// Creates a statement that may change something.
    pub(super) fn new(sql: &SqlStr) -> Self {
        Self { sql: sql.clone(), parameters: Ok(PgArguments::default()), is_read: false }
    }

    /// Creates a statement that may run twice. Except for `expiry`, its rows begin with the columns
    /// of [`SessionColumn`](super::statements::SessionColumn).
    pub(super) fn read(sql: &SqlStr) -> Self {
        Self { is_read: true, ..Self::new(sql) }
    }

    pub(super) const fn is_read(&self) -> bool {
        self.is_read
    }

    pub(super) fn bind<'t, T: Encode<'t, Postgres> + Type<Postgres>>(mut self, value: T) -> Self {
        if let Ok(parameters) = &mut self.parameters
            && let Err(error) = parameters.add(value)
        {
            self.parameters = Err(statement_error(Error::Encode(error), false));
        }
        self
    }

    pub(super) fn credentials(self, credentials: Credentials<'_>) -> Self {
        self.bind(&credentials.id.as_bytes()[..]).secret(credentials.secret())
    }

    /// Binds the credentials of a batch, as two arrays.
    pub(super) fn batch<'a>(self, batch: impl Iterator<Item = Credentials<'a>>) -> Self {
        let (ids, secrets): (Vec<_>, Vec<_>) = batch
            .map(|credentials| {
                let secret = credentials.secret().map(|secret| &secret.as_bytes()[..]);
                (&credentials.id.as_bytes()[..], secret)
            })
            .unzip();
        self.bind(ids).bind(secrets)
    }

    pub(super) fn id(self, id: Option<&SessionId>) -> Self {
        self.bind(id.map(|id| &id.as_bytes()[..]))
    }

    pub(super) fn secret(self, secret: Option<&SecretHash>) -> Self {
        self.bind(secret.map(|secret| &secret.as_bytes()[..]))
    }

    pub(super) fn ttl(self, ttl: Option<Ttl>) -> Self {
        self.bind(ttl.map(millis))
    }

    pub(super) fn touch(self, touch: Option<Touch>) -> Self {
        let after = touch.map(|touch| i64::try_from(touch.after.as_millis()).unwrap_or(i64::MAX));
        self.ttl(touch.map(|touch| touch.idle)).bind(after)
    }

    pub(super) fn sign_in(self, who: Option<&NewSignIn<'_>>) -> Self {
        self.principal(who, who.map(|who| who.assurance))
    }

    /// Binds a sign-in, or only the assurance of an authentication that lapses.
    fn principal(self, who: Option<&NewSignIn<'_>>, assurance: Option<Assurance>) -> Self {
        let limit = who.and_then(|who| who.limit);
        let sessions = limit.map(|limit| i32::try_from(limit.sessions.max(1)).unwrap_or(i32::MAX));
        self.bind(who.map(|who| &who.principal.as_bytes()[..]))
            .bind(assurance.map(|assurance| i16::from(assurance.level())))
            .bind(sessions)
            .bind(limit.map(|limit| limit.on_limit == OnLimit::EndOldest))
    }

    /// Binds all parameters of `update`.
    pub(super) fn update(
        self,
        credentials: Credentials<'_>,
        update: &Update<'_>,
        fields: FieldColumns<'_>,
    ) -> Self {
        let (auth_change, who, assurance, [idle, absolute]) = match &update.auth_change {
            Some(AuthChange::In { who, idle, absolute }) => {
                (Some("in"), Some(who), Some(who.assurance), [*idle, *absolute])
            }
            Some(AuthChange::Lapse(assurance)) => {
                (Some("lapse"), None, Some(*assurance), [None; 2])
            }
            Some(AuthChange::Out) => (Some("out"), None, None, [None; 2]),
            None => (None, None, None, [None; 2]),
        };
        self.credentials(credentials)
            .touch(update.touch)
            .bind(update.precondition.map(|precondition| precondition.name))
            .bind(update.precondition.and_then(|precondition| Some(&precondition.value?[..])))
            .secret(update.rotate)
            .ttl(update.absolute.map(|absolute| absolute.from_now))
            .ttl(update.absolute.and_then(|absolute| absolute.from_creation))
            .secret(update.renew.map(|renew| renew.secret))
            .ttl(update.renew.map(|renew| renew.every))
            .bind(update.renew.map(|renew| grace_millis(renew.grace)))
            .bind(auth_change)
            .ttl(idle)
            .ttl(absolute)
            .principal(who, assurance)
            .bind(who.map(|who| who.keep_fields))
            .bind(fields.operations.as_deref())
            .fields(&fields)
    }

    pub(super) fn fields(self, fields: &FieldColumns<'_>) -> Self {
        let FieldColumns { names, values, cache_policies, ttls, operations: _ } = fields;
        self.bind(names).bind(values).bind(cache_policies).bind(ttls)
    }

    /// Returns a query to send. Each attempt needs a new one.
    pub(super) fn query(&self) -> Result<Query<'static, Postgres, PgArguments>, StatementError> {
        Ok(sqlx::query_with(self.sql.clone(), self.parameters.clone()?))
    }
}

/// Changes to fields as one array for each column.
#[derive(Default)]
pub(super) struct FieldColumns<'a> {
    /// The operation on each field. `None` if all fields are set and no name occurs twice.
    operations: Option<Vec<&'static str>>,
    names: Vec<&'a str>,
    values: Vec<Option<&'a [u8]>>,
    cache_policies: Vec<Option<i64>>,
    ttls: Vec<Option<i64>>,
}

impl<'a> FieldColumns<'a> {
    pub(super) fn new(changes: &[Change<'a>]) -> Self {
        if let Some(writes) = field_writes(changes) {
            return Self::set(writes);
        }
        let mut columns = Self::default();
        let operations = changes.iter().map(|change| match change {
            Change::Set(write) => {
                columns.push(write);
                "set"
            }
            Change::Remove(name) => {
                columns.push_name(name, None);
                "remove"
            }
            Change::Expire(name, ttl) => {
                columns.push_name(name, Some(*ttl));
                "expire"
            }
        });
        Self { operations: Some(operations.collect()), ..columns }
    }

    /// Returns the columns of writes, whose names have to differ.
    pub(super) fn set(writes: impl IntoIterator<Item = FieldWrite<'a>>) -> Self {
        let mut columns = Self::default();
        writes.into_iter().for_each(|write| columns.push(&write));
        columns
    }

    /// Replaces the values with the values of a batch, one session after the other.
    pub(super) fn with_values(self, values: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { values: values.map(Some).collect(), ..self }
    }

    fn push(&mut self, write: &FieldWrite<'a>) {
        self.names.push(write.name);
        self.values.push(Some(write.value));
        self.cache_policies.push(Some(write.cache_policy.to_number()));
        self.ttls.push(write.ttl.map(millis));
    }

    fn push_name(&mut self, name: &'a str, ttl: Option<Ttl>) {
        self.names.push(name);
        self.values.push(None);
        self.cache_policies.push(None);
        self.ttls.push(ttl.map(millis));
    }
}

/// Returns the last write of each field, if all changes are writes. Earlier writes are left out,
/// because one statement cannot write a row twice.
pub(super) fn field_writes<'a>(changes: &[Change<'a>]) -> Option<Vec<FieldWrite<'a>>> {
    let write = |change: &_| if let Change::Set(write) = change { Some(*write) } else { None };
    changes.iter().map(write).collect::<Option<Vec<_>>>().map(last_of_each)
}

/// Returns the last write of each field.
pub(super) fn last_of_each(mut writes: Vec<FieldWrite<'_>>) -> Vec<FieldWrite<'_>> {
    let mut names = HashSet::new();
    writes.reverse();
    writes.retain(|write| names.insert(write.name));
    writes
}

/// Returns a TTL in milliseconds. The cast loses nothing, because a TTL is at most 100 years.
const fn millis(ttl: Ttl) -> i64 {
    ttl.as_millis() as i64
}

/// Returns a grace period in milliseconds, at most the longest TTL. A timestamp of the server ends
/// earlier than the longest duration.
fn grace_millis(grace: Duration) -> i64 {
    grace.min(Ttl::MAX.as_duration()).as_nanos().div_ceil(1_000_000) as i64
}
