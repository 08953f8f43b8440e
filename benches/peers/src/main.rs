//! What a session costs on Redis, here and with its peers: commands, round trips and bytes, exact, at the
//! server; what becomes of writes that race; and throughput as a share of what the bare driver does. All
//! in one run, taking turns.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```

mod client;
mod counts;
mod races;
mod stacks;
mod throughput;

use ruts_tests::servers::{Flavour, Redis};

#[tokio::main]
async fn main() {
    let server = Redis::start(Flavour::Redis, &[]);
    println!("## On the wire\n");
    counts::print(&server).await;
    println!("\n## Races\n");
    races::print(&server).await;
    println!("\n## Throughput\n");
    throughput::print(&server).await;
}
