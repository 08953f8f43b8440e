//! A session and the rules it lives by. All times are of the wall clock, since 1970.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use ruts::{
    Assurance, CachePolicy, PrincipalKey, SecretHash, Ttl,
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, ENDED_RETENTION, FieldWrite, Loaded, Lookup,
        NewSignIn, Projection, SessionMeta, SignedIn, StoredField, TakeField, Touch, Update,
        Updated,
    },
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    secret: [u8; 32],
    replaced: Option<[u8; 32]>,
    grace: Grace,
    created: Duration,
    rotated: Duration,
    used: Duration,
    idle: Option<Duration>,
    absolute: Option<Duration>,
    /// No absolute deadline goes beyond this one, which a sign-in has set.
    latest: Option<Duration>,
    ended: Option<Duration>,
    signed_in: Option<Signed>,
    /// How often everybody had been signed out when it was created.
    epoch: u64,
    fields: BTreeMap<String, Value>,
}

/// For how long a replaced secret opens the session.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Grace {
    /// As long as the new one was not used, and for that long after.
    Pending(Duration),
    Until(Duration),
}

#[derive(Serialize, Deserialize)]
struct Signed {
    principal: [u8; 32],
    level: u8,
    at: Duration,
}

/// With which secret a session was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    ByItsOwn,
    /// By the one before, which is as good: its own was never used.
    ByTheFormer,
    /// By the one before, in its grace.
    Late,
}

#[derive(Serialize, Deserialize)]
struct Value {
    bytes: Vec<u8>,
    expires: Option<Duration>,
    hot: Place,
}

/// [`CachePolicy`] as it stands in the file.
#[derive(Serialize, Deserialize)]
enum Place {
    Auto,
    For(Duration),
    Never,
    Checked,
}

impl Record {
    pub(crate) fn new(create: &Create<'_>, epoch: u64, now: Duration) -> Self {
        let mut record = Self {
            secret: *create.secret.as_bytes(),
            replaced: None,
            grace: Grace::Until(now),
            created: now,
            rotated: now,
            used: now,
            idle: None,
            absolute: None,
            latest: None,
            ended: None,
            signed_in: None,
            epoch,
            fields: BTreeMap::new(),
        };
        record.begin(create.idle, create.absolute, now);
        if let Some(who) = &create.sign_in {
            record.sign_in(who, now);
        }
        create.fields.iter().for_each(|put| record.set(put, now));
        record
    }

    /// Whether the session is live, or ended so lately that its secret has to be recognised.
    pub(crate) fn is_known(&self, epoch: u64, now: Duration) -> bool {
        self.epoch == epoch
            && match self.ended {
                Some(ended) => now < ended + ENDED_RETENTION,
                None => self.idle.into_iter().chain(self.absolute).all(|deadline| now < deadline),
            }
    }

    pub(crate) fn end(&mut self, now: Duration) {
        self.ended = Some(now);
        self.fields.clear();
    }

    /// When the principal signed in with it, if it did and is.
    pub(crate) fn signed_in_at(&self, principal: &PrincipalKey) -> Option<Duration> {
        let signed = self.signed_in.as_ref().filter(|_| self.ended.is_none())?;
        (signed.principal == *principal.as_bytes()).then_some(signed.at)
    }

    /// Whether the secret is ours. `SecretHash` compares in constant time; the bytes would not.
    pub(crate) fn open(&self, secret: &SecretHash, now: Duration) -> Lookup<Opened> {
        let opened = if SecretHash::from_bytes(self.secret) == *secret {
            Opened::ByItsOwn
        } else if self.replaced.is_some_and(|old| SecretHash::from_bytes(old) == *secret) {
            match self.grace {
                Grace::Pending(_) => Opened::ByTheFormer,
                Grace::Until(until) if now < until => Opened::Late,
                Grace::Until(until) => {
                    return Lookup::Replaced { ago: now.saturating_sub(until) };
                }
            }
        } else {
            return Lookup::NotFound;
        };
        match self.ended {
            Some(ended) => Lookup::Ended { ago: now.saturating_sub(ended) },
            None => Lookup::Found(opened),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn meta(&self, opened: Opened, now: Duration) -> SessionMeta {
        let left = |deadline: Duration| deadline.saturating_sub(now);
        SessionMeta {
            age: now.saturating_sub(self.created),
            secret_age: now.saturating_sub(self.rotated),
            unused: now.saturating_sub(self.used),
            idle: self.idle.map(left),
            absolute: self.absolute.map(left),
            signed_in: self.signed_in.as_ref().map(|signed| SignedIn {
                principal: PrincipalKey::from_bytes(signed.principal),
                // What cannot be read is trusted least.
                assurance: Assurance::from_level(signed.level).unwrap_or(Assurance::Remembered),
                ago: now.saturating_sub(signed.at),
            }),
            by_former: opened != Opened::ByItsOwn,
        }
    }

    pub(crate) fn load(&self, fields: Projection<'_>, opened: Opened, now: Duration) -> Loaded {
        let asked = |name: &str| match fields {
            Projection::All => true,
            Projection::Named(names) => names.contains(&name),
        };
        let left = |deadline: Duration| deadline.saturating_sub(now);
        Loaded {
            meta: self.meta(opened, now),
            fields: (self.fields.iter())
                .filter(|(name, value)| asked(name) && value.is_live(now))
                .map(|(name, value)| StoredField {
                    name: name.clone().into(),
                    value: Bytes::from(value.bytes.clone()),
                    ttl: value.expires.map(left),
                    hot: value.hot.to_hot(),
                })
                .collect(),
        }
    }

    /// Takes note that the session is used by its own secret, and says whether that was news.
    pub(crate) fn confirm(&mut self, opened: Opened, now: Duration) -> bool {
        let (Opened::ByItsOwn, Grace::Pending(grace)) = (opened, self.grace) else { return false };
        self.grace = Grace::Until(now + grace);
        true
    }

    /// What stands against an update, if anything does.
    pub(crate) fn refusal(
        &self,
        update: &Update<'_>,
        opened: Opened,
        now: Duration,
    ) -> Option<Lookup<Updated>> {
        let is_more = update.rotate.is_some()
            || update.renew.is_some()
            || update.absolute.is_some()
            || update.sign.is_some();
        if opened == Opened::Late && is_more {
            return Some(Lookup::Replaced { ago: Duration::ZERO });
        }
        if update.renew.is_some_and(|renew| now - self.rotated < renew.every.as_duration()) {
            return Some(Lookup::Found(Updated::NotDue));
        }
        let expect = update.precondition?;
        let held = self.fields.get(expect.name).filter(|value| value.is_live(now));
        let current = held.map(|value| value.bytes.as_slice());
        (current != expect.value.map(|value| &value[..])).then(|| {
            let current = current.map(Bytes::copy_from_slice);
            Lookup::Found(Updated::Conflict { current })
        })
    }

    /// Applies an update that nothing stands against, and says how many changes found their field.
    pub(crate) fn update(
        &mut self,
        presented: &SecretHash,
        update: &Update<'_>,
        opened: Opened,
        now: Duration,
    ) -> usize {
        self.fields.retain(|_, value| value.is_live(now));
        self.touch(update.touch, opened, now);
        if let Some(renew) = update.renew.filter(|renew| *renew.secret.as_bytes() != self.secret) {
            self.rotate(presented, Some(renew.secret), now);
            self.grace = Grace::Pending(renew.grace);
        }
        self.rotate(presented, update.rotate, now);
        match update.sign {
            Some(AuthChange::In { who, idle, absolute }) => {
                self.begin(idle, absolute, now);
                self.sign_in(&who, now);
            }
            Some(AuthChange::Out) => self.signed_in = None,
            None => {}
        }
        if let Some(AbsoluteDeadline { from_now, from_creation }) = update.absolute {
            let from_creation = from_creation.map(|ttl| self.created + ttl.as_duration());
            let latest = self.latest.or(from_creation);
            self.absolute = latest.into_iter().chain([now + from_now.as_duration()]).min();
        }
        update.changes.iter().filter(|change| self.apply(change, now)).count()
    }

    /// Takes a field out, unless the secret is too late for the rest of it.
    pub(crate) fn take(
        &mut self,
        presented: &SecretHash,
        take: &TakeField<'_>,
        opened: Opened,
        now: Duration,
    ) -> Lookup<Option<Bytes>> {
        if opened == Opened::Late && (take.rotate.is_some() || take.sign_out) {
            return Lookup::Replaced { ago: Duration::ZERO };
        }
        self.confirm(opened, now);
        self.touch(take.touch, opened, now);
        self.rotate(presented, take.rotate, now);
        if take.sign_out {
            self.signed_in = None;
        }
        let value = self.fields.remove(take.name).filter(|value| value.is_live(now));
        Lookup::Found(value.map(|value| value.bytes.into()))
    }

    /// Counts a use, if it is time to, and says whether it was.
    pub(crate) fn touch(&mut self, touch: Option<Touch>, opened: Opened, now: Duration) -> bool {
        let (Some(touch), Some(deadline)) = (touch, self.idle) else {
            return false;
        };
        let idle = touch.idle.as_duration();
        let due = opened != Opened::Late
            && idle.saturating_sub(deadline.saturating_sub(now)) >= touch.after;
        if due {
            self.idle = Some(now + idle);
            self.used = now;
        }
        due
    }

    /// Replaces the secret that was presented.
    fn rotate(&mut self, presented: &SecretHash, secret: Option<&SecretHash>, now: Duration) {
        if let Some(secret) = secret.filter(|secret| *secret.as_bytes() != self.secret) {
            self.replaced = Some(*presented.as_bytes());
            self.secret = *secret.as_bytes();
            self.rotated = now;
            self.grace = Grace::Until(now);
        }
    }

    /// Sets both deadlines.
    fn begin(&mut self, idle: Option<Ttl>, absolute: Option<Ttl>, now: Duration) {
        let end = |ttl: Ttl| now + ttl.as_duration();
        (self.idle, self.absolute, self.used) = (idle.map(end), absolute.map(end), now);
    }

    fn sign_in(&mut self, who: &NewSignIn<'_>, now: Duration) {
        let (principal, level) = (*who.principal.as_bytes(), who.assurance.level());
        self.signed_in = Some(Signed { principal, level, at: now });
        self.latest = self.absolute;
    }

    /// Applies a change to a live field, and says whether there was one to remove or to expire.
    fn apply(&mut self, change: &Change<'_>, now: Duration) -> bool {
        match change {
            Change::Set(put) => {
                self.set(put, now);
                false
            }
            Change::Remove(name) => self.fields.remove(*name).is_some(),
            Change::Expire(name, ttl) => match self.fields.get_mut(*name) {
                Some(value) => {
                    value.expires = Some(now + ttl.as_duration());
                    true
                }
                None => false,
            },
        }
    }

    fn set(&mut self, put: &FieldWrite<'_>, now: Duration) {
        let value = Value {
            bytes: put.value.to_vec(),
            expires: put.ttl.map(|ttl| now + ttl.as_duration()),
            hot: Place::from_hot(put.hot),
        };
        self.fields.insert(put.name.to_owned(), value);
    }
}

impl Value {
    fn is_live(&self, now: Duration) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Place {
    fn from_hot(hot: CachePolicy) -> Self {
        match hot {
            CachePolicy::Auto => Self::Auto,
            CachePolicy::For(ttl) => Self::For(ttl.as_duration()),
            CachePolicy::Never => Self::Never,
            CachePolicy::Checked => Self::Checked,
        }
    }

    fn to_hot(&self) -> CachePolicy {
        match self {
            Self::Auto => CachePolicy::Auto,
            Self::For(time) => Ttl::new(*time).map_or(CachePolicy::Never, CachePolicy::For),
            Self::Never => CachePolicy::Never,
            Self::Checked => CachePolicy::Checked,
        }
    }
}
