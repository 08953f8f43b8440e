//! The log, `/metrics`, and a page about the session for developers. None of them shows a secret.

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Json,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use ruts::{Session, token::SessionId};
use serde_json::{Value, json};

/// Maximum number of sessions in [`Operations::trips`].
const MAX_SESSIONS: usize = 1000;

/// Data for the operators of the shop.
#[derive(Clone)]
pub(crate) struct Operations {
    store: &'static str,
    prometheus: PrometheusHandle,
    /// Round trips of the last request of each session.
    trips: Arc<Mutex<HashMap<SessionId, u32>>>,
}

impl Operations {
    pub(crate) fn new(store: &'static str) -> Result<Self, Box<dyn Error>> {
        let prometheus = PrometheusBuilder::new().install_recorder()?;
        Ok(Self { store, prometheus, trips: Arc::default() })
    }
}

/// Logs one line for each request.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let start = Instant::now();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), start.elapsed());
    tracing::info!(%method, path, status, ?took, "request");
    response
}

/// Records how many round trips to the store a request takes.
pub(crate) async fn note_trips(
    State(operations): State<Operations>,
    session: Session,
    request: Request,
    next: Next,
) -> Response {
    // Only requests for pages are recorded. Requests for `/debug`, and requests of scripts on a
    // page, are not.
    let path = request.uri().path();
    let is_page = !path.starts_with("/debug") && !path.starts_with("/session");
    let response = next.run(request).await;
    if let (Some(id), true) = (session.id(), is_page) {
        let mut trips = operations.trips.lock().unwrap_or_else(PoisonError::into_inner);
        if trips.len() >= MAX_SESSIONS {
            trips.clear();
        }
        trips.insert(id, session.store_calls());
    }
    response
}

/// Returns the metrics as Prometheus text.
pub(crate) async fn metrics(State(operations): State<Operations>) -> String {
    operations.prometheus.run_upkeep();
    operations.prometheus.render()
}

/// Shows the metadata of this session. This route does not exist in production.
pub(crate) async fn session(
    State(operations): State<Operations>,
    session: Session,
) -> Result<Json<Value>, ruts::Error> {
    session.set_passive();
    let meta = session.metadata().await?;
    let fields = session.get_all().await?;
    let names: Vec<&str> = fields.iter().flat_map(|fields| fields.names()).collect();
    let id = session.id();
    let trips = operations.trips.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Json(json!({
        "store": operations.store,
        "id": id,
        "age_seconds": meta.map(|meta| meta.age.as_secs()),
        "idle_seconds_left": meta.and_then(|meta| meta.idle_remaining).map(|left| left.as_secs()),
        "absolute_seconds_left": meta.and_then(|meta| meta.absolute_remaining).map(|left| left.as_secs()),
        "signed_in": meta.and_then(|meta| meta.signed_in).map(|signed_in| json!({
            "assurance": signed_in.assurance.level(),
            "seconds_ago": signed_in.ago.as_secs(),
        })),
        "fields": names,
        "round_trips_of_the_last_request": id.and_then(|id| trips.get(&id).copied()),
    })))
}
