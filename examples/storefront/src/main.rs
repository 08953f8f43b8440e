//! A shop with every capability of ruts.
//!
//! ```sh
//! cargo run -p storefront                     # sessions in storefront.db
//! store=layered:redis://localhost:6379,postgres://postgres@localhost/postgres
//! cargo run -p storefront -- --store $store
//! ```
//!
//! | file | content |
//! | --- | --- |
//! | `session.rs` | the fields of a session |
//! | `sessions.rs` | lifetimes of sessions, and the store |
//! | `pages` | handlers, which use neither stores nor names of fields |
//! | `operations.rs` | logs, metrics, a page for developers |

mod operations;
mod pages;
mod session;
mod sessions;
mod stopping;
mod view;

use std::{env, error::Error, process::ExitCode};

use axum::{
    Router,
    extract::FromRef,
    http::{HeaderValue, header},
    middleware::{from_fn, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use ruts::layer::CsrfLayer;
use tokio::net::TcpListener;

use crate::{
    operations::Operations,
    sessions::SessionSetup,
    stopping::{Stopping, interrupted},
};

const HELP: &str = "\
Serves a shop.

usage: storefront [--store URL] [--name NAME] [--listen ADDRESS] [--production]

  --store URL        the store of the sessions (default: sqlite:NAME.db)
                       sqlite:FILE
                       memory
                       redis://HOST:PORT, rediss://.., redis-cluster://..
                       postgres://USER@HOST/DATABASE
                       mysql://USER@HOST/DATABASE
                       layered:REDIS,POSTGRES
  --name NAME        name of the shop, different for each shop on a server (default: storefront)
  --listen ADDRESS   a loopback address and port (default: 127.0.0.1:3000)
  --production       cookies for HTTPS only; needs a proxy in front that terminates TLS

environment:

  STOREFRONT_KEY     encrypts orders at rest: at least 32 bytes, or several such secrets, separated
                     by commas, the newest first. All instances need the same value. Without it, a
                     secret is kept next to the SQLite file, or generated at each start. It is
                     required in production.
";

/// State of the handlers, besides the session.
#[derive(Clone)]
struct App {
    operations: Operations,
    stopping: Stopping,
}

impl FromRef<App> for Operations {
    fn from_ref(app: &App) -> Self {
        app.operations.clone()
    }
}

impl FromRef<App> for Stopping {
    fn from_ref(app: &App) -> Self {
        app.stopping.clone()
    }
}

fn routes(app: &App, is_production: bool) -> Router {
    let mut routes = Router::new()
        .route("/", get(pages::catalogue::show))
        .route("/cart", get(pages::cart::show).post(pages::cart::add))
        .route("/cart/remove", post(pages::cart::remove))
        .route("/sign-in", get(pages::account::form).post(pages::account::sign_in))
        .route("/sign-out", post(pages::account::sign_out))
        .route("/devices", get(pages::devices::show))
        .route("/devices/{id}/end", post(pages::devices::end))
        .route("/devices/end-others", post(pages::devices::end_others))
        .route("/checkout", get(pages::checkout::show))
        .route("/checkout/address", post(pages::checkout::address))
        .route("/checkout/delivery", post(pages::checkout::delivery))
        .route("/checkout/order", post(pages::checkout::order))
        .route("/theme", post(pages::theme::choose))
        .route("/session/left", get(pages::live::left))
        .route("/session/events", get(pages::live::events))
        .route("/static/style.css", get(view::style))
        .route("/static/app.js", get(view::script))
        .route("/metrics", get(operations::metrics));
    if !is_production {
        routes = routes.route("/debug/session", get(operations::session));
    }
    routes
        .route_layer(from_fn_with_state(app.operations.clone(), operations::note_trips))
        .with_state(app.clone())
}

/// Forbids caches to store pages. Forbids pages to load anything from other sites, or to submit
/// forms to them.
async fn security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'; form-action 'self'"),
    );
    response
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn Error> = Some(&*error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    store: Option<String>,
    name: String,
    listen: String,
    is_production: bool,
}

/// Parses the command line. `None` if the user asks for help.
fn arguments() -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments {
        store: None,
        name: "storefront".to_owned(),
        listen: "127.0.0.1:3000".to_owned(),
        is_production: false,
    };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n\n{HELP}"));
        match word.as_str() {
            "--store" => arguments.store = Some(value()?),
            "--name" => arguments.name = value()?,
            "--listen" => arguments.listen = value()?,
            "--production" => arguments.is_production = true,
            "--help" => return Ok(None),
            _ => return Err(format!("unknown argument `{word}`\n\n{HELP}")),
        }
    }
    Ok(Some(arguments))
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let Some(Arguments { store, name, listen, is_production }) = arguments()? else {
        print!("{HELP}");
        return Ok(());
    };
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(std::io::stderr)
        .init();
    let store = store.unwrap_or_else(|| format!("sqlite:{name}.db"));
    let SessionSetup { layer, store } = sessions::connect(&store, &name, is_production).await?;
    let (stop, stopping) = Stopping::new();
    let app = App { operations: Operations::new(store)?, stopping };
    let service = routes(&app, is_production)
        .layer(axum::middleware::map_response(security_headers))
        .layer(layer)
        .layer(CsrfLayer::new())
        .layer(from_fn(operations::log));
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    println!("The shop listens on http://localhost:{}", listener.local_addr()?.port());
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            interrupted().await;
            drop(stop);
        })
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ruts::{
        store::memory::MemoryStore,
        testing::{Client, ManualClock, SessionSecurity, assert_session_security},
    };

    use super::*;

    #[tokio::test]
    async fn the_shop_meets_the_security_requirements() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let (_stop, stopping) = Stopping::new();
        let app = App { operations: Operations::new("memory").unwrap(), stopping };
        let service = routes(&app, true)
            .layer(axum::middleware::map_response(security_headers))
            .layer(sessions::session_layer(store, ruts::Key::generate().into(), true))
            .layer(CsrfLayer::new());
        let minute = Duration::from_secs(60);
        let scenario = SessionSecurity::new(
            Client::new(service),
            "/devices",
            |client| async move { client.post("/sign-in", "name=ada&password=open+sesame").await },
            |client| async move { client.post("/sign-out", "").await },
        )
        .guest(|client| async move { client.post("/cart", "item=tea").await })
        .sign_out_others(|client| async move { client.post("/devices/end-others", "").await })
        .max_sessions(10)
        .lifetimes(&clock, 30 * minute, 24 * 60 * minute);
        assert_session_security(scenario).await;
    }
}
