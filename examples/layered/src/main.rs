//! Serves the front-desk app of this example. Its sessions are in PostgreSQL, with Redis or Valkey
//! as a cache.
//!
//! ```sh
//! export REDIS_URL=redis://localhost:6379
//! export DATABASE_URL=postgres://postgres:postgres@localhost/postgres
//! cargo run -p layered-example
//! curl --cookie jar --cookie-jar jar http://localhost:3000/sign-in --data name=Ada
//! curl --cookie jar --cookie-jar jar http://localhost:3000/guest --request POST
//! curl --cookie jar --cookie-jar jar http://localhost:3000/safe --request POST
//! ```

use std::{env, error::Error, process::ExitCode, sync::Arc};

use fred::{clients::Pool, types::config::Config};
use ruts::store::{layered::LayeredStore, postgres::PostgresStore, redis::RedisStore};
use sqlx::postgres::PgPoolOptions;
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

async fn store() -> Result<LayeredStore<RedisStore<Pool>, PostgresStore>, Box<dyn Error>> {
    let url = env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?;
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy(&url);
    let pool = pool.map_err(|error| format!("DATABASE_URL: {error}"))?;
    let origin = PostgresStore::builder(pool).table_name("desks").create_tables(true);
    let origin = origin.build().await?;

    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let config = Config::from_url(&url).map_err(|error| format!("REDIS_URL: {error}"))?;
    let pool = Pool::new(config, None, None, None, 4)?;
    let cache = RedisStore::builder(Arc::new(pool)).prefix("desks").build();

    let store = LayeredStore::builder(cache, origin).build();
    // Checked now, so that the first request does not fail.
    store.check().await?;
    Ok(store)
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let app = layered_example::app(store().await?);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("the desk listens on http://localhost:3000");
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            // If the signal handler cannot be installed, the server stops immediately.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
