//! Serves the letter of this crate, with sessions in PostgreSQL 15 or later.
//!
//! ```sh
//! DATABASE_URL=postgres://postgres:postgres@localhost/postgres cargo run -p postgres-example
//! curl --cookie jar --cookie-jar jar http://localhost:3000/save --data recipient=Ada --location
//! curl --cookie jar --cookie-jar jar http://localhost:3000/save --data text=Hello --location
//! curl --cookie jar --cookie-jar jar http://localhost:3000/send --request POST
//! ```

use std::{env, error::Error, process::ExitCode};

use ruts::store::postgres::PostgresStore;
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

async fn serve() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?;
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy(&url);
    let pool = pool.map_err(|error| format!("DATABASE_URL: {error}"))?;
    // Creates the tables `letters` and `letters_fields` if they do not exist.
    let store = PostgresStore::builder(pool.clone()).table_name("letters").create_tables(true);
    let store = store.build().await?;

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("the letter listens on http://localhost:3000");
    axum::serve(listener, postgres_example::app(store))
        .with_graceful_shutdown(async {
            // If the signal handler cannot be installed, the server stops immediately.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    pool.close().await;
    Ok(())
}
