//! Measures the cost of [`SessionLayer`] per request, over a layer that does nothing.
//!
//! Allocations are exact. Times are ratios of interleaved rounds. The benchmark fails if an
//! anonymous request that does not use its session adds more than [`MAX_ALLOCATIONS`].

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

/// Maximum number of allocations that the layer may add to an anonymous request, if its handler
/// does not use the session.
const MAX_ALLOCATIONS: u64 = 3;

const WARM_UP: usize = 1000;
const COUNTED: usize = 200;
const ROUNDS: usize = 201;
const BATCH: usize = 200;

/// Five fields. The first read fetches all of them.
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
    has_session: bool,
}

const WORKLOADS: [Workload; 6] = [
    Workload { name: "anonymous, untouched", path: "/untouched", has_session: false },
    Workload { name: "session, untouched", path: "/untouched", has_session: true },
    Workload { name: "session, 1 field read", path: "/read-one", has_session: true },
    Workload { name: "session, 5 fields read", path: "/read-five", has_session: true },
    Workload { name: "session, 1 field written", path: "/write", has_session: true },
    Workload { name: "session, counter updated", path: "/update", has_session: true },
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
        let [bare, do_nothing, ruts] = bench.allocations(workload)?;
        let [bare_time, ruts_time] = bench.times(workload)?;
        let added = ruts.over(do_nothing);
        if !workload.has_session {
            worst = added.max;
        }
        table.push([
            workload.name.to_owned(),
            bare.to_string(),
            do_nothing.to_string(),
            ruts.to_string(),
            added.to_string(),
            bare_time.to_string(),
            ruts_time.to_string(),
        ]);
    }
    println!("{table}");
    println!("Allocations per request. Times as multiples of the do-nothing layer (quartiles).");
    let is_met = worst <= MAX_ALLOCATIONS;
    println!(
        "Goal: at most {MAX_ALLOCATIONS} allocations for an untouched anonymous request: {} \
         ({worst}).",
        if is_met { "met" } else { "MISSED" },
    );
    Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Three apps with the same routes: bare, in a do-nothing layer, in a session layer.
struct Bench {
    runtime: Runtime,
    apps: [Router; 3],
    /// Cookie of a session in which all fields are set.
    cookie: HeaderValue,
}

impl Bench {
    fn new() -> Result<Self, Failure> {
        // The counter sees the allocations of this thread only.
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        if count(|| runtime.block_on(async {})) != 0 {
            return Err(
                "the runtime allocates memory by itself, and the counts would include this memory"
                    .into(),
            );
        }
        // `with_state` builds routes and layers once, as `axum::serve` does. Otherwise each request
        // builds them.
        let [bare, do_nothing, mut sessions] = [
            without_session(),
            without_session().layer(layer_fn(DoNothing)),
            with_session().layer(SessionLayer::new(MemoryStore::new())),
        ]
        .map(|app| app.with_state(()));
        let cookie = runtime.block_on(fill_session(&mut sessions))?;
        Ok(Self { runtime, apps: [bare, do_nothing, sessions], cookie })
    }

    /// Counts the allocations of each app for one request.
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

    /// Measures the bare router and the session layer, as multiples of the do-nothing layer.
    fn times(&mut self, workload: &Workload) -> Result<[Spread; 2], Failure> {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let mut times = [Duration::ZERO; 3];
            // Each app goes first, second and third equally often.
            for turn in 0..3 {
                let index = (round + turn) % 3;
                let requests = workload.requests(&self.cookie, BATCH);
                let start = Instant::now();
                // Here, one task serves all requests, and would use up its cooperation budget. The
                // tasks of a server do not.
                let batch = unconstrained(answer_all(&mut self.apps[index], requests));
                self.runtime.block_on(batch)?;
                times[index] = start.elapsed();
            }
            rounds.push(times.map(|time| time.as_secs_f64()));
        }
        let bare = rounds.iter().map(|[bare, base, _]| bare / base).collect();
        let ruts = rounds.iter().map(|[_, base, ruts]| ruts / base).collect();
        Ok([bare, ruts])
    }
}

impl Workload {
    fn requests(&self, cookie: &HeaderValue, number: usize) -> Vec<Request> {
        let request = || {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = Uri::from_static(self.path);
            if self.has_session {
                request.headers_mut().insert(header::COOKIE, cookie.clone());
            }
            request
        };
        std::iter::repeat_with(request).take(number).collect()
    }
}

/// Minimum and maximum number of allocations of one request.
#[derive(Clone, Copy)]
struct Counts {
    min: u64,
    max: u64,
}

impl Counts {
    const NONE: Self = Self { min: u64::MAX, max: 0 };

    fn include(&mut self, count: u64) {
        self.min = self.min.min(count);
        self.max = self.max.max(count);
    }

    fn over(self, base: Self) -> Self {
        let min = self.min.saturating_sub(base.max);
        Self { min, max: self.max.saturating_sub(base.min) }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max } = self;
        if min == max { write!(f, "{min}") } else { write!(f, "{min}–{max}") }
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

/// Runs one request until its response is dropped. A router is always ready, so no `poll_ready` is
/// needed.
async fn answer(app: &mut Router, request: Request) -> Result<(), Failure> {
    let response = app.call(request).await?;
    if response.status() == StatusCode::OK { Ok(()) } else { Err("a handler failed".into()) }
}

/// Fills a new session and returns its cookie as a client sends it.
async fn fill_session(app: &mut Router) -> Result<HeaderValue, Failure> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("/fill");
    let response = app.call(request).await?;
    let cookie = response.headers().get(header::SET_COOKIE).ok_or("no cookie was set")?.to_str()?;
    let pair = cookie.split(';').next().unwrap_or(cookie);
    Ok(HeaderValue::from_str(pair)?)
}

fn without_session() -> Router {
    Router::new()
        .route("/fill", get(untouched))
        .route("/untouched", get(untouched))
        .route("/read-one", get(untouched))
        .route("/read-five", get(untouched))
        .route("/write", get(untouched))
        .route("/update", get(untouched))
}

fn with_session() -> Router {
    Router::new()
        .route("/fill", get(fill))
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
    let found_all = shop.visits().await? > 0
        && shop.user().await?.is_some()
        && shop.name().await?.is_some()
        && shop.theme().await?.is_some()
        && shop.cart().await?.is_some();
    Ok(found(found_all))
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

fn found(is_found: bool) -> StatusCode {
    if is_found { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

/// A layer that only calls its inner service.
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
