//! A visit counter that survives a restart.
//!
//! ```sh
//! cargo run -p custom-store -- /tmp/sessions
//! curl --cookie-jar jar --cookie jar http://localhost:3000
//! ```

use std::{env, error::Error};

use axum::{Router, routing::get};
use custom_store::FileStore;
use ruts::{SessionLayer, session};

#[session]
struct Visitor {
    #[field(default)]
    visits: u64,
}

async fn visit(visitor: Visitor) -> Result<String, ruts::Error> {
    let visits = visitor.visits().update(|visits| {
        *visits += 1;
        *visits
    });
    Ok(format!("visit {}\n", visits.await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("usage: custom-store FOLDER")?;
    let layer = SessionLayer::new(FileStore::open(folder)?).development();
    let app = Router::new().route("/", get(visit)).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("visits are counted at http://localhost:3000");
    Ok(axum::serve(listener, app).await?)
}
