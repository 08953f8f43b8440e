//! Serves the app of this crate, with its worker, or sends a message from another process.
//!
//! ```sh
//! cargo run -p jobs-example
//! curl --cookie-jar jar http://localhost:3000/sign-in --data name=ada
//! curl --cookie jar -X POST http://localhost:3000/export
//! cargo run -p jobs-example -- notify ada "We move on Sunday."
//! curl --cookie jar http://localhost:3000/
//! ```

use std::{env, error::Error, sync::Arc};

use jobs_example::{Desk, app, notify, work};
use ruts::store::sqlite::SqliteStore;
use tokio::{net::TcpListener, sync::mpsc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let store = Arc::new(SqliteStore::builder("jobs.db").build().await?);
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => {}
        ["notify", user, message] => {
            let reached = notify(&Desk::sessions(&store), user, message).await?;
            println!("left in {reached} sessions of {user}");
            return Ok(());
        }
        _ => return Err("usage: jobs-example [notify USER MESSAGE]".into()),
    }
    let (queue, orders) = mpsc::channel(100);
    let worker = tokio::spawn(work(Desk::sessions(&store), orders));
    let listener = TcpListener::bind(("127.0.0.1", 3000)).await?;
    println!("order exports at http://localhost:3000/export");
    axum::serve(listener, app(&store, queue))
        .with_graceful_shutdown(async {
            // If the signal handler cannot be installed, the server stops immediately.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    // The app, which holds the sender of the queue, has been dropped. So the worker finishes the
    // queued orders and stops.
    Ok(worker.await?)
}
