//! The changes that a write makes in the cache ([`WriteSet`]), and the contents with which a read
//! fills an entry ([`fill_of`]).
//!
//! Used by writes and reads of the layered store. Sends nothing, and does not read the clock.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{
    cache_policy::CachePolicy,
    store::{
        AuthChange, CachedField, CachedRecord, Change, FieldWrite, InvalidationScope, Loaded,
        TakeField, Touch, Update,
    },
};

/// The parts of an entry that a write invalidates, and the known values of its fields after the
/// write.
#[derive(Default)]
pub(super) struct WriteSet<'a> {
    /// Whether the write invalidates the whole entry.
    all: bool,
    /// The invalidated fields, and their values after the write. `None` if the value is not known.
    fields: HashMap<&'a str, Option<CachedField<'a>>>,
    /// Whether the write invalidates the record.
    record: bool,
    touch: Option<Touch>,
}

impl<'a> WriteSet<'a> {
    /// Returns the write set of an update. The cache may serve the new values for at most
    /// `longest`.
    pub(super) fn update(update: &Update<'a>, longest: Duration) -> Self {
        let mut set = Self {
            // A sign-in invalidates the whole entry, because it may remove all fields of the former
            // principal.
            all: matches!(update.auth_change, Some(AuthChange::In { .. })),
            record: update.needs_current_secret(),
            touch: update.touch,
            ..Self::default()
        };
        for change in update.changes {
            let known = set.fields.entry(change.name()).or_default();
            *known = match change {
                Change::Set(write) => present(write, longest),
                Change::Remove(name) => Some(CachedField::new(name, None, longest)),
                Change::Expire(_, ttl) => known.map(|field| match field.value {
                    Some(_) => {
                        let life = life(field.cache_policy, longest);
                        limited(CachedField { life, ..field }, Some(ttl.as_duration()))
                    }
                    None => field,
                }),
            };
        }
        set
    }

    pub(super) fn take(take: &TakeField<'a>, longest: Duration) -> Self {
        Self {
            fields: HashMap::from([(take.name, Some(CachedField::new(take.name, None, longest)))]),
            record: take.needs_current_secret(),
            touch: take.touch,
            ..Self::default()
        }
    }

    pub(super) fn delete() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Returns the write set of a touch that is always due. Such a touch may move the idle deadline
    /// in either direction.
    pub(super) fn touch() -> Self {
        Self { record: true, ..Self::default() }
    }

    /// Returns the names of the invalidated fields.
    pub(super) fn names(&self) -> Vec<&'a str> {
        self.fields.keys().copied().collect()
    }

    pub(super) fn scope<'b>(&self, names: &'b [&'b str]) -> InvalidationScope<'b> {
        match self.all {
            true => InvalidationScope::All,
            false => InvalidationScope::Some { names, record: self.record, touch: self.touch },
        }
    }

    /// Returns the fields whose values are known after the write.
    pub(super) fn known_fields(&self) -> Vec<CachedField<'a>> {
        self.fields.values().flatten().copied().collect()
    }
}

/// Returns how long a cache may serve a field with this policy.
fn life(policy: CachePolicy, longest: Duration) -> Duration {
    match policy {
        CachePolicy::MaxAge(ttl) => ttl.as_duration().min(longest),
        CachePolicy::Default | CachePolicy::NoStore | CachePolicy::Revalidate => longest,
    }
}

/// Returns the field as it is after the write. `None` if a cache must not hold it.
fn present<'a>(write: &FieldWrite<'a>, longest: Duration) -> Option<CachedField<'a>> {
    let policy = write.cache_policy;
    let field = CachedField::new(write.name, Some(write.value), life(policy, longest));
    let ttl = write.ttl.map(|ttl| ttl.as_duration());
    (policy != CachePolicy::NoStore).then(|| limited(field.cache_policy(policy), ttl))
}

/// Sets the TTL of the field. The TTL also limits how long the cache serves the field.
fn limited(field: CachedField<'_>, ttl: Option<Duration>) -> CachedField<'_> {
    CachedField { ttl, life: ttl.map_or(field.life, |ttl| ttl.min(field.life)), ..field }
}

/// Returns the cache entry for an answer of the origin. `named` lists the requested fields. `None`
/// means that all fields were requested.
pub(super) fn fill_of<'a>(
    loaded: &'a Loaded,
    named: Option<&'a [String]>,
    longest: Duration,
) -> (CachedRecord, Vec<CachedField<'a>>) {
    // Subtracts a millisecond, because the origin may have rounded the remaining time up to a whole
    // millisecond.
    let exact = |left: Duration| left.saturating_sub(Duration::from_millis(1));
    let mut fields: Vec<CachedField<'a>> = (loaded.fields.iter())
        .filter(|stored| stored.cache_policy != CachePolicy::NoStore)
        .map(|stored| {
            let life = life(stored.cache_policy, longest);
            let field = CachedField::new(&stored.name, Some(&stored.value), life);
            limited(field.cache_policy(stored.cache_policy), stored.ttl.map(exact))
        })
        .collect();
    let meta = loaded.meta;
    let deadlines = [meta.idle_remaining, meta.absolute_remaining].into_iter().flatten();
    let life = deadlines.map(exact).fold(longest, Duration::min);
    let complete = match named {
        Some(names) => {
            let present: HashSet<&str> = loaded.fields.iter().map(|stored| &*stored.name).collect();
            let absent = names.iter().filter(|name| !present.contains(&***name));
            fields.extend(absent.map(|name| CachedField::new(name, None, longest)));
            None
        }
        None if fields.len() < loaded.fields.len() => None,
        None => Some(fields.iter().map(|field| field.life).fold(life, Duration::min)),
    };
    (CachedRecord::new(meta, life).complete(complete), fields)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ttl::Ttl;

    const LONGEST: Duration = Duration::from_secs(300);

    fn put<'a>(
        name: &'a str,
        value: &'a Bytes,
        ttl: Option<u64>,
        cache_policy: CachePolicy,
    ) -> Change<'a> {
        let write = FieldWrite::new(name, value).ttl(ttl.map(Ttl::from_secs));
        Change::Set(write.cache_policy(cache_policy))
    }

    /// Returns the known fields: the name, whether there is a value, the TTL, and the time for
    /// which the cache may serve the field. Times are in seconds.
    fn known(changes: &[Change<'_>]) -> Vec<(String, bool, Option<u64>, u64)> {
        let set = WriteSet::update(&Update::new(changes), LONGEST);
        let parts = |field: &CachedField<'_>| {
            let ttl = field.ttl.map(|ttl| ttl.as_secs());
            (field.name.to_owned(), field.value.is_some(), ttl, field.life.as_secs())
        };
        let mut known: Vec<_> = set.known_fields().iter().map(parts).collect();
        known.sort();
        known
    }

    #[test]
    fn the_last_change_of_a_field_counts() {
        let value = Bytes::from_static(b"1");
        let set = |name| put(name, &value, Some(60), CachePolicy::Default);
        let expire = |name, secs| Change::Expire(name, Ttl::from_secs(secs));
        let (a, absent) = ("a".to_owned(), |name: &str| (name.to_owned(), false, None, 300));
        assert_eq!(known(&[set("a")]), [(a.clone(), true, Some(60), 60)]);
        assert_eq!(known(&[set("a"), Change::Remove("a")]), [absent("a")]);
        assert_eq!(known(&[Change::Remove("a"), set("a")]), [(a.clone(), true, Some(60), 60)]);
        assert_eq!(known(&[Change::Remove("a"), expire("a", 5)]), [absent("a")]);
        assert_eq!(known(&[set("a"), expire("a", 5)]), [(a, true, Some(5), 5)]);
        assert_eq!(known(&[expire("a", 5)]), [], "the value should be unknown");
        assert_eq!(known(&[expire("a", 5), expire("a", 7)]), []);
    }

    #[test]
    fn policies_limit_the_life() {
        let value = Bytes::from_static(b"1");
        let lives = [
            (CachePolicy::Default, None, Some(300)),
            (CachePolicy::Default, Some(10), Some(10)),
            (CachePolicy::Revalidate, None, Some(300)),
            (CachePolicy::MaxAge(Ttl::from_secs(20)), None, Some(20)),
            (CachePolicy::MaxAge(Ttl::from_secs(20)), Some(10), Some(10)),
            (CachePolicy::MaxAge(Ttl::from_secs(3000)), None, Some(300)),
            (CachePolicy::NoStore, None, None),
        ];
        for (policy, ttl, life) in lives {
            let found = known(&[put("a", &value, ttl, policy)]).first().map(|field| field.3);
            assert_eq!(found, life, "{policy:?} {ttl:?}");
        }
    }

    #[test]
    fn no_store_after_a_value_leaves_nothing() {
        let value = Bytes::from_static(b"1");
        let changes = [
            put("a", &value, None, CachePolicy::Default),
            put("a", &value, None, CachePolicy::NoStore),
        ];
        assert_eq!(known(&changes), []);
        let then = [changes[1], Change::Expire("a", Ttl::from_secs(5))];
        assert_eq!(known(&then), []);
    }
}
