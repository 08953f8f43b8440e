//! Tests of two tiers on servers: forced interleavings, outages of either tier, and caches that
//! lose data, return with older data or hold foreign data.

mod crashes;
mod history;
mod interleavings;
mod outages;
mod soak;
mod stale_data;

use std::{ops::Deref, time::Duration};

use bytes::Bytes;
use ruts::store::{Loaded, Projection, Refused, Store};
use ruts_tests_stores::{servers::Postgres, tiers::Tiers};
use ruts_tests_support::{TestSession, wait_until};

fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// Reads a field several times, so that later reads can hit the cache. All reads must agree.
async fn read<S: Store>(session: &TestSession<S>, name: &str) -> Option<Bytes> {
    let first = session.get(name).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(session.get(name).await.unwrap(), first, "all reads should find the same value");
    }
    first
}

/// Reads one field with the metadata.
async fn load<S: Store>(session: &TestSession<S>, name: &str) -> Result<Loaded, Refused> {
    session.load_fields(Projection::Named(&[name]), None).await.unwrap()
}

async fn has_ended<S: Store>(session: &TestSession<S>) -> bool {
    matches!(load(session, "a").await, Err(Refused::Deleted { .. }))
}

/// Waits until the cache has received no command for 100 ms.
async fn wait_until_quiet<P: Deref<Target = Postgres>>(tiers: &Tiers<P>) {
    let calls = || tiers.redis.calls("evalsha");
    wait_until("no command is in flight", async || {
        let before = calls();
        tokio::time::sleep(Duration::from_millis(100)).await;
        before == calls()
    })
    .await;
}

/// The documentation of the layered store names the tests of its failure matrix.
#[test]
fn the_tests_that_the_documentation_names_exist() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let tests = [
        "tests/stores/tests/layered/crashes.rs",
        "tests/stores/tests/layered/interleavings.rs",
        "tests/stores/tests/layered/outages.rs",
        "tests/stores/tests/layered/soak.rs",
        "tests/stores/tests/layered/stale_data.rs",
        "tests/stores/src/backends.rs",
        "tests/http/conformance.rs",
    ]
    .map(read)
    .concat();
    let docs = read("ruts/src/store/layered/mod.rs");
    let notes = docs.split("//! 1. `").nth(1).unwrap().split("//! # ").next().unwrap();
    let named = notes.split('`').filter(|word| word.contains('_') && !word.contains('/'));
    let named: Vec<_> = named.filter(|word| !word.contains(char::is_whitespace)).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let exists =
            tests.contains(&format!("fn {name}(")) || tests.contains(&format!("mod {name} "));
        assert!(exists, "{name}");
    }
}
