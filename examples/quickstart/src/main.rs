//! A small shop with sessions in a file. It has a visit counter, a sign-in, a sign-out, a cart and
//! a flash message.
//!
//! ```sh
//! cargo run -p quickstart
//! ```
//!
//! The cart survives a restart of the program. `session.rs` declares the session, `handlers.rs`
//! uses it, `page.rs` renders the HTML.

mod handlers;
mod page;
mod session;

use std::{env, error::Error, process::ExitCode};

use axum::{
    Router,
    routing::{get, post},
};
use ruts::{
    SessionLayer,
    store::{memory::MemoryStore, sqlite::SqliteStore},
};
use tokio::net::TcpListener;

const HELP: &str = "\
Serves a small shop.

usage: quickstart [--store STORE] [--listen ADDRESS]

  --store STORE      sqlite:FILE, or memory (default: sqlite:sessions.db)
  --listen ADDRESS   a loopback address and port (default: 127.0.0.1:3000)
";

/// Returns the layer for the routes. To use another store, add a line here.
async fn sessions(store: &str) -> Result<SessionLayer, Box<dyn Error>> {
    let layer = match store.split_once(':') {
        Some(("sqlite", file)) => SessionLayer::new(SqliteStore::builder(file).build().await?),
        None if store == "memory" => SessionLayer::new(MemoryStore::new()),
        _ => return Err(format!("unknown store `{store}`\n\n{HELP}").into()),
    };
    // Development mode serves cookies over plain HTTP, to loopback names only.
    Ok(layer.development())
}

fn app(sessions: SessionLayer) -> Router {
    Router::new()
        .route("/", get(handlers::home))
        .route("/sign-in", post(handlers::sign_in))
        .route("/sign-out", post(handlers::sign_out))
        .route("/cart", post(handlers::add_to_cart))
        .layer(sessions)
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{error}{cause}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::INFO).init();
    let (mut store, mut listen) = ("sqlite:sessions.db".to_owned(), "127.0.0.1:3000".to_owned());
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--store", Some(name)) => store = name,
            ("--listen", Some(address)) => listen = address,
            ("--help", _) => {
                print!("{HELP}");
                return Ok(());
            }
            _ => return Err(format!("unknown argument `{arg}`\n\n{HELP}").into()),
        }
    }
    let app = app(sessions(&store).await?);
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let port = listener.local_addr()?.port();
    let (shop, curl) = (format!("http://localhost:{port}"), "curl --cookie jar --cookie-jar jar");
    println!(
        "\nThe shop listens on {shop}, with its sessions in {store}\n\n\
         Try it in a browser, or with curl and a cookie jar:\n\n  \
           {curl} {shop}\n  \
           {curl} {shop}/cart --data item=tea --location\n  \
           {curl} {shop}/sign-in --data name=Ada --location\n"
    );
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            // If the signal handler cannot be installed, the server stops immediately.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
