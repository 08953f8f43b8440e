use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use crate::{
    principal::{Assurance, PrincipalKey},
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, ENDED_RETENTION, FieldWrite, Loaded, Lookup,
        NewSignIn, Precondition, Projection, Renew, SessionMeta, SignedIn, StoredField, Touch,
        Update,
    },
    token::SecretHash,
    ttl::{CachePolicy, Ttl},
};

/// One session. All times are of the store's clock; a deadline has passed at its very instant.
pub(super) struct Record {
    secret: SecretHash,
    replaced: Option<SecretHash>,
    grace: Grace,
    created: Duration,
    rotated: Duration,
    used: Duration,
    idle: Option<Duration>,
    absolute: Option<Duration>,
    ended: Option<Duration>,
    signed_in: Option<Signed>,
    /// No absolute deadline goes beyond this one, which a sign-in has set.
    latest: Option<Duration>,
    fields: HashMap<Box<str>, Value>,
    /// The deadline under which the store's schedule has this session.
    pub(super) filed: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Signed {
    principal: PrincipalKey,
    assurance: Assurance,
    at: Duration,
}

/// For how long a replaced secret opens the session.
#[derive(Clone, Copy)]
enum Grace {
    /// As long as the new one was not used, and for that long after.
    Pending(Duration),
    Until(Duration),
}

/// With which secret a session was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    ByItsOwn,
    /// By the one before, which is as good: its own was never used.
    ByTheFormer,
    /// By the one before, in its grace.
    Late,
}

struct Value {
    bytes: Bytes,
    expires: Option<Duration>,
    hot: CachePolicy,
}

impl Record {
    pub(super) fn new(create: &Create<'_>, now: Duration) -> Self {
        let mut record = Self {
            secret: *create.secret,
            replaced: None,
            grace: Grace::Until(now),
            created: now,
            rotated: now,
            used: now,
            idle: None,
            absolute: None,
            ended: None,
            signed_in: None,
            latest: None,
            fields: HashMap::with_capacity(create.fields.len()),
            filed: None,
        };
        record.begin(create.idle, create.absolute, now);
        if let Some(who) = &create.sign_in {
            record.sign_in(who, now);
        }
        for put in create.fields {
            record.set(put, now);
        }
        record
    }

    /// The moment from which nothing need be known of the session, if nothing moves it.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.ended {
            Some(ended) => Some(ended.saturating_add(ENDED_RETENTION)),
            None => self.idle.into_iter().chain(self.absolute).min(),
        }
    }

    /// Whether the deadline has not passed.
    pub(super) fn is_known(&self, now: Duration) -> bool {
        self.deadline().is_none_or(|deadline| now < deadline)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it is live, and somebody's.
    pub(super) fn belongs_to(&self, principal: &PrincipalKey, now: Duration) -> bool {
        self.ended.is_none() && self.is_known(now) && self.principal() == Some(*principal)
    }

    pub(super) fn principal(&self) -> Option<PrincipalKey> {
        self.signed_in.map(|signed| signed.principal)
    }

    /// When whoever is signed in did so.
    pub(super) fn signed_in_at(&self) -> Option<Duration> {
        self.signed_in.map(|signed| signed.at)
    }

    /// Whether `secret` opens the session, and which one it is.
    pub(super) fn open(&self, secret: &SecretHash, now: Duration) -> Lookup<Opened> {
        let opened = if self.secret == *secret {
            Opened::ByItsOwn
        } else if self.replaced.is_some_and(|replaced| replaced == *secret) {
            match self.grace {
                Grace::Pending(_) => Opened::ByTheFormer,
                Grace::Until(until) if now < until => Opened::Late,
                Grace::Until(_) => return self.replaced(now),
            }
        } else {
            return Lookup::NotFound;
        };
        match self.ended {
            Some(ended) => Lookup::Ended { ago: now.saturating_sub(ended) },
            None => Lookup::Found(opened),
        }
    }

    /// What a former secret is told that was used for more than it still may.
    pub(super) fn replaced<T>(&self, now: Duration) -> Lookup<T> {
        let since = match self.grace {
            Grace::Until(until) if until < now => until,
            Grace::Until(_) | Grace::Pending(_) => now,
        };
        Lookup::Replaced { ago: now.saturating_sub(since) }
    }

    /// Takes note that the session is used by its own secret.
    pub(super) fn confirm(&mut self, opened: Opened, now: Duration) {
        if let (Opened::ByItsOwn, Grace::Pending(grace)) = (opened, self.grace) {
            self.grace = Grace::Until(now.saturating_add(grace));
        }
    }

    pub(super) fn touch(&mut self, touch: Option<Touch>, now: Duration) {
        let (Some(touch), Some(deadline)) = (touch, self.idle) else {
            return;
        };
        let granted = touch.idle.as_duration();
        if granted.saturating_sub(deadline.saturating_sub(now)) >= touch.after {
            self.idle = Some(now.saturating_add(granted));
            self.used = now;
        }
    }

    /// Replaces the secret that was `presented`.
    pub(super) fn rotate(&mut self, presented: &SecretHash, secret: &SecretHash, now: Duration) {
        if *secret != self.secret {
            self.replaced = Some(*presented);
            self.secret = *secret;
            self.rotated = now;
            self.grace = Grace::Until(now);
        }
    }

    /// Whether the secret is old enough to be replaced.
    pub(super) fn is_due(&self, renew: &Renew<'_>, now: Duration) -> bool {
        now.saturating_sub(self.rotated) >= renew.every.as_duration()
    }

    /// Applies an update whose expectation was met, and says how many of its changes found their field.
    pub(super) fn update(
        &mut self,
        presented: &SecretHash,
        update: &Update<'_>,
        now: Duration,
    ) -> usize {
        self.prune(now);
        self.touch(update.touch, now);
        if let Some(renew) = update.renew.filter(|renew| *renew.secret != self.secret) {
            self.rotate(presented, renew.secret, now);
            self.grace = Grace::Pending(renew.grace);
        }
        if let Some(secret) = update.rotate {
            self.rotate(presented, secret, now);
        }
        match update.sign {
            Some(AuthChange::In { who, idle, absolute }) => {
                self.begin(idle, absolute, now);
                self.sign_in(&who, now);
            }
            Some(AuthChange::Out) => self.sign_out(),
            None => {}
        }
        self.end_at(update.absolute, now);
        update.changes.iter().filter(|change| self.apply(change, now)).count()
    }

    /// Sets both deadlines.
    fn begin(&mut self, idle: Option<Ttl>, absolute: Option<Ttl>, now: Duration) {
        let from_now = |ttl: Ttl| now.saturating_add(ttl.as_duration());
        self.idle = idle.map(from_now);
        self.absolute = absolute.map(from_now);
        self.used = now;
    }

    fn sign_in(&mut self, who: &NewSignIn<'_>, now: Duration) {
        let NewSignIn { principal, assurance, .. } = *who;
        self.signed_in = Some(Signed { principal: *principal, assurance, at: now });
        self.latest = self.absolute;
    }

    pub(super) fn sign_out(&mut self) {
        self.signed_in = None;
    }

    fn end_at(&mut self, deadline: Option<AbsoluteDeadline>, now: Duration) {
        if let Some(AbsoluteDeadline { from_now, from_creation }) = deadline {
            let from_creation =
                from_creation.map(|ttl| self.created.saturating_add(ttl.as_duration()));
            let from_now = Some(now.saturating_add(from_now.as_duration()));
            // A sign-in begins anew what is counted from creation.
            let latest = self.latest.or(from_creation);
            self.absolute = latest.into_iter().chain(from_now).min();
        }
    }

    pub(super) fn load(&self, fields: Projection<'_>, opened: Opened, now: Duration) -> Loaded {
        let stored = |name: &str, value: &Value| StoredField {
            name: name.into(),
            value: value.bytes.clone(),
            ttl: value.expires.map(|expires| expires.saturating_sub(now)),
            hot: value.hot,
        };
        let fields = match fields {
            Projection::All => (self.fields.iter())
                .filter(|(_, value)| value.is_live(now))
                .map(|(name, value)| stored(name, value))
                .collect(),
            Projection::Named(names) => (names.iter())
                .filter_map(|name| self.get(name, now).map(|value| stored(name, value)))
                .collect(),
        };
        Loaded { meta: self.meta(opened, now), fields }
    }

    /// Its ages and deadlines, and who is signed in.
    pub(super) fn meta(&self, opened: Opened, now: Duration) -> SessionMeta {
        SessionMeta {
            age: now.saturating_sub(self.created),
            secret_age: now.saturating_sub(self.rotated),
            unused: now.saturating_sub(self.used),
            idle: self.idle.map(|deadline| deadline.saturating_sub(now)),
            absolute: self.absolute.map(|deadline| deadline.saturating_sub(now)),
            signed_in: self.signed_in.map(|signed| SignedIn {
                principal: signed.principal,
                assurance: signed.assurance,
                ago: now.saturating_sub(signed.at),
            }),
            by_former: opened != Opened::ByItsOwn,
        }
    }

    /// Ends the session. Only its secrets are kept for a while.
    pub(super) fn end(&mut self, now: Duration) {
        self.ended = Some(now);
        self.fields = HashMap::new();
    }

    /// What stands against an expectation; `None` if nothing does.
    pub(super) fn conflict(
        &self,
        expect: &Precondition<'_>,
        now: Duration,
    ) -> Option<Option<Bytes>> {
        let current = self.get(expect.name, now).map(|value| &value.bytes);
        (current != expect.value).then(|| current.cloned())
    }

    /// Applies a change and says whether it found the field.
    fn apply(&mut self, change: &Change<'_>, now: Duration) -> bool {
        match change {
            Change::Set(put) => {
                self.set(put, now);
                false
            }
            Change::Remove(name) => self.take(name, now).is_some(),
            Change::Expire(name, ttl) => match self.fields.get_mut(*name) {
                Some(value) if value.is_live(now) => {
                    value.expires = Some(now.saturating_add(ttl.as_duration()));
                    true
                }
                _ => false,
            },
        }
    }

    pub(super) fn take(&mut self, name: &str, now: Duration) -> Option<Bytes> {
        self.fields.remove(name).filter(|value| value.is_live(now)).map(|value| value.bytes)
    }

    /// Frees what expired inside the session.
    pub(super) fn prune(&mut self, now: Duration) {
        self.fields.retain(|_, value| value.is_live(now));
    }

    fn get(&self, name: &str, now: Duration) -> Option<&Value> {
        self.fields.get(name).filter(|value| value.is_live(now))
    }

    fn set(&mut self, put: &FieldWrite<'_>, now: Duration) {
        let value = Value {
            bytes: put.value.clone(),
            expires: put.ttl.map(|ttl| now.saturating_add(ttl.as_duration())),
            hot: put.hot,
        };
        match self.fields.get_mut(put.name) {
            Some(held) => *held = value,
            None => {
                self.fields.insert(put.name.into(), value);
            }
        }
    }
}

impl Value {
    fn is_live(&self, now: Duration) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}
