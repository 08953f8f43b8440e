use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use crate::{
    store::{
        Change, Create, Deadline, Expect, Fields, LATE, Loaded, Lookup, Meta, Put, Stored, Touch,
    },
    token::SecretHash,
    ttl::Hot,
};

/// One session. All times are of the store's clock; a deadline has passed at its very instant.
pub(super) struct Record {
    secret: SecretHash,
    replaced: Option<SecretHash>,
    created: Duration,
    rotated: Duration,
    idle: Option<Duration>,
    absolute: Option<Duration>,
    ended: Option<Duration>,
    fields: HashMap<Box<str>, Value>,
    /// The deadline under which the store's schedule has this session.
    pub(super) filed: Option<Duration>,
}

struct Value {
    bytes: Bytes,
    expires: Option<Duration>,
    hot: Hot,
}

impl Record {
    pub(super) fn new(create: &Create<'_>, now: Duration) -> Self {
        let mut record = Self {
            secret: *create.secret,
            replaced: None,
            created: now,
            rotated: now,
            idle: create.idle.map(|ttl| now.saturating_add(ttl.as_duration())),
            absolute: create.absolute.map(|ttl| now.saturating_add(ttl.as_duration())),
            fields: HashMap::with_capacity(create.fields.len()),
            ended: None,
            filed: None,
        };
        for put in create.fields {
            record.set(put, now);
        }
        record
    }

    /// The moment from which nothing need be known of the session, if nothing moves it.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.ended {
            Some(ended) => Some(ended.saturating_add(LATE)),
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

    /// Whether `secret` opens the session.
    pub(super) fn open(&mut self, secret: &SecretHash, now: Duration) -> Lookup<&mut Self> {
        if self.secret == *secret {
            match self.ended {
                Some(ended) => Lookup::Ended { ago: now.saturating_sub(ended) },
                None => Lookup::Found(self),
            }
        } else if self.replaced.is_some_and(|replaced| replaced == *secret) {
            Lookup::Replaced { ago: now.saturating_sub(self.rotated) }
        } else {
            Lookup::NotFound
        }
    }

    pub(super) fn touch(&mut self, touch: Option<Touch>, now: Duration) {
        let (Some(touch), Some(deadline)) = (touch, self.idle) else {
            return;
        };
        let granted = touch.idle.as_duration();
        if granted.saturating_sub(deadline.saturating_sub(now)) >= touch.after {
            self.idle = Some(now.saturating_add(granted));
        }
    }

    pub(super) fn rotate(&mut self, secret: Option<&SecretHash>, now: Duration) {
        if let Some(secret) = secret.filter(|secret| **secret != self.secret) {
            self.replaced = Some(std::mem::replace(&mut self.secret, *secret));
            self.rotated = now;
        }
    }

    pub(super) fn end_at(&mut self, deadline: Option<Deadline>, now: Duration) {
        if let Some(Deadline { from_now, from_creation }) = deadline {
            let latest = from_creation.map(|ttl| self.created.saturating_add(ttl.as_duration()));
            self.absolute =
                latest.into_iter().chain([now.saturating_add(from_now.as_duration())]).min();
        }
    }

    pub(super) fn load(&self, fields: Fields<'_>, now: Duration) -> Loaded {
        let stored = |name: &str, value: &Value| Stored {
            name: name.to_owned(),
            value: value.bytes.clone(),
            ttl: value.expires.map(|expires| expires.saturating_sub(now)),
            hot: value.hot,
        };
        let fields = match fields {
            Fields::All => (self.fields.iter())
                .filter(|(_, value)| value.is_live(now))
                .map(|(name, value)| stored(name, value))
                .collect(),
            Fields::Named(names) => (names.iter())
                .filter_map(|name| self.get(name, now).map(|value| stored(name, value)))
                .collect(),
        };
        Loaded {
            meta: Meta {
                age: now.saturating_sub(self.created),
                secret_age: now.saturating_sub(self.rotated),
                idle: self.idle.map(|deadline| deadline.saturating_sub(now)),
                absolute: self.absolute.map(|deadline| deadline.saturating_sub(now)),
            },
            fields,
        }
    }

    /// Ends the session. Only its secrets are kept for a while.
    pub(super) fn end(&mut self, now: Duration) {
        self.ended = Some(now);
        self.fields = HashMap::new();
    }

    /// What stands against an expectation; `None` if nothing does.
    pub(super) fn conflict(&self, expect: &Expect<'_>, now: Duration) -> Option<Option<Bytes>> {
        let current = self.get(expect.name, now).map(|value| &value.bytes);
        (current != expect.value).then(|| current.cloned())
    }

    /// Applies a change and says whether it found the field.
    pub(super) fn apply(&mut self, change: &Change<'_>, now: Duration) -> bool {
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

    fn set(&mut self, put: &Put<'_>, now: Duration) {
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
