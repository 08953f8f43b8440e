//! The same app on each stack.
//!
//! | path | does |
//! | --- | --- |
//! | `/begin` | writes five fields of 16 bytes |
//! | `/read1`, `/read5`, `/write1`, `/write5` | that many of them |
//! | `/increment` | reads a number and writes the next one |
//! | `/login` | writes who is signed in, with a new token |
//! | `/fat` | writes 16 fields of 1 KiB and one of 16 bytes; `/thin/read`, `/thin/write` that one |
//! | `/set/{n}` | writes the field `n`; `/fields` says how many of 64 there are |
//! | `/number` | the number |
//! | `/slow` | reads who is signed in, waits, and writes; `/out` ends the session; `/who` says whether somebody is |

pub(crate) mod ours;
pub(crate) mod tower_sessions;
pub(crate) mod upstream;

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use axum::Router;
use fred::{clients::Pool, interfaces::ClientLike, types::config::Config};
use tokio::sync::Notify;

pub(crate) const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// 16 bytes that were not written before: what has not changed, some stacks do not write.
pub(crate) fn small() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) static LARGE: LazyLock<String> = LazyLock::new(|| "x".repeat(1024));

/// Where a slow request stops, and what lets it go on.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) reached: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

impl Gate {
    pub(crate) async fn pass(&self) {
        self.reached.notify_one();
        self.go_on.notified().await;
    }
}

/// An app on a stack of its own.
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) app: Router,
    pub(crate) gate: Gate,
}

/// The same number of connections for each.
pub(crate) async fn pool(url: &str, connections: usize) -> Pool {
    let config = Config::from_url(url).expect("the address of a server");
    let pool = Pool::new(config, None, None, None, connections).expect("a pool");
    pool.init().await.expect("the server is there");
    pool
}

/// All of them, each with its own connections to the server at `url`.
pub(crate) async fn all(url: &str, connections: usize) -> Vec<Stack> {
    vec![
        ours::stack(url, connections).await,
        upstream::stack(url, connections).await,
        tower_sessions::stack(url, connections).await,
    ]
}
