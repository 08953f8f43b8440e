//! A process is killed between any two steps of a write. The other processes must not read stale
//! data afterwards.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use ruts::store::{Refused, Store};
use ruts_tests_stores::{
    Traffic,
    servers::{Flavour, Postgres},
    tiers::{Layered, Tiers, Urls},
};
use ruts_tests_support::{APPLIED, TestSession, wait_until};

use crate::{load, read, value};

/// The step at which the writer is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The write intent is in flight.
    Intent,
    /// The intent is registered, and the statement is in flight.
    Statement,
    /// The statement is carried out, and the finish is in flight.
    Finish,
    /// The writer has its answer.
    Done,
}

const STEPS: [Step; 4] = [Step::Intent, Step::Statement, Step::Finish, Step::Done];

struct Writer {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Writer {
    /// Starts a process, and waits until it is connected.
    fn start(
        tiers: &Tiers<&'static Postgres>,
        urls: &Urls,
        session: &TestSession<Layered>,
        operation: &str,
    ) -> Self {
        let id = u128::from_be_bytes(*session.id.as_bytes()).to_string();
        let secret: Vec<String> = session.secret.as_bytes().iter().map(u8::to_string).collect();
        let mut process = Command::new(env!("CARGO_BIN_EXE_writer"))
            .args([&*urls.cache, tiers.prefix().name(), &*urls.origin, tiers.schema().name()])
            .args([&*id, &*secret.join(","), operation])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut writer = Self { process, output };
        writer.wait_for("ready");
        writer
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }

    /// Lets the process write.
    fn resume(&mut self) {
        writeln!(self.process.stdin.as_mut().unwrap(), "go").unwrap();
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

async fn kill_at(step: Step, operation: &str) {
    let tiers = Tiers::start(Flavour::Redis);
    let observer = TestSession::begin(&tiers.store().await).await;
    assert_eq!(observer.set("a", "old").await.unwrap(), APPLIED);
    assert_eq!(read(&observer, "a").await, value("old"));
    let (proxies, urls) = tiers.proxies_for_process().await;
    let mut writer =
        tokio::task::block_in_place(|| Writer::start(&tiers, &urls, &observer, operation));

    let origin = observer.through(&tiers.origin_alone().await);
    let calls = tiers.redis.calls("evalsha");
    match step {
        Step::Intent => {
            proxies.cache.set(Traffic::Hold);
            writer.resume();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Step::Statement => {
            proxies.origin.set(Traffic::Hold);
            writer.resume();
            let registered = async || tiers.redis.calls("evalsha") > calls;
            wait_until("the intent is registered", registered).await;
        }
        Step::Finish => {
            // The proxy forwards the answer to the intent, but holds the finish.
            proxies.cache.set(Traffic::HoldAfter(1));
            writer.resume();
            let committed = async || get_if_live(&origin).await != value("old");
            wait_until("the statement is carried out", committed).await;
        }
        Step::Done => {
            writer.resume();
            tokio::task::block_in_place(|| writer.wait_for("done"));
        }
    }
    writer.kill();
    // The last command of the writer may still arrive.
    proxies.cache.set(Traffic::Forward);
    proxies.origin.set(Traffic::Forward);
    tokio::time::sleep(Duration::from_millis(300)).await;

    let found = get_if_live(&origin).await;
    match step {
        Step::Intent => assert_eq!(
            found,
            value("old"),
            "the value should be unchanged, because no process was left to write"
        ),
        Step::Statement => {}
        Step::Finish | Step::Done => assert_ne!(found, value("old")),
    }
    let elsewhere = observer.through(&tiers.store().await);
    for _ in 0..4 {
        assert_eq!(get_if_live(&observer).await, found, "{step:?}");
        assert_eq!(get_if_live(&elsewhere).await, found, "{step:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the field `a`, or `None` if the session has ended.
async fn get_if_live<S: Store>(session: &TestSession<S>) -> Option<Bytes> {
    match load(session, "a").await {
        Ok(mut loaded) => loaded.fields.pop().map(|field| field.value),
        Err(Refused::Deleted { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_killed_at_any_step_leaves_no_stale_entry() {
    for step in STEPS {
        kill_at(step, "set").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_killed_at_any_step_leaves_no_stale_entry() {
    for step in STEPS {
        kill_at(step, "delete").await;
    }
}
