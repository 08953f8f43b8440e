//! What [`SessionLayer`] adds to a request, over a layer that does nothing around the same routes.
//!
//! Allocations are counted exactly; times are ratios of interleaved rounds. Fails if an anonymous
//! request that does not touch its session costs more than [`PROMISE`] allocations.

use std::{
    error::Error,
    fmt,
    process::ExitCode,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, Uri, header},
    routing::get,
};
use benches::{Spread, Table};
use ruts::{SessionLayer, session, store::memory::MemoryStore};
use tokio::{runtime::Runtime, task::coop::unconstrained};
use tower::{Service, layer::layer_fn};

/// The most allocations that the layer may add to an anonymous request that does not touch its
/// session.
const PROMISE: u64 = 3;

const WARM_UP: usize = 1000;
const COUNTED: usize = 200;
const ROUNDS: usize = 201;
const BATCH: usize = 200;

/// Five fields, which the first read fetches together.
#[session]
struct Shop {
    #[field(default)]
    visits: u64,
    user: u64,
    name: String,
    theme: String,
    cart: Vec<u32>,
}

struct Workload {
    name: &'static str,
    path: &'static str,
    signed_in: bool,
}

const WORKLOADS: [Workload; 6] = [
    Workload { name: "anonymous, untouched", path: "/untouched", signed_in: false },
    Workload { name: "session, untouched", path: "/untouched", signed_in: true },
    Workload { name: "session, 1 field read", path: "/read-one", signed_in: true },
    Workload { name: "session, 5 fields read", path: "/read-five", signed_in: true },
    Workload { name: "session, 1 field written", path: "/write", signed_in: true },
    Workload { name: "session, counter updated", path: "/update", signed_in: true },
];

type Failure = Box<dyn Error>;

fn main() -> Result<ExitCode, Failure> {
    let mut bench = Bench::new()?;
    let mut table = Table::new([
        "request",
        "allocations: bare router",
        "do-nothing layer",
        "ruts",
        "added by ruts",
        "time: bare router",
        "ruts",
    ]);
    let mut worst = 0;
    for workload in &WORKLOADS {
        let [bare, nothing, ruts] = bench.allocations(workload)?;
        let [bare_time, ruts_time] = bench.times(workload)?;
        let added = ruts.over(nothing);
        if !workload.signed_in {
            worst = added.most;
        }
        table.push([
            workload.name.to_owned(),
            bare.to_string(),
            nothing.to_string(),
            ruts.to_string(),
            added.to_string(),
            bare_time.to_string(),
            ruts_time.to_string(),
        ]);
    }
    println!("{table}");
    println!("Allocations per request; times as multiples of the do-nothing layer's (quartiles).");
    let kept = worst <= PROMISE;
    println!(
        "Promise: at most {PROMISE} allocations for an anonymous request that does not touch its \
         session: {} ({worst}).",
        if kept { "kept" } else { "BROKEN" },
    );
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same routes three times: bare, in a do-nothing layer, in a session layer.
struct Bench {
    runtime: Runtime,
    apps: [Router; 3],
    /// Of a session in which all fields are set.
    cookie: HeaderValue,
}

impl Bench {
    fn new() -> Result<Self, Failure> {
        // Without threads of its own, so that the counter sees every allocation.
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        if count(|| runtime.block_on(async {})) != 0 {
            return Err("the runtime allocates by itself: the counts would include it".into());
        }
        // As `axum::serve` does: else the routes, layers included, are put together anew for each
        // request.
        let [bare, nothing, mut sessions] = [
            without_session(),
            without_session().layer(layer_fn(DoNothing)),
            with_session().layer(SessionLayer::new(MemoryStore::new())),
        ]
        .map(|app| app.with_state(()));
        let cookie = runtime.block_on(sign_in(&mut sessions))?;
        Ok(Self { runtime, apps: [bare, nothing, sessions], cookie })
    }

    /// How much each app allocates for one request.
    fn allocations(&mut self, workload: &Workload) -> Result<[Counts; 3], Failure> {
        let mut counts = [Counts::NONE; 3];
        for (app, counts) in self.apps.iter_mut().zip(&mut counts) {
            let requests = workload.requests(&self.cookie, WARM_UP);
            self.runtime.block_on(unconstrained(answer_all(app, requests)))?;
            for request in workload.requests(&self.cookie, COUNTED) {
                let mut answered = Ok(());
                counts.include(count(|| {
                    answered = self.runtime.block_on(answer(app, request));
                }));
                answered?;
            }
        }
        Ok(counts)
    }

    /// How long the bare router and the session layer take, as multiples of the do-nothing layer.
    fn times(&mut self, workload: &Workload) -> Result<[Spread; 2], Failure> {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let mut times = [Duration::ZERO; 3];
            // Each app goes first, second and third equally often.
            for turn in 0..3 {
                let which = (round + turn) % 3;
                let requests = workload.requests(&self.cookie, BATCH);
                let start = Instant::now();
                // A server polls a new task for each connection; one task for all would use up its
                // cooperation budget and be interrupted.
                let batch = unconstrained(answer_all(&mut self.apps[which], requests));
                self.runtime.block_on(batch)?;
                times[which] = start.elapsed();
            }
            rounds.push(times.map(|time| time.as_secs_f64()));
        }
        let bare = rounds.iter().map(|[bare, nothing, _]| bare / nothing).collect();
        let ruts = rounds.iter().map(|[_, nothing, ruts]| ruts / nothing).collect();
        Ok([bare, ruts])
    }
}

impl Workload {
    fn requests(&self, cookie: &HeaderValue, number: usize) -> Vec<Request> {
        let request = || {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = Uri::from_static(self.path);
            if self.signed_in {
                request.headers_mut().insert(header::COOKIE, cookie.clone());
            }
            request
        };
        std::iter::repeat_with(request).take(number).collect()
    }
}

/// The fewest and the most allocations of one request.
#[derive(Clone, Copy)]
struct Counts {
    least: u64,
    most: u64,
}

impl Counts {
    const NONE: Self = Self { least: u64::MAX, most: 0 };

    fn include(&mut self, count: u64) {
        self.least = self.least.min(count);
        self.most = self.most.max(count);
    }

    fn over(self, base: Self) -> Self {
        let least = self.least.saturating_sub(base.most);
        Self { least, most: self.most.saturating_sub(base.least) }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most } = self;
        if least == most { write!(f, "{least}") } else { write!(f, "{least}–{most}") }
    }
}

fn count(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

async fn answer_all(app: &mut Router, requests: Vec<Request>) -> Result<(), Failure> {
    for request in requests {
        answer(app, request).await?;
    }
    Ok(())
}

/// From the request to the dropped response. The service needs no `poll_ready`: a router is always
/// ready.
async fn answer(app: &mut Router, request: Request) -> Result<(), Failure> {
    let response = app.call(request).await?;
    if response.status() == StatusCode::OK { Ok(()) } else { Err("a handler failed".into()) }
}

/// Fills a new session, and returns its cookie as a client sends it.
async fn sign_in(app: &mut Router) -> Result<HeaderValue, Failure> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("/sign-in");
    let response = app.call(request).await?;
    let cookie = response.headers().get(header::SET_COOKIE).ok_or("no cookie was set")?.to_str()?;
    let pair = cookie.split(';').next().unwrap_or(cookie);
    Ok(HeaderValue::from_str(pair)?)
}

fn without_session() -> Router {
    Router::new()
        .route("/sign-in", get(untouched))
        .route("/untouched", get(untouched))
        .route("/read-one", get(untouched))
        .route("/read-five", get(untouched))
        .route("/write", get(untouched))
        .route("/update", get(untouched))
}

fn with_session() -> Router {
    Router::new()
        .route("/sign-in", get(fill))
        .route("/untouched", get(untouched))
        .route("/read-one", get(read_one))
        .route("/read-five", get(read_five))
        .route("/write", get(write))
        .route("/update", get(update))
}

async fn untouched() -> StatusCode {
    StatusCode::OK
}

async fn fill(shop: Shop) -> Result<StatusCode, ruts::Error> {
    let edit = shop.edit().visits(&1).user(&7).name("Ada").theme("dark").cart(&vec![1, 2, 3]);
    edit.commit().await?;
    Ok(StatusCode::OK)
}

async fn read_one(shop: Shop) -> Result<StatusCode, ruts::Error> {
    Ok(found(shop.user().await?.is_some()))
}

async fn read_five(shop: Shop) -> Result<StatusCode, ruts::Error> {
    let there = shop.visits().await? > 0
        && shop.user().await?.is_some()
        && shop.name().await?.is_some()
        && shop.theme().await?.is_some()
        && shop.cart().await?.is_some();
    Ok(found(there))
}

async fn write(shop: Shop) -> Result<StatusCode, ruts::Error> {
    shop.set_user(&7).await?;
    Ok(StatusCode::OK)
}

async fn update(shop: Shop) -> Result<StatusCode, ruts::Error> {
    let visits = shop.visits().update(|visits| {
        *visits += 1;
        *visits
    });
    Ok(found(visits.await? > 1))
}

fn found(there: bool) -> StatusCode {
    if there { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

/// The least that a layer can be.
#[derive(Clone)]
struct DoNothing<S>(S);

impl<S: Service<R>, R> Service<R> for DoNothing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}
