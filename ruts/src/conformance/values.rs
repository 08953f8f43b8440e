//! What is written is what is read.

use std::time::Duration;

use bytes::Bytes;

use super::{Subject, client::*};
use crate::{
    store::{Change, FieldWrite, Lookup, Projection, Store},
    ttl::{CachePolicy, Ttl},
};

/// A session is found with the fields it was created with, by every client.
pub async fn a_created_session_is_found(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2")]).await;
    client.holds(&[("a", "1"), ("b", "2")]).await;
    client.through(subject).holds(&[("a", "1"), ("b", "2")]).await;
    session(subject, &[]).await.holds(&[]).await;
}

/// Values are bytes: empty, long, and of no encoding at all.
pub async fn any_bytes_survive(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let all: Vec<u8> = (0..=255).collect();
    for value in [vec![], vec![0], all, b"\r\n$5\r\n'\";--".to_vec(), vec![0xa5; 1 << 20]] {
        let value = Bytes::from(value);
        assert_eq!(client.change(&[Change::Set(put("field", &value))]).await, applied(0));
        let Lookup::Found(loaded) = client.load(Projection::Named(&["field"]), None).await else {
            panic!("the session is gone");
        };
        assert!(loaded.fields[0].value == value, "{} bytes came back changed", value.len());
        let Lookup::Found(Some(taken)) = client.take("field").await else {
            panic!("the field is gone");
        };
        assert!(taken == value, "{} bytes were taken changed", value.len());
    }
}

/// Names are any text of 1 to 128 bytes without a zero byte that does not begin with `~`.
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

/// A read by name yields those fields that are there, and no others.
pub async fn only_the_named_fields_are_read(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let Lookup::Found(loaded) = client.load(Projection::Named(&["c", "nothing", "a"]), None).await
    else {
        panic!("the session is gone");
    };
    let mut names: Vec<_> = loaded.fields.into_iter().map(|field| field.name).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    let Lookup::Found(loaded) = client.load(Projection::Named(&[]), None).await else {
        panic!("the session is gone");
    };
    assert_eq!(loaded.fields, []);
}

/// Sweeping frees expired sessions and touches no other.
pub async fn sweeping_frees_only_what_ended(subject: &impl Subject) {
    let unit = subject.unit();
    let ended = session_for(subject, ttl(unit), None, &[("a", "1")]).await;
    let live = session_for(subject, ttl(unit * 100), ttl(unit * 100), &[("a", "1")]).await;
    let endless = session(subject, &[("a", "1")]).await;
    subject.pass(unit * 2).await;
    while live.store.delete_expired(100).await.expect("the store answers") > 0 {}
    ended.is_refused(Refused::NotFound).await;
    live.holds(&[("a", "1")]).await;
    endless.holds(&[("a", "1")]).await;
}

/// A field's place in the cache tier comes back with its value.
pub async fn hot_policies_are_kept(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let value = bytes("1");
    for hot in [
        CachePolicy::Auto,
        CachePolicy::For(Ttl::from_secs(60)),
        CachePolicy::Never,
        CachePolicy::Checked,
    ] {
        let ttl = ttl(Duration::from_secs(3600));
        client.change(&[Change::Set(FieldWrite { name: "a", value: &value, ttl, hot })]).await;
        let Lookup::Found(loaded) = client.load(Projection::All, None).await else {
            panic!("the session is gone");
        };
        assert_eq!(loaded.fields[0].hot, hot);
    }
}
