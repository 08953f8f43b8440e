//! What those who run the shop look at: the log, `/metrics`, and, while developing, what ruts knows of a
//! session. None of it tells a secret.

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
use ruts::{Session, SessionId};
use serde_json::{Value, json};

use crate::App;

/// How many sessions' last requests are remembered.
const REMEMBERED: usize = 1000;

#[derive(Clone)]
pub(crate) struct Operations {
    store: &'static str,
    prometheus: PrometheusHandle,
    /// How many round trips the last request of a session took.
    trips: Arc<Mutex<HashMap<SessionId, u32>>>,
}

impl Operations {
    pub(crate) fn new(store: &'static str) -> Result<Self, Box<dyn Error>> {
        let prometheus = PrometheusBuilder::new().install_recorder()?;
        Ok(Self { store, prometheus, trips: Arc::default() })
    }
}

/// One line for each request.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let begun = Instant::now();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    tracing::info!(%method, path, status, ?took, "request");
    response
}

/// Counts what a request asked of the store.
pub(crate) async fn note_trips(
    State(app): State<App>,
    session: Session,
    request: Request,
    next: Next,
) -> Response {
    // Not what pages ask by themselves.
    let path = request.uri().path();
    let is_page = !path.starts_with("/debug") && !path.starts_with("/session");
    let response = next.run(request).await;
    if let (Some(id), true) = (session.id(), is_page) {
        let mut trips = app.operations.trips.lock().unwrap_or_else(PoisonError::into_inner);
        if trips.len() >= REMEMBERED {
            trips.clear();
        }
        trips.insert(id, session.store_calls());
    }
    response
}

/// Prometheus text.
pub(crate) async fn metrics(State(app): State<App>) -> String {
    app.operations.prometheus.run_upkeep();
    app.operations.prometheus.render()
}

/// What ruts knows of this session: only while developing.
pub(crate) async fn session(
    State(app): State<App>,
    session: Session,
) -> Result<Json<Value>, ruts::Error> {
    session.passive();
    let meta = session.deadlines().await?;
    let fields = session.get_all().await?;
    let names: Vec<&str> = fields.iter().flat_map(|fields| fields.names()).collect();
    let id = session.id();
    let trips = app.operations.trips.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Json(json!({
        "store": app.operations.store,
        "id": id,
        "age_seconds": meta.map(|meta| meta.age.as_secs()),
        "idle_seconds_left": meta.and_then(|meta| meta.idle).map(|left| left.as_secs()),
        "absolute_seconds_left": meta.and_then(|meta| meta.absolute).map(|left| left.as_secs()),
        "signed_in": meta.and_then(|meta| meta.signed_in).map(|signed_in| json!({
            "assurance": signed_in.assurance.level(),
            "seconds_ago": signed_in.ago.as_secs(),
        })),
        "fields": names,
        "round_trips_of_the_last_request": id.and_then(|id| trips.get(&id).copied()),
    })))
}
