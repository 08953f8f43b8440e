//! A process that is killed between any two steps of a write.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ruts::store::{Lookup, Store};
use ruts_tests::{
    Traffic, Visitor,
    servers::{Flavour, Postgres},
    tiers::{Held, Layered, Route, Tiers, until},
};

use crate::{reads, value};

/// How far the writer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its fence is on the way.
    Fencing,
    /// Its fence stands, its statement is on the way.
    Committing,
    /// Its statement is done, its finish is on the way.
    Finishing,
    /// It has its answer.
    Done,
}

struct Writer {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(
        tiers: &Tiers<&'static Postgres>,
        route: &Route,
        visitor: &Visitor<Layered>,
        what: &str,
    ) -> Self {
        let id = u128::from_be_bytes(*visitor.id.as_bytes()).to_string();
        let secret: Vec<String> = visitor.secret.as_bytes().iter().map(u8::to_string).collect();
        let mut process = Command::new(env!("CARGO_BIN_EXE_writer"))
            .args([&*route.hot, tiers.prefix().name(), &*route.cold, tiers.schema().name()])
            .args([&*id, &*secret.join(","), what])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut writer = Self { process, said };
        writer.says("ready");
        writer
    }

    fn says(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }

    fn goes_on(&mut self) {
        writeln!(self.process.stdin.as_mut().unwrap(), "go").unwrap();
    }

    fn is_killed(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

async fn is_killed_at(step: Step, what: &str) {
    let tiers = Tiers::new(Flavour::Redis);
    let observer = Visitor::begin(&tiers.process().await).await;
    observer.set("a", "old").await.unwrap();
    assert_eq!(reads(&observer, "a").await, value("old"));
    let (Held { hot, cold, .. }, route) = tiers.hold().await;
    let mut writer = tokio::task::block_in_place(|| Writer::start(&tiers, &route, &observer, what));

    let ran = tiers.redis.calls("evalsha");
    let fenced = async || tiers.redis.calls("evalsha") > ran;
    match step {
        Step::Fencing => {
            hot.set(Traffic::Waits);
            writer.goes_on();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Step::Committing => {
            cold.set(Traffic::Waits);
            writer.goes_on();
            until("the fence stands", fenced).await;
        }
        Step::Finishing => {
            cold.set(Traffic::Waits);
            writer.goes_on();
            until("the fence stands", fenced).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            hot.set(Traffic::Waits);
            cold.set(Traffic::Flows);
            until("it is committed", async || told(&observer).await != value("old")).await;
        }
        Step::Done => {
            writer.goes_on();
            tokio::task::block_in_place(|| writer.says("done"));
        }
    }
    writer.is_killed();
    // What it sent last may still arrive.
    hot.set(Traffic::Flows);
    cold.set(Traffic::Flows);

    let truth = Arc::new(tiers.cold(&tiers.route()).await.0);
    let truth = Visitor { store: truth, id: observer.id, secret: observer.secret };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let held = told(&truth).await;
    match step {
        Step::Fencing => assert_eq!(held, value("old"), "there was nobody to do it"),
        Step::Committing => {}
        Step::Finishing | Step::Done => assert_ne!(held, value("old")),
    }
    let elsewhere = Visitor { store: tiers.process().await, ..observer.clone() };
    for _ in 0..4 {
        assert_eq!(told(&observer).await, held, "{step:?}");
        assert_eq!(told(&elsewhere).await, held, "{step:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is in `a`; nothing for a session that has ended.
async fn told<S: Store>(visitor: &Visitor<S>) -> Option<bytes::Bytes> {
    let named = ruts::store::Projection::Named(&["a"]);
    match visitor.store.load(visitor.credentials(), named, None).await.unwrap() {
        Lookup::Found(mut loaded) => loaded.fields.pop().map(|field| field.value),
        Lookup::Ended { .. } => None,
        other => panic!("{other:?}"),
    }
}

const STEPS: [Step; 4] = [Step::Fencing, Step::Committing, Step::Finishing, Step::Done];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_at_any_step_leaves_no_lie() {
    for step in STEPS {
        is_killed_at(step, "set").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_signs_out_and_is_killed_at_any_step_leaves_no_lie() {
    for step in STEPS {
        is_killed_at(step, "delete").await;
    }
}
