use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{
    store::{
        CachedField, CachedRecord, Change, FieldWrite, InvalidationScope, Loaded, TakeField, Touch,
        Update,
    },
    ttl::CachePolicy,
};

/// What a write makes unknown to the cache, and what is known once it is done.
#[derive(Default)]
pub(super) struct Plan<'a> {
    /// The whole entry.
    all: bool,
    /// These fields, and what is known of each afterwards.
    fields: HashMap<&'a str, Option<CachedField<'a>>>,
    /// The session's own record.
    record: bool,
    touch: Option<Touch>,
}

impl<'a> Plan<'a> {
    pub(super) fn update(update: &Update<'a>, longest: Duration) -> Self {
        let mut plan = Self {
            record: update.rotate.is_some()
                || update.renew.is_some()
                || update.absolute.is_some()
                || update.sign.is_some(),
            touch: update.touch,
            ..Self::default()
        };
        for change in update.changes {
            let known = plan.fields.entry(change.name()).or_default();
            *known = match change {
                Change::Set(put) => present(put, longest),
                Change::Remove(name) => Some(absent(name, longest)),
                Change::Expire(_, ttl) => known.map(|item| match item.value {
                    Some(_) => {
                        let item = CachedField { life: life(item.hot, longest), ..item };
                        bounded(item, Some(ttl.as_duration()))
                    }
                    None => item,
                }),
            };
        }
        plan
    }

    pub(super) fn take(take: &TakeField<'a>, longest: Duration) -> Self {
        Self {
            fields: HashMap::from([(take.name, Some(absent(take.name, longest)))]),
            record: take.rotate.is_some() || take.sign_out,
            touch: take.touch,
            ..Self::default()
        }
    }

    pub(super) fn delete() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// A use that may move the idle deadline to either side.
    pub(super) fn touch() -> Self {
        Self { record: true, ..Self::default() }
    }

    /// The fields that become unknown.
    pub(super) fn names(&self) -> Vec<&'a str> {
        self.fields.keys().copied().collect()
    }

    pub(super) fn scope<'b>(&self, names: &'b [&'b str]) -> InvalidationScope<'b> {
        match self.all {
            true => InvalidationScope::All,
            false => InvalidationScope::Some { names, record: self.record, touch: self.touch },
        }
    }

    pub(super) fn items(&self) -> Vec<CachedField<'a>> {
        self.fields.values().flatten().copied().collect()
    }
}

/// How long a field of that policy may be served from the cache.
fn life(hot: CachePolicy, longest: Duration) -> Duration {
    match hot {
        CachePolicy::For(ttl) => ttl.as_duration().min(longest),
        CachePolicy::Auto | CachePolicy::Never | CachePolicy::Checked => longest,
    }
}

fn absent(name: &str, longest: Duration) -> CachedField<'_> {
    CachedField { name, value: None, ttl: None, hot: CachePolicy::Auto, life: longest }
}

fn present<'a>(put: &FieldWrite<'a>, longest: Duration) -> Option<CachedField<'a>> {
    let FieldWrite { name, value, hot, .. } = *put;
    let item = CachedField { name, value: Some(value), ttl: None, hot, life: life(hot, longest) };
    let ttl = put.ttl.map(|ttl| ttl.as_duration());
    (hot != CachePolicy::Never).then(|| bounded(item, ttl))
}

/// The item with another lifetime of its own.
fn bounded(item: CachedField<'_>, ttl: Option<Duration>) -> CachedField<'_> {
    CachedField { ttl, life: ttl.map_or(item.life, |ttl| ttl.min(item.life)), ..item }
}

/// What a read of the store of record says about the fields that it named, or about all.
pub(super) fn filling<'a>(
    loaded: &'a Loaded,
    named: Option<&'a [String]>,
    longest: Duration,
) -> (CachedRecord, Vec<CachedField<'a>>) {
    // A part of a millisecond may have been rounded up.
    let exact = |left: Duration| left.saturating_sub(Duration::from_millis(1));
    let mut items: Vec<CachedField<'a>> = Vec::new();
    for stored in loaded.fields.iter().filter(|stored| stored.hot != CachePolicy::Never) {
        let life = life(stored.hot, longest);
        let (name, value) = (&*stored.name, Some(&stored.value));
        items.push(bounded(
            CachedField { name, value, ttl: None, hot: stored.hot, life },
            stored.ttl.map(exact),
        ));
    }
    let meta = loaded.meta;
    let left = [meta.idle, meta.absolute].into_iter().flatten();
    let life = left.map(exact).fold(longest, Duration::min);
    let complete = match named {
        Some(names) => {
            let there: HashSet<&str> = loaded.fields.iter().map(|stored| &*stored.name).collect();
            let missing = names.iter().filter(|name| !there.contains(&***name));
            items.extend(missing.map(|name| absent(name, longest)));
            None
        }
        None if items.len() < loaded.fields.len() => None,
        None => Some(items.iter().map(|item| item.life).fold(life, Duration::min)),
    };
    (CachedRecord { meta, life, complete }, items)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ttl::Ttl;

    const LONGEST: Duration = Duration::from_secs(300);

    fn put<'a>(name: &'a str, value: &'a Bytes, ttl: Option<u64>, hot: CachePolicy) -> Change<'a> {
        Change::Set(FieldWrite { name, value, ttl: ttl.map(Ttl::from_secs), hot })
    }

    /// Name, whether there is a value, own lifetime and life, in seconds.
    fn items(changes: &[Change<'_>]) -> Vec<(String, bool, Option<u64>, u64)> {
        let update = Update { changes, ..Update::default() };
        let plan = Plan::update(&update, LONGEST);
        let told = |item: &CachedField<'_>| {
            let ttl = item.ttl.map(|ttl| ttl.as_secs());
            (item.name.to_owned(), item.value.is_some(), ttl, item.life.as_secs())
        };
        let mut items: Vec<_> = plan.items().iter().map(told).collect();
        items.sort();
        items
    }

    #[test]
    fn the_last_change_of_a_field_counts() {
        let value = Bytes::from_static(b"1");
        let set = |name| put(name, &value, Some(60), CachePolicy::Auto);
        let expire = |name, secs| Change::Expire(name, Ttl::from_secs(secs));
        let (a, absent) = ("a".to_owned(), |name: &str| (name.to_owned(), false, None, 300));
        assert_eq!(items(&[set("a")]), [(a.clone(), true, Some(60), 60)]);
        assert_eq!(items(&[set("a"), Change::Remove("a")]), [absent("a")]);
        assert_eq!(items(&[Change::Remove("a"), set("a")]), [(a.clone(), true, Some(60), 60)]);
        assert_eq!(items(&[Change::Remove("a"), expire("a", 5)]), [absent("a")]);
        assert_eq!(items(&[set("a"), expire("a", 5)]), [(a, true, Some(5), 5)]);
        assert_eq!(items(&[expire("a", 5)]), [], "its value is not known");
        assert_eq!(items(&[expire("a", 5), expire("a", 7)]), []);
    }

    #[test]
    fn policies_bound_the_life() {
        let value = Bytes::from_static(b"1");
        let lives = [
            (CachePolicy::Auto, None, Some(300)),
            (CachePolicy::Auto, Some(10), Some(10)),
            (CachePolicy::Checked, None, Some(300)),
            (CachePolicy::For(Ttl::from_secs(20)), None, Some(20)),
            (CachePolicy::For(Ttl::from_secs(20)), Some(10), Some(10)),
            (CachePolicy::For(Ttl::from_secs(3000)), None, Some(300)),
            (CachePolicy::Never, None, None),
        ];
        for (hot, ttl, life) in lives {
            let found = items(&[put("a", &value, ttl, hot)]).first().map(|item| item.3);
            assert_eq!(found, life, "{hot:?} {ttl:?}");
        }
    }

    #[test]
    fn never_after_a_value_leaves_nothing() {
        let value = Bytes::from_static(b"1");
        let changes =
            [put("a", &value, None, CachePolicy::Auto), put("a", &value, None, CachePolicy::Never)];
        assert_eq!(items(&changes), []);
        let then = [changes[1], Change::Expire("a", Ttl::from_secs(5))];
        assert_eq!(items(&then), []);
    }
}
