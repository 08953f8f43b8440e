//! Serves the echo of this crate, with sessions in Redis 7.4 or Valkey 9, or later. Start it twice,
//! on two ports: signing out at one instance ends the connections of the other.
//!
//! ```sh
//! REDIS_URL=redis://localhost:6379 cargo run -p websocket-example -- 3000
//! curl --cookie-jar jar http://localhost:3000/sign-in --data name=ada
//! ```

use std::{env, error::Error, sync::Arc};

use fred::{clients::Pool, types::config::Config};
use ruts::store::{
    notify::NotifyingStore,
    redis::{RedisChannel, RedisStore},
};
use tokio::net::TcpListener;

const NAME: &str = "talk";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let pool = Pool::new(Config::from_url(&url)?, None, None, None, 4)?;
    let store = RedisStore::builder(Arc::new(pool.clone())).prefix(NAME).build();
    store.check().await?;
    // Without notifications, it would take up to five seconds until another instance notices a
    // sign-out.
    let store = NotifyingStore::new(store, RedisChannel::new(pool, NAME));

    let port = env::args().nth(1).map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("talk to ws://localhost:{port}/talk");
    axum::serve(listener, websocket_example::app(store))
        .with_graceful_shutdown(async {
            // If the signal handler cannot be installed, the server stops immediately.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
