//! What is left when requests of one session race each other: forced, not hoped for.

use std::time::Duration;

use benches::Table;
use ruts_tests::{
    Proxy, Traffic,
    servers::{Postgres, Redis},
};
use tokio::task::JoinSet;

use crate::{
    client::Visitor,
    report::Report,
    stacks::{self, Backend, Place, Stack},
};

const AT_ONCE: u32 = 64;
const MERGES: usize = 200;
const INCREMENTS: usize = 20;
const TRIALS: usize = 1_000;
/// How long a request may wait for another one.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Of 64 fields written at once, how many are there; of 64 increments, how many count, and how many were
/// refused with an error.
async fn merging(stack: &Stack) -> [String; 3] {
    let (mut fields, mut numbers, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MERGES {
        let mut visitor = Visitor::new(&stack.app);
        visitor.text("/begin").await;
        at_once(&visitor, |number| format!("/set/{number}")).await;
        fields.push(visitor.text("/fields").await.parse().expect("a number"));
    }
    for _ in 0..INCREMENTS {
        let mut visitor = Visitor::new(&stack.app);
        visitor.text("/begin").await;
        let done = at_once(&visitor, |_| "/increment".to_owned()).await;
        numbers.push(visitor.text("/number").await.parse().expect("a number"));
        refused.push(AT_ONCE - done);
    }
    [&fields, &numbers, &refused].map(|counts| spread(counts))
}

async fn signed_in(stack: &Stack) -> Visitor {
    let mut visitor = Visitor::new(&stack.app);
    visitor.text("/begin").await;
    visitor.text("/login").await;
    visitor
}

/// A slow request has read who is signed in; the user signs out; the request writes. How often somebody is
/// signed in with the old cookie; nothing if one request waits for the other.
async fn revival(stack: &Stack) -> Option<usize> {
    let mut back = 0;
    for _ in 0..TRIALS {
        let mut visitor = signed_in(stack).await;
        let mut old = visitor.clone();
        let mut slow = visitor.clone();
        let mut slow = tokio::spawn(async move { slow.get("/slow").await });
        tokio::select! {
            () = stack.gate.reached.notified() => {}
            ended = &mut slow => panic!("{}: the slow request ended: {ended:?}", stack.name),
        }
        let out = tokio::spawn(async move { visitor.get("/out").await });
        let out = tokio::time::timeout(PATIENCE, out).await;
        stack.gate.go_on.notify_one();
        slow.await.expect("the request comes to its end");
        if out.is_err() {
            return None;
        }
        back += usize::from(old.get("/who").await.1 == "true");
    }
    Some(back)
}

/// A process has read the store of record and not yet filled its cache; the user signs out at another
/// process; the first one goes on. How often somebody is signed in with the old cookie.
async fn refilling(first: &Stack, second: &Stack, cold: &Proxy, redis: &Redis) -> usize {
    let mut back = 0;
    for _ in 0..TRIALS {
        let mut visitor = signed_in(second).await;
        let mut old = visitor.clone();
        let mut reader = visitor.at(&first.app);
        redis.command::<()>(&["FLUSHDB"]);
        cold.set(Traffic::KeepsAnswers);
        let reading = tokio::spawn(async move { reader.get("/who").await });
        cold.kept().await;
        visitor.text("/out").await;
        cold.set(Traffic::Flows);
        reading.await.expect("the request comes to its end");
        // The cache may be filled off the response path.
        tokio::time::sleep(Duration::from_millis(3)).await;
        back += usize::from(old.get("/who").await.1 == "true");
    }
    back
}

pub(crate) async fn print(report: &mut Report, redis: &Redis, postgres: &Postgres, place: &Place) {
    report.heading("Races");
    report.say(format!(
        "64 requests of one session at once, {MERGES} times, or {INCREMENTS} with increments; and {TRIALS} times a request that has read who is \
         signed in, waits while the user signs out, and writes: is somebody signed in with the old cookie? Within \
         one process, except in the last table.\n"
    ));
    for backend in Backend::ALL {
        let mut table = Table::new([
            backend.name(),
            "of 64 fields written at once",
            "of 64 increments at once",
            "of these refused",
            &format!("signed in after signing out, of {TRIALS}"),
        ]);
        for stack in &stacks::all(backend, place).await {
            eprintln!("races: {}, {}", backend.name(), stack.name);
            let [fields, numbers, refused] = merging(stack).await;
            let back = revival(stack).await;
            let back = back.map_or("waits for the other".to_owned(), |back| back.to_string());
            table.push([stack.name.to_owned(), fields, numbers, refused, back]);
        }
        report.table(&table);
    }

    report.say(format!(
        "A reader is held between its read of the store of record and the filling of its cache while the user signs \
         out at another process, {TRIALS} times.\n"
    ));
    let cold = Proxy::before(&postgres.address()).await;
    let held = Place {
        postgres: postgres.url().replace(&postgres.address(), cold.address()),
        connections: 1,
        ..place.clone()
    };
    let first = stacks::all(Backend::Layered, &held).await;
    let second = stacks::all(Backend::Layered, place).await;
    let mut table = Table::new(["stack", &format!("the old user is served, of {TRIALS}")]);
    for (first, second) in first.iter().zip(&second) {
        let served = refilling(first, second, &cold, redis).await;
        table.push([first.name.to_owned(), served.to_string()]);
    }
    report.table(&table);
}
