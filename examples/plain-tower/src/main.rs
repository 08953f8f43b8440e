//! Serves the visit counter of this crate with hyper.
//!
//! ```sh
//! cargo run -p plain-tower
//! curl --cookie-jar jar --cookie jar http://localhost:3000
//! ```

use std::error::Error;

use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let service = TowerToHyperService::new(plain_tower::service());
    println!("the visit counter listens on http://localhost:3000");
    loop {
        let (stream, _) = listener.accept().await?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("{error}");
            }
        });
    }
}
