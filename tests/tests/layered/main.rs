//! What is particular to two tiers: interleavings that are forced, outages of either tier, caches that
//! forget, go back in time or lie.

mod crashes;
mod history;
mod interleavings;
mod lies;
mod outages;
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
