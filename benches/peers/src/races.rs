//! Counts lost writes and revived sessions after parallel requests of one session, with forced
//! interleavings. Called by `main`.

use std::time::Duration;

use benches::Table;
use ruts_tests_stores::{
    Proxy, Traffic,
    servers::{Postgres, Redis},
};
use tokio::task::JoinSet;

use crate::{
    report::Report,
    stacks::{self, App, Backend, Servers},
    visitor::Visitor,
};

const AT_ONCE: u32 = 64;
const MERGES: usize = 200;
const INCREMENTS: usize = 20;
const TRIALS: usize = 1_000;
/// Maximum time that a request may wait for another request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends [`AT_ONCE`] requests at the same time. Returns the number of successes.
async fn at_once(visitor: &Visitor, path: impl Fn(u32) -> String) -> u32 {
    let mut requests = JoinSet::new();
    for number in 0..AT_ONCE {
        let (mut visitor, path) = (visitor.clone(), path(number));
        requests.spawn(async move { visitor.get(&path).await.0.is_success() });
    }
    requests.join_all().await.into_iter().map(u32::from).sum()
}

fn spread(counts: &[u32]) -> String {
    match (counts.iter().min(), counts.iter().max()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "-".to_owned(),
    }
}

/// Returns how many of 64 fields written concurrently exist, how many of 64 increments count, and
/// how many increments fail.
async fn merge(app: &App) -> [String; 3] {
    let (mut fields, mut numbers, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MERGES {
        let mut visitor = Visitor::new(&app.router);
        visitor.text("/begin").await;
        at_once(&visitor, |number| format!("/set/{number}")).await;
        fields.push(visitor.text("/fields").await.parse().expect("the body should be a number"));
    }
    for _ in 0..INCREMENTS {
        let mut visitor = Visitor::new(&app.router);
        visitor.text("/begin").await;
        let succeeded = at_once(&visitor, |_| "/increment".to_owned()).await;
        numbers.push(visitor.text("/number").await.parse().expect("the body should be a number"));
        failed.push(AT_ONCE - succeeded);
    }
    [&fields, &numbers, &failed].map(|counts| spread(counts))
}

async fn signed_in(app: &App) -> Visitor {
    let mut visitor = Visitor::new(&app.router);
    visitor.text("/begin").await;
    visitor.text("/login").await;
    visitor
}

/// A slow request reads the user, the user signs out, and the request writes. Returns how often the
/// old cookie is signed in afterwards. `None` if the sign-out waits for the slow request.
async fn revive(app: &App) -> Option<usize> {
    let mut revived = 0;
    for _ in 0..TRIALS {
        let mut visitor = signed_in(app).await;
        let mut old = visitor.clone();
        let mut slow = visitor.clone();
        let mut slow = tokio::spawn(async move { slow.get("/slow").await });
        tokio::select! {
            () = app.gate.reached.notified() => {}
            ended = &mut slow => panic!("{}: the slow request ended: {ended:?}", app.stack),
        }
        let logout = tokio::spawn(async move { visitor.get("/logout").await });
        let logout = tokio::time::timeout(TIMEOUT, logout).await;
        app.gate.resume.notify_one();
        slow.await.expect("the request should not panic");
        if logout.is_err() {
            return None;
        }
        revived += usize::from(old.get("/user").await.1 == "true");
    }
    Some(revived)
}

/// A process reads the origin and pauses before it fills the cache. Meanwhile, the user signs out
/// at another process. Returns how often the old cookie is signed in afterwards.
async fn refill(first: &App, second: &App, origin: &Proxy, redis: &Redis) -> usize {
    let mut revived = 0;
    for _ in 0..TRIALS {
        let mut visitor = signed_in(second).await;
        let mut old = visitor.clone();
        let mut reader = visitor.at(&first.router);
        redis.command::<()>(&["FLUSHDB"]);
        origin.set(Traffic::HoldAnswers);
        let reading = tokio::spawn(async move { reader.get("/user").await });
        origin.answer_held().await;
        visitor.text("/logout").await;
        origin.set(Traffic::Forward);
        reading.await.expect("the request should not panic");
        // A stack may fill its cache after the response.
        tokio::time::sleep(Duration::from_millis(3)).await;
        revived += usize::from(old.get("/user").await.1 == "true");
    }
    revived
}

/// Prints the results.
pub(crate) async fn print(
    report: &mut Report,
    redis: &Redis,
    postgres: &Postgres,
    servers: &Servers,
) {
    report.heading("Races");
    report.text(format!(
        "Writes: 64 requests of one session at once, {MERGES} times. Increments: the same, \
         {INCREMENTS} times. Sign-out: a request reads the user, waits while the user signs out, \
         and writes, {TRIALS} times; the last column counts how often the old cookie is signed in \
         afterwards. All within one process, except in the last table.\n"
    ));
    for backend in Backend::ALL {
        let mut table = Table::new([
            backend.name(),
            "of 64 fields written at once",
            "of 64 increments at once",
            "increments with an error",
            &format!("signed in after signing out, of {TRIALS}"),
        ]);
        for app in &stacks::all(backend, servers).await {
            eprintln!("races: {}, {}", backend.name(), app.stack);
            let [fields, numbers, failed] = merge(app).await;
            let revived = revive(app).await;
            let revived =
                revived.map_or("the sign-out waits".to_owned(), |count| count.to_string());
            table.push([app.stack.to_owned(), fields, numbers, failed, revived]);
        }
        report.table(&table);
    }

    report.text(format!(
        "A reader pauses between its read of the origin and the fill of the cache, while the user \
         signs out at another process, {TRIALS} times.\n"
    ));
    let origin = Proxy::before(&postgres.address()).await;
    let paused = Servers {
        postgres: postgres.url().replace(&postgres.address(), origin.address()),
        connections: 1,
        ..servers.clone()
    };
    let first = stacks::all(Backend::Layered, &paused).await;
    let second = stacks::all(Backend::Layered, servers).await;
    let mut table = Table::new(["stack", &format!("old cookie signed in, of {TRIALS}")]);
    for (first, second) in first.iter().zip(&second) {
        let revived = refill(first, second, &origin, redis).await;
        table.push([first.stack.to_owned(), revived.to_string()]);
    }
    report.table(&table);
}
