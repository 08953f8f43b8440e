//! Checks of values: a read returns the bytes, TTL and cache policy that were written.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::time::Duration;

use bytes::Bytes;

use super::{
    client::{Refusal, applied, bytes, session, session_with_deadlines, ttl},
    subject::Subject,
};
use crate::{
    cache_policy::CachePolicy,
    store::{Change, FieldWrite, Projection, Store},
    ttl::Ttl,
};

/// Every client finds a created session with its fields.
pub async fn a_created_session_is_found(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2")]).await;
    client.holds(&[("a", "1"), ("b", "2")]).await;
    client.through(subject).holds(&[("a", "1"), ("b", "2")]).await;
    session(subject, &[]).await.holds(&[]).await;
}

/// A value may be any bytes: empty, long, or not text.
pub async fn any_bytes_survive(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let all: Vec<u8> = (0..=255).collect();
    for value in [vec![], vec![0], all, b"\r\n$5\r\n'\";--".to_vec(), vec![0xa5; 1 << 20]] {
        let value = Bytes::from(value);
        let set = [Change::Set(FieldWrite::new("field", &value))];
        assert_eq!(client.change(&set).await, applied(0));
        let loaded = client.load_live(Projection::Named(&["field"]), None).await;
        assert!(
            loaded.fields[0].value == value,
            "{} bytes should come back unchanged",
            value.len()
        );
        let Ok(Some(taken)) = client.take("field").await else {
            panic!("the field should be present");
        };
        assert!(taken == value, "{} bytes should be taken unchanged", value.len());
    }
}

/// A name is any text of 1 to 128 bytes that has no zero byte and does not begin with `~`.
pub async fn any_name_survives(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let long = "n".repeat(128);
    let names =
        ["x", "shop.cart", "with space", "a:b{c}", "'quote\"", "größe", "a~b", "\u{1}", &long];
    for name in names {
        assert_eq!(client.set(name, name).await, applied(0));
    }
    for name in names {
        assert_eq!(client.get(name).await.as_deref(), Some(name));
    }
    assert_eq!(client.fields().await.map(|fields| fields.len()), Some(names.len()));
}

/// A read by name returns the fields that have these names, and no others.
pub async fn only_the_named_fields_are_read(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let loaded = client.load_live(Projection::Named(&["c", "nothing", "a"]), None).await;
    let mut names: Vec<_> = loaded.fields.into_iter().map(|field| field.name).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    let loaded = client.load_live(Projection::Named(&[]), None).await;
    assert_eq!(loaded.fields, []);
}

/// `delete_expired` frees expired sessions and no others, and not more of them than its limit.
pub async fn delete_expired_frees_only_expired_sessions(subject: &impl Subject) {
    let unit = subject.unit();
    let fields = &[("a", "1")];
    let mut expired = Vec::new();
    for _ in 0..3 {
        expired.push(session_with_deadlines(subject, ttl(unit), None, fields).await);
    }
    let live = session_with_deadlines(subject, ttl(unit * 100), ttl(unit * 100), fields).await;
    let without_deadlines = session(subject, fields).await;
    subject.pass(unit * 2).await;
    let delete_expired = async |limit| {
        let freed = live.store.delete_expired(limit).await.expect("the store should answer");
        assert!(freed <= limit, "at most {limit} sessions should be freed, not {freed}");
        freed
    };
    delete_expired(1).await;
    while delete_expired(100).await > 0 {}
    for client in expired {
        client.is_refused(Refusal::NotFound).await;
    }
    live.holds(fields).await;
    without_deadlines.holds(fields).await;
}

/// A read returns the cache policy that was written with the value.
pub async fn cache_policies_are_kept(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let value = bytes("1");
    for policy in [
        CachePolicy::Default,
        CachePolicy::MaxAge(Ttl::from_secs(60)),
        CachePolicy::NoStore,
        CachePolicy::Revalidate,
    ] {
        let write = FieldWrite::new("a", &value).ttl(ttl(Duration::from_secs(3600)));
        let set = [Change::Set(write.cache_policy(policy))];
        client.change(&set).await.expect("the session should be live");
        let loaded = client.load_live(Projection::All, None).await;
        assert_eq!(loaded.fields[0].cache_policy, policy);
    }
}
