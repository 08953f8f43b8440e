//! Serves the letter of this crate, with sessions in PostgreSQL 15 or later.
//!
//! ```sh
//! DATABASE_URL=postgres://postgres:postgres@localhost/postgres cargo run -p postgres-example
//! curl --cookie jar --cookie-jar jar http://localhost:3000/save --data recipient=Ada --location
//! curl --cookie jar --cookie-jar jar http://localhost:3000/save --data text=Hello --location
//! curl --cookie jar --cookie-jar jar http://localhost:3000/send --request POST
//! ```

use std::{env, error::Error, process::ExitCode};

use ruts::store::postgres::PostgresStoreBuilder;
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
    let url = env::var("DATABASE_URL").map_err(|_| "DATABASE_URL says where PostgreSQL is")?;
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy(&url);
    let pool = pool.map_err(|error| format!("DATABASE_URL: {error}"))?;
    // Makes the tables `letters` and `letters_fields` if they are not there.
    let store = PostgresStoreBuilder::new(pool.clone(), true).table_name("letters").build().await?;

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("write a letter at http://localhost:3000");
    axum::serve(listener, postgres_example::app(store))
        .with_graceful_shutdown(async {
            // If the signal cannot be listened for, the default of ending at once is fine.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    pool.close().await;
    Ok(())
}
