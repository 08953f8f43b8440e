//! Owned copies of the requests of the contract, for operations that run in a thread or a task.
//!
//! Made by `SqliteStore` and `MySqlStore`, which lend them to their operations as borrowed
//! requests.

use std::time::Duration;

use bytes::Bytes;

use super::request::{
    AbsoluteDeadline, AuthChange, Change, Create, Credentials, FieldWrite, NewSignIn, Precondition,
    Projection, Proof, Renew, RevokeTarget, SessionLimit, TakeField, Touch, Update,
};
use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    field::FieldName,
    token::{SecretHash, SessionId},
    ttl::Ttl,
};

#[derive(Clone, Copy)]
pub(in crate::store) struct OwnedCredentials {
    pub(in crate::store) id: SessionId,
    /// The hash of the presented secret, or `None` for internal credentials.
    secret: Option<SecretHash>,
}

impl OwnedCredentials {
    #[cfg(feature = "mysql-store")]
    pub(in crate::store) fn borrow(&self) -> Credentials<'_> {
        match &self.secret {
            Some(secret) => Credentials::new(&self.id, secret),
            None => Credentials::internal(&self.id),
        }
    }

    pub(in crate::store) fn proof(&self) -> Proof<'_> {
        self.secret.as_ref().map_or(Proof::Internal, Proof::Secret)
    }
}

impl From<Credentials<'_>> for OwnedCredentials {
    fn from(credentials: Credentials<'_>) -> Self {
        Self { id: *credentials.id, secret: credentials.secret().copied() }
    }
}

/// Names of fields, or `None` for all.
#[derive(PartialEq, Eq)]
pub(in crate::store) struct OwnedProjection(Option<Vec<FieldName>>);

impl From<Projection<'_>> for OwnedProjection {
    fn from(projection: Projection<'_>) -> Self {
        match projection {
            Projection::All => Self(None),
            Projection::Named(names) => {
                Self(Some(names.iter().map(|name| FieldName::from(*name)).collect()))
            }
        }
    }
}

impl OwnedProjection {
    pub(in crate::store) fn lend<T>(&self, function: impl FnOnce(Projection<'_>) -> T) -> T {
        match &self.0 {
            None => function(Projection::All),
            Some(names) => {
                let names: Vec<&str> = names.iter().map(|name| &**name).collect();
                function(Projection::Named(&names))
            }
        }
    }
}

struct OwnedWrite {
    name: FieldName,
    value: Bytes,
    ttl: Option<Ttl>,
    cache_policy: CachePolicy,
}

impl OwnedWrite {
    fn new(write: &FieldWrite<'_>) -> Self {
        let FieldWrite { name, value, ttl, cache_policy } = *write;
        Self { name: name.into(), value: value.clone(), ttl, cache_policy }
    }

    fn borrow(&self) -> FieldWrite<'_> {
        FieldWrite {
            name: &self.name,
            value: &self.value,
            ttl: self.ttl,
            cache_policy: self.cache_policy,
        }
    }
}

struct OwnedSignIn {
    principal: PrincipalKey,
    assurance: Assurance,
    limit: Option<SessionLimit>,
    keep_fields: bool,
}

impl OwnedSignIn {
    const fn new(who: &NewSignIn<'_>) -> Self {
        let NewSignIn { principal, assurance, limit, keep_fields } = *who;
        Self { principal: *principal, assurance, limit, keep_fields }
    }

    const fn borrow(&self) -> NewSignIn<'_> {
        NewSignIn {
            principal: &self.principal,
            assurance: self.assurance,
            limit: self.limit,
            keep_fields: self.keep_fields,
        }
    }
}

pub(in crate::store) struct OwnedCreate {
    id: SessionId,
    secret: SecretHash,
    idle: Option<Ttl>,
    absolute: Option<Ttl>,
    fields: Vec<OwnedWrite>,
    sign_in: Option<OwnedSignIn>,
}

impl From<&Create<'_>> for OwnedCreate {
    fn from(create: &Create<'_>) -> Self {
        let Create { id, secret, idle, absolute, fields, sign_in } = create;
        Self {
            id: **id,
            secret: **secret,
            idle: *idle,
            absolute: *absolute,
            fields: fields.iter().map(OwnedWrite::new).collect(),
            sign_in: sign_in.as_ref().map(OwnedSignIn::new),
        }
    }
}

impl OwnedCreate {
    pub(in crate::store) fn lend<T>(&self, function: impl FnOnce(&Create<'_>) -> T) -> T {
        let fields: Vec<_> = self.fields.iter().map(OwnedWrite::borrow).collect();
        function(&Create {
            id: &self.id,
            secret: &self.secret,
            idle: self.idle,
            absolute: self.absolute,
            fields: &fields,
            sign_in: self.sign_in.as_ref().map(OwnedSignIn::borrow),
        })
    }
}

enum OwnedChange {
    Set(OwnedWrite),
    Remove(FieldName),
    Expire(FieldName, Ttl),
}

impl OwnedChange {
    fn new(change: &Change<'_>) -> Self {
        match change {
            Change::Set(write) => Self::Set(OwnedWrite::new(write)),
            Change::Remove(name) => Self::Remove((*name).into()),
            Change::Expire(name, ttl) => Self::Expire((*name).into(), *ttl),
        }
    }

    fn borrow(&self) -> Change<'_> {
        match self {
            Self::Set(write) => Change::Set(write.borrow()),
            Self::Remove(name) => Change::Remove(name),
            Self::Expire(name, ttl) => Change::Expire(name, *ttl),
        }
    }
}

struct OwnedRenew {
    secret: SecretHash,
    every: Ttl,
    grace: Duration,
}

enum OwnedAuthChange {
    In { who: OwnedSignIn, idle: Option<Ttl>, absolute: Option<Ttl> },
    Lapse(Assurance),
    Out,
}

pub(in crate::store) struct OwnedUpdate {
    changes: Vec<OwnedChange>,
    precondition: Option<(FieldName, Option<Bytes>)>,
    rotate: Option<SecretHash>,
    renew: Option<OwnedRenew>,
    absolute: Option<AbsoluteDeadline>,
    touch: Option<Touch>,
    auth_change: Option<OwnedAuthChange>,
}

impl From<&Update<'_>> for OwnedUpdate {
    fn from(update: &Update<'_>) -> Self {
        let Update { changes, precondition, rotate, renew, absolute, touch, auth_change } = update;
        let renew = renew.map(|Renew { secret, every, grace }| OwnedRenew {
            secret: *secret,
            every,
            grace,
        });
        Self {
            changes: changes.iter().map(OwnedChange::new).collect(),
            precondition: precondition.map(|it| (it.name.into(), it.value.cloned())),
            rotate: rotate.copied(),
            renew,
            absolute: *absolute,
            touch: *touch,
            auth_change: auth_change.as_ref().map(|change| match change {
                AuthChange::In { who, idle, absolute } => OwnedAuthChange::In {
                    who: OwnedSignIn::new(who),
                    idle: *idle,
                    absolute: *absolute,
                },
                AuthChange::Lapse(assurance) => OwnedAuthChange::Lapse(*assurance),
                AuthChange::Out => OwnedAuthChange::Out,
            }),
        }
    }
}

impl OwnedUpdate {
    pub(in crate::store) fn lend<T>(&self, function: impl FnOnce(&Update<'_>) -> T) -> T {
        let changes: Vec<_> = self.changes.iter().map(OwnedChange::borrow).collect();
        let renew = self.renew.as_ref();
        function(&Update {
            changes: &changes,
            precondition: (self.precondition.as_ref())
                .map(|(name, value)| Precondition { name, value: value.as_ref() }),
            rotate: self.rotate.as_ref(),
            renew: renew.map(|it| Renew { secret: &it.secret, every: it.every, grace: it.grace }),
            absolute: self.absolute,
            touch: self.touch,
            auth_change: self.auth_change.as_ref().map(|change| match change {
                OwnedAuthChange::In { who, idle, absolute } => {
                    AuthChange::In { who: who.borrow(), idle: *idle, absolute: *absolute }
                }
                OwnedAuthChange::Lapse(assurance) => AuthChange::Lapse(*assurance),
                OwnedAuthChange::Out => AuthChange::Out,
            }),
        })
    }
}

pub(in crate::store) struct OwnedTake {
    name: FieldName,
    rotate: Option<SecretHash>,
    touch: Option<Touch>,
    sign_out: bool,
    max_version: Option<u16>,
}

impl From<TakeField<'_>> for OwnedTake {
    fn from(take: TakeField<'_>) -> Self {
        let TakeField { name, rotate, touch, sign_out, max_version } = take;
        Self { name: name.into(), rotate: rotate.copied(), touch, sign_out, max_version }
    }
}

impl OwnedTake {
    pub(in crate::store) fn borrow(&self) -> TakeField<'_> {
        TakeField {
            name: &self.name,
            rotate: self.rotate.as_ref(),
            touch: self.touch,
            sign_out: self.sign_out,
            max_version: self.max_version,
        }
    }
}

#[derive(Clone, Copy)]
pub(in crate::store) enum OwnedTarget {
    One(SessionId),
    All { except: Option<SessionId> },
}

impl From<RevokeTarget<'_>> for OwnedTarget {
    fn from(target: RevokeTarget<'_>) -> Self {
        match target {
            RevokeTarget::One(id) => Self::One(*id),
            RevokeTarget::All { except } => Self::All { except: except.copied() },
        }
    }
}

impl OwnedTarget {
    pub(in crate::store) const fn borrow(&self) -> RevokeTarget<'_> {
        match self {
            Self::One(id) => RevokeTarget::One(id),
            Self::All { except } => RevokeTarget::All { except: except.as_ref() },
        }
    }
}
