//! [`run`]: serves an instance of a release.

use std::{env, error::Error, io, process::ExitCode};

use axum::Router;
use ruts::{SessionLayer, store::sqlite::SqliteStore};
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

/// Serves an application on a free port, with sessions in the file that the first argument names.
/// Prints the port, and logs errors to standard error.
pub fn run(app: fn(SessionLayer) -> Router) -> ExitCode {
    match serve(app) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(app: fn(SessionLayer) -> Router) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::ERROR)
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    let file = env::args().nth(1).ok_or("the first argument is the file with the sessions")?;
    let store = SqliteStore::builder(file).build().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    axum::serve(listener, app(SessionLayer::new(store).development())).await?;
    Ok(())
}
