//! Serves the app of this crate, a door, with sessions in Redis 7.4, Valkey 9, or a later version.
//!
//! ```sh
//! REDIS_URL=redis://localhost:6379 cargo run -p redis-example
//! curl --cookie jar --cookie-jar jar http://localhost:3000
//! curl --cookie jar --cookie-jar jar http://localhost:3000/knock --request POST
//! ```

use std::{env, error::Error, process::ExitCode, sync::Arc};

use fred::{clients::Pool, types::config::Config};
use ruts::store::redis::RedisStore;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().init();
    let Err(error) = serve().await else { return ExitCode::SUCCESS };
    let mut cause: Option<&dyn Error> = Some(&*error);
    while let Some(error) = cause {
        eprintln!("{error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let config = Config::from_url(&url).map_err(|error| format!("REDIS_URL: {error}"))?;
    let pool = Pool::new(config, None, None, None, 4)?;
    let store = RedisStore::builder(Arc::new(pool)).prefix("door").build();
    // Checked now, so that the first request does not fail.
    store.check().await?;

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("the door listens on http://localhost:3000");
    axum::serve(listener, redis_example::app(store))
        .with_graceful_shutdown(async {
            // If the signal handler cannot be installed, the server stops immediately.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
