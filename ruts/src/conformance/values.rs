//! Checks of values: a read returns the bytes, TTL and cache policy that were written.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::{array, time::Duration};

use bytes::Bytes;

use super::{
    client::{
        Client, Refusal, applied, bytes, fresh, new_client, session, session_with_deadlines, ttl,
    },
    subject::Subject,
};
use crate::{
    cache_policy::CachePolicy,
    store::{Change, FieldWrite, Projection, Store, StoreError, StoreErrorKind, Update},
    token::SessionId,
    ttl::Ttl,
};

/// Every client finds a created session with its fields.
pub async fn a_created_session_is_found(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2")]).await;
    client.holds(&[("a", "1"), ("b", "2")]).await;
    client.through(subject).holds(&[("a", "1"), ("b", "2")]).await;
    session(subject, &[]).await.holds(&[]).await;
}

/// Two ids that differ in any bit belong to different sessions.
pub async fn ids_differ_by_any_bit(subject: &impl Subject) {
    let base = *new_client(subject).id.as_bytes();
    let flips = (0..base.len()).flat_map(|byte| [0, 5, 7].map(|bit| (byte, bit)));
    let mut ids: Vec<_> = flips
        .map(|(byte, bit)| {
            let mut id = base;
            id[byte] ^= 1 << bit;
            id
        })
        .collect();
    // In base64, the second of these ids is `AAAA…` and the third is `aaaa…`.
    let lower_case = array::from_fn(|at| [0x69, 0xa6, 0x9a][at % 3]);
    ids.extend([base, [0; 16], lower_case, [0xff; 16], [b' '; 16]]);
    let mut clients = Vec::new();
    for id in ids {
        let client = Client { id: SessionId::from_bytes(id), ..new_client(subject) };
        let (name, value) = (client.id.to_string(), bytes("1"));
        let created = client.create(None, None, &[FieldWrite::new(&name, &value)]).await;
        created.expect("no session should have this id yet");
        clients.push((client, name));
    }
    for (client, name) in &clients {
        client.holds(&[(name, "1")]).await;
    }
    let (ended, _) = clients.remove(0);
    ended.delete().await.expect("the session should be live");
    for (client, name) in &clients {
        client.through(subject).holds(&[(name, "1")]).await;
    }
}

/// A value may be any bytes: empty, long, or not text.
pub async fn any_bytes_survive(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let all: Vec<u8> = (0..=255).collect();
    let special = b"\r\n$5\r\n'\";--".to_vec();
    let long = [u16::MAX as usize, 1 << 16, 1 << 20].map(|length| vec![0xa5; length]);
    for value in [vec![], vec![0], b" 1 \0".to_vec(), all, special].into_iter().chain(long) {
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

/// A value of more than 1 MiB is stored as a whole, or refused with [`StoreErrorKind::Full`]. A
/// refused write changes nothing.
pub async fn a_very_long_value_is_whole_or_refused(subject: &impl Subject) {
    // The second length is beyond three bytes, with which some databases count.
    for length in [(1 << 20) + 1, (1 << 24) + 1] {
        let mut value = vec![b'x'; length];
        value[length - 1] = b'y';
        let value = Bytes::from(value);
        let stores = |answer: Result<(), StoreError>| match answer {
            Ok(()) => true,
            Err(error) if error.kind() == StoreErrorKind::Full => false,
            Err(error) => panic!("{length} bytes should be stored or be too many, not {error:?}"),
        };
        let former = bytes("former");
        let client = session(subject, &[("field", "former")]).await;
        let set = [Change::Set(FieldWrite::new("field", &value))];
        let answer = client.store.update(client.credentials(), Update::new(&set)).await;
        let is_stored = stores(answer.map(|updated| assert_eq!(fresh(updated), applied(0))));
        let expected = if is_stored { &value } else { &former };
        for fields in [Projection::All, Projection::Named(&["field"])] {
            let loaded = client.through(subject).load_live(fields, None).await;
            let found = &loaded.fields[0].value;
            assert!(found == expected, "{length} bytes became {} bytes", found.len());
        }
        let taken = client.take("field").await;
        assert!(taken == Ok(Some(expected.clone())), "{length} bytes should be taken unchanged");

        let client = new_client(subject);
        if stores(client.create(None, None, &[FieldWrite::new("field", &value)]).await) {
            let loaded = client.load_live(Projection::All, None).await;
            assert!(loaded.fields[0].value == value, "a creation should not cut {length} bytes");
        } else {
            client.is_refused(Refusal::NotFound).await;
        }
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

/// Two names that differ in any byte belong to different fields. No database may compare them by
/// the rules of a language, without spaces at their end, or only by their first bytes.
pub async fn names_differ_by_any_byte(subject: &impl Subject) {
    let case = [
        "cart", "Cart", "CART", "ß", "ss", "ẞ", "ς", "σ", "Σ", "ı", "i", "I", "İ", "k", "\u{212a}",
    ];
    let accents = ["größe", "grösse", "grosse", "e", "é", "e\u{301}", "fi", "ﬁ", "ａ", "²", "2"];
    let invisible = [
        "a", "a ", "a  ", " a", " ", "\t", "a\t", "a\n", "a\r\n", "a\u{a0}", "a\u{ad}", "a\u{1}",
        "\u{200b}", "\u{feff}",
    ];
    let numbers = ["0", "-0", "00", "0.0", "1", "1.0", "1e0", "+1", "0x1", "null", "NULL", "true"];
    let patterns = [
        "%", "_", "*", "?", "[a]", "{a}", "$a", "-a", "a,b", "a.b", "a:b", "/", "..", "\\", "\\\\",
        "\\n", "a\\b", "'", "''", "\"a\"", "🦀", "🦞",
    ];
    let longest = ["a", "b", "é", "ê"].map(|end| "n".repeat(128 - end.len()) + end);
    let mut names = [&case[..], &accents, &invisible, &numbers, &patterns].concat();
    names.extend(longest.iter().map(String::as_str));
    names.sort_unstable();
    let values: Vec<_> = names.iter().map(|name| bytes(name)).collect();
    let write = |(name, value)| FieldWrite::new(name, value);
    let writes: Vec<_> = names.iter().copied().zip(&values).map(write).collect();
    let fields: Vec<_> = names.iter().map(|&name| (name, name)).collect();
    let created = new_client(subject);
    created.create(None, None, &writes).await.expect("a new session should be possible");
    created.holds(&fields).await;
    let client = session(subject, &[]).await;
    for &(name, value) in &fields {
        assert_eq!(client.set_if(name, None, value).await, applied(0), "{name:?}");
    }
    client.holds(&fields).await;
    for (at, name) in names.iter().enumerate() {
        assert_eq!(client.get(name).await.as_deref(), Some(*name));
        if at % 2 == 0 {
            assert_eq!(client.remove(name).await, applied(1), "{name:?}");
        } else {
            assert_eq!(client.take(name).await, Ok(Some(bytes(name))));
        }
    }
    client.holds(&[]).await;
}

/// Many fields can be written by one creation or update, and read at once.
pub async fn many_fields_are_written_and_read_at_once(subject: &impl Subject) {
    const MANY: usize = 300;
    let names: Vec<_> = (0..MANY).map(|field| format!("field{field:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let values: Vec<_> = names.iter().map(|name| bytes(name)).collect();
    let write = |(name, value)| FieldWrite::new(name, value);
    let writes: Vec<_> = names.iter().copied().zip(&values).map(write).collect();
    let fields: Vec<_> = names.iter().map(|&name| (name, name)).collect();

    let created = new_client(subject);
    created.create(None, None, &writes).await.expect("a new session should be possible");
    let updated = session(subject, &[]).await;
    let sets: Vec<_> = writes.into_iter().map(Change::Set).collect();
    assert_eq!(updated.change(&sets).await, applied(0));
    for client in [&created, &updated] {
        client.holds(&fields).await;
        let loaded = client.load_live(Projection::Named(&names), None).await;
        let mut found: Vec<_> = loaded.fields.iter().map(|field| &*field.name).collect();
        found.sort_unstable();
        assert_eq!(found, names);
    }
    let expiries: Vec<_> =
        names.iter().map(|name| Change::Expire(name, Ttl::from_secs(3600))).collect();
    assert_eq!(updated.change(&expiries).await, applied(MANY));
    let removals: Vec<_> = names.iter().map(|name| Change::Remove(name)).collect();
    assert_eq!(updated.change(&removals).await, applied(MANY));
    updated.holds(&[]).await;
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

/// Every cache policy. The longest age is [`Ttl::MAX`].
const POLICIES: [CachePolicy; 6] = [
    CachePolicy::Default,
    CachePolicy::MaxAge(Ttl::from_millis(1)),
    CachePolicy::MaxAge(Ttl::from_secs(60)),
    CachePolicy::MaxAge(Ttl::MAX),
    CachePolicy::NoStore,
    CachePolicy::Revalidate,
];

/// A read returns the cache policy that was written with the value.
pub async fn cache_policies_are_kept(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let value = bytes("1");
    for policy in POLICIES {
        let write = FieldWrite::new("a", &value).ttl(ttl(Duration::from_secs(3600)));
        let set = [Change::Set(write.cache_policy(policy))];
        client.change(&set).await.expect("the session should be live");
        let loaded = client.load_live(Projection::All, None).await;
        assert_eq!(loaded.fields[0].cache_policy, policy);
    }
}

/// A creation writes the cache policy and the TTL of each field, as an update does.
pub async fn a_creation_keeps_cache_policies_and_ttls(subject: &impl Subject) {
    let unit = subject.unit();
    let value = bytes("1");
    let lifetimes = [None, ttl(unit * 100), ttl(unit)];
    let cases = POLICIES.into_iter().flat_map(|policy| lifetimes.map(|ttl| (policy, ttl)));
    let cases: Vec<_> = (0..).zip(cases).map(|(field, case)| (format!("f{field}"), case)).collect();
    let writes: Vec<_> = (cases.iter())
        .map(|(name, (policy, ttl))| FieldWrite::new(name, &value).ttl(*ttl).cache_policy(*policy))
        .collect();
    let client = new_client(subject);
    client.create(None, None, &writes).await.expect("a new session should be possible");
    for passed in [0, 2] {
        subject.pass(unit * passed).await;
        let loaded = client.load_live(Projection::All, None).await;
        for (name, (policy, ttl)) in &cases {
            let found = loaded.fields.iter().find(|field| *field.name == **name);
            let is_live = ttl.is_none_or(|ttl| ttl.as_duration() > unit * passed);
            assert_eq!(found.is_some(), is_live, "{policy:?} {ttl:?}");
            let Some(found) = found else { continue };
            assert_eq!(found.cache_policy, *policy);
            assert_eq!(found.ttl.is_some(), ttl.is_some(), "{policy:?} {ttl:?}");
        }
    }
}
