//! What is particular to two tiers: interleavings that are forced, outages of either tier, caches that
//! forget, go back in time or lie.

mod crashes;
mod history;
mod interleavings;
mod lies;
mod outages;
mod revocations;
mod soak;

use std::time::Duration;

use bytes::Bytes;
use ruts::store::{Lookup, Store, Updated};
use ruts_tests::Visitor;

const APPLIED: Lookup<Updated> = Lookup::Found(Updated::Applied { found: 0 });

fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// Reads so often that the last time the cache would answer.
async fn reads<S: Store>(visitor: &Visitor<S>, name: &str) -> Option<Bytes> {
    let first = visitor.get(name).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(visitor.get(name).await.unwrap(), first, "the cache says something else");
    }
    first
}

/// The failure matrix is as good as the tests that it names.
#[test]
fn the_tests_that_the_documentation_names_are_there() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let tests = [
        "tests/tests/layered/crashes.rs",
        "tests/tests/layered/interleavings.rs",
        "tests/tests/layered/lies.rs",
        "tests/tests/layered/outages.rs",
        "tests/tests/layered/soak.rs",
        "tests/src/backends.rs",
        "ruts/tests/conformance.rs",
    ]
    .map(read)
    .concat();
    let docs = read("ruts/src/store/layered/mod.rs");
    let notes = docs.split("//! 1. `").nth(1).unwrap().split("//! # ").next().unwrap();
    let named = notes.split('`').filter(|word| word.contains('_') && !word.contains('/'));
    let named: Vec<_> = named.filter(|word| !word.contains(char::is_whitespace)).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let is_there =
            tests.contains(&format!("fn {name}(")) || tests.contains(&format!("mod {name} "));
        assert!(is_there, "{name}");
    }
}
