//! A session and the rules it lives by. All times are of the wall clock, since 1970.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use ruts::{
    Hot, SecretHash, Ttl,
    store::{
        Change, Create, Deadline, Fields, LATE, Loaded, Lookup, Meta, Put, Stored, Take, Touch,
        Update, Updated,
    },
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    secret: [u8; 32],
    replaced: Option<[u8; 32]>,
    created: Duration,
    rotated: Duration,
    idle: Option<Duration>,
    absolute: Option<Duration>,
    ended: Option<Duration>,
    fields: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Value {
    bytes: Vec<u8>,
    expires: Option<Duration>,
    hot: Place,
}

/// [`Hot`] as it stands in the file.
#[derive(Serialize, Deserialize)]
enum Place {
    Auto,
    For(Duration),
    Never,
    Checked,
}

impl Record {
    pub(crate) fn new(create: &Create<'_>, now: Duration) -> Self {
        let end = |ttl: Ttl| now + ttl.as_duration();
        let mut record = Self {
            secret: *create.secret.as_bytes(),
            replaced: None,
            created: now,
            rotated: now,
            idle: create.idle.map(end),
            absolute: create.absolute.map(end),
            ended: None,
            fields: BTreeMap::new(),
        };
        create.fields.iter().for_each(|put| record.set(put, now));
        record
    }

    /// Whether the session is live, or ended so lately that its secret has to be recognised.
    pub(crate) fn is_known(&self, now: Duration) -> bool {
        match self.ended {
            Some(ended) => now < ended + LATE,
            None => self.idle.into_iter().chain(self.absolute).all(|deadline| now < deadline),
        }
    }

    pub(crate) fn end(&mut self, now: Duration) {
        self.ended = Some(now);
        self.fields.clear();
    }

    /// Whether the secret is ours. `SecretHash` compares in constant time; the bytes would not.
    pub(crate) fn open(&self, secret: &SecretHash, now: Duration) -> Lookup<()> {
        if SecretHash::from_bytes(self.secret) == *secret {
            match self.ended {
                Some(ended) => Lookup::Ended { ago: now.saturating_sub(ended) },
                None => Lookup::Found(()),
            }
        } else if self.replaced.is_some_and(|old| SecretHash::from_bytes(old) == *secret) {
            Lookup::Replaced { ago: now.saturating_sub(self.rotated) }
        } else {
            Lookup::NotFound
        }
    }

    pub(crate) fn load(&self, fields: Fields<'_>, now: Duration) -> Loaded {
        let asked = |name: &str| match fields {
            Fields::All => true,
            Fields::Named(names) => names.contains(&name),
        };
        let left = |deadline: Duration| deadline.saturating_sub(now);
        Loaded {
            meta: Meta {
                age: now.saturating_sub(self.created),
                secret_age: now.saturating_sub(self.rotated),
                idle: self.idle.map(left),
                absolute: self.absolute.map(left),
            },
            fields: (self.fields.iter())
                .filter(|(name, value)| asked(name) && value.is_live(now))
                .map(|(name, value)| Stored {
                    name: name.clone(),
                    value: Bytes::from(value.bytes.clone()),
                    ttl: value.expires.map(left),
                    hot: value.hot.to_hot(),
                })
                .collect(),
        }
    }

    pub(crate) fn update(&mut self, update: &Update<'_>, now: Duration) -> Updated {
        self.fields.retain(|_, value| value.is_live(now));
        if let Some(expect) = update.expect {
            let current = self.fields.get(expect.name).map(|value| value.bytes.as_slice());
            if current != expect.value.map(|value| &value[..]) {
                return Updated::Conflict { current: current.map(Bytes::copy_from_slice) };
            }
        }
        self.touch(update.touch, now);
        self.rotate(update.rotate, now);
        if let Some(Deadline { from_now, from_creation }) = update.absolute {
            let latest = from_creation.map(|ttl| self.created + ttl.as_duration());
            self.absolute = latest.into_iter().chain([now + from_now.as_duration()]).min();
        }
        let found = update.changes.iter().filter(|change| self.apply(change, now)).count();
        Updated::Applied { found }
    }

    pub(crate) fn take(&mut self, take: &Take<'_>, now: Duration) -> Option<Bytes> {
        self.touch(take.touch, now);
        self.rotate(take.rotate, now);
        let value = self.fields.remove(take.name).filter(|value| value.is_live(now))?;
        Some(value.bytes.into())
    }

    /// Counts a use, if it is time to, and says whether it was.
    pub(crate) fn touch(&mut self, touch: Option<Touch>, now: Duration) -> bool {
        let (Some(touch), Some(deadline)) = (touch, self.idle) else {
            return false;
        };
        let idle = touch.idle.as_duration();
        let due = idle.saturating_sub(deadline.saturating_sub(now)) >= touch.after;
        if due {
            self.idle = Some(now + idle);
        }
        due
    }

    fn rotate(&mut self, secret: Option<&SecretHash>, now: Duration) {
        if let Some(secret) = secret.filter(|secret| *secret.as_bytes() != self.secret) {
            self.replaced = Some(std::mem::replace(&mut self.secret, *secret.as_bytes()));
            self.rotated = now;
        }
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

    fn set(&mut self, put: &Put<'_>, now: Duration) {
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
    fn from_hot(hot: Hot) -> Self {
        match hot {
            Hot::Auto => Self::Auto,
            Hot::For(ttl) => Self::For(ttl.as_duration()),
            Hot::Never => Self::Never,
            Hot::Checked => Self::Checked,
        }
    }

    fn to_hot(&self) -> Hot {
        match self {
            Self::Auto => Hot::Auto,
            Self::For(time) => Ttl::new(*time).map_or(Hot::Never, Hot::For),
            Self::Never => Hot::Never,
            Self::Checked => Hot::Checked,
        }
    }
}
