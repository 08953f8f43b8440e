//! The threads of a store, and the queues that lead to them: [`Threads`].
//!
//! Used by the store. Opens the connections, and starts the writer and the readers. Knows nothing
//! about SQL.

use std::{
    path::{PathBuf, absolute},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    task::coop::consume_budget,
};

use super::{
    connection::{ConnectionSettings, Database, Durability, set_lock_timeout},
    error::{lost, unavailable},
    file::Reserve,
    inline::InlineReads,
    queue::Queue,
    readers, tables,
    task::{Task, task},
    writer::Writer,
};
use crate::{
    store::{StoreError, watchers::Watchers},
    token::SessionId,
};

/// Maximum number of reads that run concurrently on the threads of their callers.
const MAX_INLINE: usize = 8;

/// The settings of a store.
#[derive(Debug)]
pub(super) struct Settings {
    /// The path of the file, or `None` if the database is in memory.
    pub(super) path: Option<PathBuf>,
    pub(super) durability: Durability,
    pub(super) lock_timeout: Duration,
    pub(super) readers: usize,
    pub(super) cleanup_interval: Option<Duration>,
}

/// The handle to the threads of a store. The threads end after the handle is dropped.
pub(super) struct Threads {
    inline: InlineReads,
    reads: Arc<Queue<Box<dyn Task>>>,
    writes: Arc<Queue<Box<dyn Task>>>,
    watchers: Watchers,
    /// Closed when the last thread has ended.
    ended: watch::Receiver<()>,
}

/// Each thread holds a clone, and drops it when the thread ends.
type Running = Arc<watch::Sender<()>>;

impl Threads {
    /// Opens the database and starts the threads.
    pub(super) async fn start(settings: Settings) -> Result<Self, StoreError> {
        let (opened, threads) = oneshot::channel();
        spawn("ruts-sqlite-writer", move || {
            set_lock_timeout(settings.lock_timeout);
            match Self::open(settings) {
                Ok((threads, writer, running)) => {
                    // If the caller was dropped, this drops `threads`, which closes the queues.
                    drop(opened.send(Ok(threads)));
                    writer.run();
                    // The file is closed before the end is reported.
                    drop(writer);
                    drop(running);
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        })?;
        threads.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Opens the connections and starts the readers, on the thread of the writer.
    fn open(settings: Settings) -> Result<(Self, Writer, Running), StoreError> {
        // The path is made absolute, because the process may change its working directory later.
        let path = settings.path.map(absolute).transpose();
        let path = path.map_err(|_| unavailable("the path of the database is empty"))?;
        let connection =
            ConnectionSettings { path, durability: settings.durability, clock: Arc::default() };
        let database = Database::open(&connection)?;
        tables::prepare(&database)?;
        let (running, ended) = watch::channel(());
        let running = Arc::new(running);
        let writes = Arc::new(Queue::new());
        // A database in memory has only one connection, so reads use the queue of the writer.
        let has_readers = connection.path.is_some();
        let reads = if has_readers { Arc::new(Queue::new()) } else { Arc::clone(&writes) };
        let watchers = Watchers::default();
        let writer = Writer {
            database,
            queue: Arc::clone(&writes),
            watchers: watchers.clone(),
            reserve: connection.path.as_deref().map(Reserve::beside),
            cleanup_interval: settings.cleanup_interval,
        };
        let inline = (0..if has_readers { inline_connections() } else { 0 })
            .map(|_| Database::open(&connection))
            .collect::<Result<_, _>>()?;
        let inline = InlineReads::new(inline);
        let threads = Self { inline, reads, writes, watchers, ended };
        for _ in 0..if has_readers { settings.readers } else { 0 } {
            let database = Database::open(&connection)?;
            let (reads, running) = (Arc::clone(&threads.reads), Arc::clone(&running));
            spawn("ruts-sqlite-reader", move || {
                set_lock_timeout(settings.lock_timeout);
                readers::run(&database, &reads);
                drop(database);
                drop(running);
            })?;
        }
        Ok((threads, writer, running))
    }

    /// Runs an operation that reads one session, if possible on the thread of the caller.
    pub(super) async fn read_one<T: Send + 'static>(
        &self,
        mut operation: impl FnMut(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.inline.run(&mut operation) {
            Some(answer) => {
                // Otherwise, a task that only reads would never let other tasks run.
                consume_budget().await;
                Ok(answer)
            }
            None => self.read(operation).await,
        }
    }

    /// Runs an operation on a thread that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: impl FnMut(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.reads, false, operation).await
    }

    /// Runs an operation on the thread that writes. `ends` is true if the operation ends a session,
    /// replaces a secret or signs out. A full disk must not prevent such an operation.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        ends: bool,
        operation: impl FnMut(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.writes, ends, operation).await
    }

    /// Watches a session from now on. The future ends when the session ends or changes its
    /// principal.
    pub(super) fn watch(&self, id: &SessionId) -> impl Future<Output = ()> + Send + use<> {
        let changed = self.watchers.watch(id);
        // From now on the writer looks for changes by other processes.
        self.writes.wake();
        changed
    }

    /// Refuses new operations, and waits until the earlier ones are answered and the file is
    /// closed.
    pub(super) async fn close(&self) {
        self.refuse();
        let mut ended = self.ended.clone();
        // Nothing is ever sent. `changed` fails when the last thread drops the sender.
        while ended.changed().await.is_ok() {}
    }

    /// Refuses new operations. Closing the last connection takes time. So the connections for
    /// inline reads are closed first, and a thread of the store closes the last connection.
    fn refuse(&self) {
        self.inline.close();
        self.reads.close();
        self.writes.close();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.refuse();
    }
}

async fn run<T: Send + 'static>(
    queue: &Queue<Box<dyn Task>>,
    may_use_reserve: bool,
    operation: impl FnMut(&Database) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (task, answer) = task(may_use_reserve, operation);
    if !queue.push(task) {
        return Err(unavailable("the store is closed"));
    }
    answer.await.unwrap_or_else(|_| Err(lost()))
}

fn inline_connections() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_INLINE)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map(drop).map_err(|_| unavailable("the operating system could not start a thread"))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use super::{super::queue::AbandonOnDrop, *};
    use crate::store::StoreErrorKind;

    async fn start() -> Arc<Threads> {
        let settings = Settings {
            path: None,
            durability: Durability::Full,
            lock_timeout: Duration::ZERO,
            readers: 1,
            cleanup_interval: None,
        };
        Arc::new(Threads::start(settings).await.unwrap())
    }

    /// Keeps the writer busy until the barrier is reached, so that later operations wait together.
    async fn hold(threads: &Arc<Threads>) -> Arc<Barrier> {
        let release = Arc::new(Barrier::new(2));
        let (wait, (started, has_started)) = (Arc::clone(&release), oneshot::channel::<()>());
        let mut started = Some(started);
        let held = Arc::clone(threads);
        tokio::spawn(async move {
            let hold = held.write(false, move |_| {
                drop(started.take());
                wait.wait();
                Ok(())
            });
            hold.await
        });
        let _ = has_started.await;
        release
    }

    fn insert(threads: &Arc<Threads>, sql: &'static str) -> impl Future<Output = Outcome> {
        let threads = Arc::clone(threads);
        async move { threads.write(false, move |database| database.execute(sql, [])).await }
    }

    type Outcome = Result<usize, StoreError>;

    const GOOD: &str = "insert into ruts_fields values (1, random(), x'', null, 0)";

    async fn fields(threads: &Threads) -> i64 {
        let count = "select count(*) from ruts_fields";
        let count = threads.read(move |database| database.row(count, [], |row| row.get(0)));
        count.await.unwrap().unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failure_concerns_its_own_operation_alone() {
        let threads = start().await;
        let release = hold(&threads).await;
        let operations = async {
            tokio::join!(
                biased;
                insert(&threads, GOOD),
                insert(&threads, "insert into missing values (1)"),
                async {
                    threads.write(false, |_| -> Outcome { panic!("in an operation") }).await
                },
                insert(&threads, GOOD),
                // All four operations wait now.
                async {
                release.wait();
            },
            )
        };
        let (first, missing, panicked, last, ()) = operations.await;
        assert_eq!((first.unwrap(), last.unwrap()), (1, 1));
        assert_eq!(missing.unwrap_err().kind(), StoreErrorKind::Unsupported);
        assert_eq!(panicked.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert_eq!(fields(&threads).await, 2, "each operation should be applied once");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn operations_that_wait_share_a_transaction() {
        let threads = start().await;
        let release = hold(&threads).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let count = |database: &Database, runs: &AtomicUsize| {
            let changes = database.row("select total_changes()", [], |row| row.get::<_, i64>(0))?;
            runs.fetch_add(1, Ordering::Relaxed);
            database.execute(GOOD, [])?;
            Ok(changes)
        };
        let (one, two) = (Arc::clone(&runs), Arc::clone(&runs));
        let failing = "insert into missing values (1)";
        let (first, second, failed, ()) = tokio::join!(
            biased;
            threads.write(false, move |database| count(database, &one)),
            threads.write(false, move |database| count(database, &two)),
            insert(&threads, failing),
            async {
                release.wait();
            },
        );
        assert!(first.is_ok() && second.is_ok() && failed.is_err());
        assert_eq!(
            runs.load(Ordering::Relaxed),
            4,
            "each operation should run with the others, and then alone"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dropped_operation_that_waits_is_not_carried_out() {
        let threads = start().await;
        let release = hold(&threads).await;
        let mut dropped = Box::pin(insert(&threads, GOOD));
        let first_poll = std::future::poll_fn(|context| {
            assert!(dropped.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        });
        first_poll.await;
        drop(dropped);
        release.wait();
        assert_eq!(fields(&threads).await, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn closing_answers_what_has_begun() {
        let threads = start().await;
        let release = hold(&threads).await;
        let (waiting, (), ()) = tokio::join!(
            biased;
            insert(&threads, GOOD),
            threads.close(),
            async {
                release.wait();
            },
        );
        assert_eq!(waiting.unwrap(), 1);
        let late = insert(&threads, GOOD).await.unwrap_err();
        assert_eq!(late.kind(), StoreErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_queue_without_a_thread_answers() {
        let queue = Queue::new();
        let (task, answer) = task(false, |_| Ok(()));
        assert!(queue.push(task));
        drop(AbandonOnDrop(&queue));
        assert!(answer.await.is_err(), "the caller should get an error");
        assert!(!queue.push(self::task(false, |_| Ok(())).0));
    }
}
