//! A generic batcher: [`Batcher`] sends concurrent operations of one kind to a server as one
//! command.
//!
//! Used by the stores on servers, which implement [`BatchOp`] for reads, writes and cache lookups.
//! Knows tokio, and nothing about sessions or drivers.

use std::{
    future::{Future, poll_fn},
    hash::Hash,
    mem::replace,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread::panicking,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout},
};
use tracing::{Instrument, Span};

use super::fair_queue::{FairQueue, Offered};

/// A kind of operation. One operation can be sent in a command of its own, or batched with other
/// operations of its kind.
pub(super) trait BatchOp: Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    /// Identifies the session of a request.
    type Key: Copy + Eq + Hash + Send;
    /// The part of a batch's answer that belongs to one request.
    type Part: Send + 'static;
    type Answer: Send + 'static;
    type Error: Clone + Send + 'static;

    /// Returns whether the request may be sent in a batch at all.
    fn can_batch(&self, request: &Self::Request) -> bool;

    /// Returns whether `next` may join a non-empty batch.
    fn can_join(&self, batch: &[Self::Request], next: &Self::Request) -> bool;

    /// Returns the session of a request.
    fn key(request: &Self::Request) -> Self::Key;

    /// Returns whether the session of `next` already has its share of the batch, so that `next` may
    /// not join.
    fn has_its_share(&self, batch: &[Self::Request], next: &Self::Request) -> bool;

    /// Sends one request in a command of its own.
    fn send_one(
        &self,
        request: &Self::Request,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;

    /// Sends one request like [`send_one`](Self::send_one). Until the future is polled again, it
    /// may hold a resource that other operations need, such as a connection. A task of the batcher
    /// polls this future, or one of at most [`max_callers`](BatchTuning::max_callers) callers.
    fn send_inline(
        &self,
        request: &Self::Request,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send {
        self.send_one(request, deadline)
    }

    /// Resends a request that its batch did not carry out, in a command of its own.
    fn resend(
        &self,
        request: &Self::Request,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send {
        self.send_one(request, deadline)
    }

    /// Sends at least two requests as one command, in a task of the batcher, and returns a part for
    /// each, in order. If a part is `None` or missing, its request was not carried out and has to
    /// be sent in a command of its own.
    fn send_batch(
        &self,
        requests: &[Self::Request],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Option<Self::Part>>, Self::Error>> + Send;

    /// Decodes a part into the answer, in the task of the caller. Returns `None` if the request was
    /// not carried out and has to be sent in a command of its own.
    fn decode(
        &self,
        request: &Self::Request,
        part: Self::Part,
    ) -> Option<Result<Self::Answer, Self::Error>>;

    /// Returns the error of a request that waited too long to be sent.
    fn timed_out() -> Self::Error;

    /// Returns the error of a request whose runtime shut down.
    fn shut_down() -> Self::Error;
}

/// The thresholds at which a [`Batcher`] sends pending operations.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchTuning {
    /// Maximum number of commands in flight. Below this number, an operation is sent immediately,
    /// unless the server is busy. At most one of these commands carries queued requests of busy
    /// sessions. A session is busy if it has more pending requests than its share of a batch.
    pub(super) max_in_flight: usize,
    /// A batch of at least this many operations marks the server as busy until a smaller batch is
    /// sent. Operations of busy sessions do not count. On a busy server, an operation is sent on
    /// its arrival only if nothing is in flight, because larger batches cost less per operation.
    pub(super) high_water: usize,
    /// On a busy server, when a command ends, the next batch is sent if fewer than this many
    /// commands are still in flight.
    pub(super) low_water: usize,
    /// If at least this many operations are pending, only `max_in_flight` limits the commands, even
    /// on a busy server. Operations of busy sessions do not count.
    pub(super) flush_at: usize,
    /// After this time, a command is no longer counted as in flight, so that a slow command does
    /// not delay other commands.
    pub(super) slow_after: Duration,
    /// Maximum number of callers that send their own operations [inline](BatchOp::send_inline).
    /// Callers beyond this number use [`send_one`](BatchOp::send_one). Callers that stop polling
    /// count, too.
    pub(super) max_callers: usize,
}

impl BatchTuning {
    pub(super) const fn new(max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            max_callers: usize::MAX,
            high_water: 8,
            low_water: 2,
            flush_at: 32,
            slow_after: Duration::from_millis(200),
        }
    }

    /// Creates the tuning of commands that each hold a connection. Callers that stop polling hold
    /// at most a quarter of these connections.
    #[cfg(any(feature = "mysql-store", feature = "postgres-store"))]
    pub(super) const fn on_connections(max_in_flight: usize) -> Self {
        Self { max_callers: max_in_flight / 4, ..Self::new(max_in_flight) }
    }
}

/// Batches concurrent operations. Up to [`max_in_flight`](BatchTuning::max_in_flight) commands are
/// in flight. Later operations queue. When a command ends, queued operations are sent as one
/// command.
///
/// If nothing is in flight, a caller sends its own operation. A separate task sends the queued
/// operations. If a caller stops polling the operation that it sends itself, other operations wait
/// for at most [`slow_after`](BatchTuning::slow_after).
pub(super) struct Batcher<Op: BatchOp> {
    op: Op,
    tuning: BatchTuning,
    timeout: Duration,
    /// One lane for each runtime with commands in flight. If a runtime stops polling its tasks,
    /// only its own operations wait.
    lanes: Mutex<Vec<Lane<Op>>>,
    /// Number of callers that send their own operations.
    callers: AtomicUsize,
}

/// The operations of one runtime.
struct Lane<Op: BatchOp> {
    runtime: Handle,
    in_flight: usize,
    /// The moment at which a caller began to send its own operation. `None` if no caller is sending
    /// one. The operation counts as in flight.
    caller: Option<Instant>,
    is_busy: bool,
    /// Whether a command in flight may carry requests of a busy session.
    has_busy_in_flight: bool,
    pending: FairQueue<Op::Key, Pending<Op>>,
}

/// How an operation begins.
enum Start<Op: BatchOp> {
    /// The caller of the operation sends it.
    ByCaller(Op::Request, CallerPermit<Op>),
    Queued(oneshot::Receiver<Reply<Op>>),
    /// The operation is queued while another caller sends its own operation. That caller may stop
    /// polling.
    BehindCaller(oneshot::Receiver<Reply<Op>>),
}

/// An operation that waits to be sent.
struct Pending<Op: BatchOp> {
    request: Op::Request,
    queued: Instant,
    span: Span,
    reply: oneshot::Sender<Reply<Op>>,
}

/// Operations that are sent together.
struct Batch<Op: BatchOp> {
    requests: Vec<Op::Request>,
    replies: Vec<oneshot::Sender<Reply<Op>>>,
    /// The earliest deadline of the requests.
    deadline: Instant,
    span: Span,
    /// Whether the batch may contain requests of a busy session.
    has_busy: bool,
}

/// The reply to the caller of an operation.
enum Reply<Op: BatchOp> {
    /// The operation was sent in a command of its own, or timed out in the queue.
    Answer(Result<Op::Answer, Op::Error>),
    /// The operation was sent in a batch. The request is returned, so that the task that allocated
    /// it also frees it.
    Part(Op::Request, Result<Option<Op::Part>, Op::Error>),
}

/// The right of a command to be in flight. Dropping this permit sends the next batch, if there is
/// one.
struct InFlightPermit<Op: BatchOp> {
    batcher: Arc<Batcher<Op>>,
    runtime: Handle,
    has_busy: bool,
    is_finished: bool,
}

/// The right of a caller to send its own operation. Dropping this permit sends the next batch, if
/// there is one.
struct CallerPermit<Op: BatchOp> {
    batcher: Arc<Batcher<Op>>,
    runtime: Handle,
    since: Instant,
    is_inline: bool,
}

impl<Op: BatchOp> Batcher<Op> {
    pub(super) fn new(op: Op, tuning: BatchTuning, timeout: Duration) -> Self {
        Self { op, tuning, timeout, lanes: Mutex::default(), callers: AtomicUsize::new(0) }
    }

    /// Carries out an operation within the timeout.
    ///
    /// If an operation has waited in the queue for more than half of the timeout, it fails and is
    /// not sent. So at least half of the timeout is left for every operation that is sent.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the operation done or not done.
    pub(super) async fn run(
        self: &Arc<Self>,
        request: Op::Request,
    ) -> Result<Op::Answer, Op::Error> {
        self.run_since(request, Instant::now()).await
    }

    /// Carries out an operation like [`run`](Self::run), but counts the timeout from `begun`.
    pub(super) async fn run_since(
        self: &Arc<Self>,
        request: Op::Request,
        begun: Instant,
    ) -> Result<Op::Answer, Op::Error> {
        let deadline = begun + self.timeout;
        if self.op.can_batch(&request) {
            let reply = match self.start(request, begun) {
                Some(Start::ByCaller(request, permit)) => {
                    // Boxed: the futures of drivers are large.
                    let answer = match permit.is_inline {
                        true => Box::pin(self.op.send_inline(&request, deadline)).await,
                        false => Box::pin(self.op.send_one(&request, deadline)).await,
                    };
                    drop(permit);
                    return answer;
                }
                Some(Start::Queued(reply)) => reply.await,
                Some(Start::BehindCaller(mut reply)) => {
                    match timeout(self.tuning.slow_after, &mut reply).await {
                        Ok(reply) => reply,
                        Err(_) => {
                            self.pass_by_caller();
                            reply.await
                        }
                    }
                }
                None => return Err(Op::shut_down()),
            };
            match reply {
                Ok(Reply::Answer(answer)) => return answer,
                Ok(Reply::Part(own, part)) => {
                    let answer = part.map(|part| self.op.decode(&own, part?));
                    match answer {
                        Ok(Some(answer)) => return answer,
                        // Boxed: this case is rare, and its future would enlarge the future of
                        // every other case.
                        Ok(None) => return Box::pin(self.op.resend(&own, deadline)).await,
                        Err(error) => return Err(error),
                    }
                }
                Err(_) => return Err(Op::shut_down()),
            }
        }
        // Boxed: the futures of drivers are large.
        Box::pin(self.op.send_one(&request, deadline)).await
    }

    /// Lets the caller send its operation if nothing is in flight or pending. Otherwise queues the
    /// operation, and sends a batch if the tuning permits one. Returns `None` outside a runtime.
    fn start(self: &Arc<Self>, request: Op::Request, begun: Instant) -> Option<Start<Op>> {
        let runtime = Handle::try_current().ok()?;
        let (start, batch) = self.with_lane(&runtime, |lane| {
            let since = Instant::now();
            lane.pass_by_caller(since, self.tuning.slow_after);
            if lane.in_flight == 0 && lane.pending.is_empty() {
                (lane.in_flight, lane.caller, lane.is_busy) = (1, Some(since), false);
                let permit = CallerPermit {
                    batcher: Arc::clone(self),
                    runtime: runtime.clone(),
                    since,
                    is_inline: self.callers.fetch_add(1, Ordering::Relaxed)
                        < self.tuning.max_callers,
                };
                return (Start::ByCaller(request, permit), None);
            }
            let (reply, receiver) = oneshot::channel();
            let pending = Pending { request, queued: begun, span: Span::current(), reply };
            lane.pending.push(pending);
            let batch = lane.next_batch(self, 1);
            let is_behind = lane.caller.is_some() && batch.is_none();
            let start = if is_behind { Start::BehindCaller } else { Start::Queued };
            (start(receiver), batch)
        });
        self.send(runtime, batch);
        Some(start)
    }

    /// Sends the operations that wait behind a slow caller.
    fn pass_by_caller(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let batch = self.with_lane(&runtime, |lane| {
            lane.pass_by_caller(Instant::now(), self.tuning.slow_after);
            lane.next_batch(self, self.tuning.low_water)
        });
        self.send(runtime, batch);
    }

    fn with_lane<T>(&self, runtime: &Handle, work: impl FnOnce(&mut Lane<Op>) -> T) -> T {
        let mut lanes = self.lock();
        let place = lanes.iter().position(|lane| lane.runtime.id() == runtime.id());
        let place = place.unwrap_or_else(|| {
            lanes.push(Lane::new(runtime));
            lanes.len() - 1
        });
        let answer = work(&mut lanes[place]);
        if lanes[place].in_flight == 0 {
            lanes.swap_remove(place);
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lane<Op>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns the task that sends a batch.
    fn send(self: &Arc<Self>, runtime: Handle, batch: Option<Batch<Op>>) {
        let Some(batch) = batch else { return };
        let (batcher, spawner) = (Arc::clone(self), runtime.clone());
        let has_busy = batch.has_busy;
        let mut permit = InFlightPermit { batcher, runtime, has_busy, is_finished: false };
        let (span, is_large) = (batch.span.clone(), batch.requests.len() > 1);
        let this = Arc::clone(self);
        let task = async move {
            let mut sending = std::pin::pin!(this.carry_out(batch));
            let is_quick = timeout(this.tuning.slow_after, sending.as_mut()).await.is_ok();
            if is_quick && is_large {
                // The callers that were answered may start further operations now, which then join
                // the next batch.
                let_other_tasks_run().await;
            }
            permit.is_finished = true;
            drop(permit);
            if !is_quick {
                sending.await;
            }
        };
        spawner.spawn(task.instrument(span));
    }

    async fn carry_out(&self, batch: Batch<Op>) {
        let Batch { requests, mut replies, deadline, .. } = batch;
        // A dropped receiver is fine: its caller was cancelled.
        if let [request] = &requests[..]
            && let Some(reply) = replies.pop()
        {
            let answer = self.op.send_inline(request, deadline).await;
            return drop(reply.send(Reply::Answer(answer)));
        }
        let mut parts = match self.op.send_batch(&requests, deadline).await {
            Ok(parts) => Ok(parts.into_iter()),
            Err(error) => Err(error),
        };
        for (request, reply) in requests.into_iter().zip(replies) {
            let part = match &mut parts {
                Ok(parts) => Ok(parts.next().flatten()),
                Err(error) => Err(error.clone()),
            };
            drop(reply.send(Reply::Part(request, part)));
        }
    }
}

/// Lets the ready tasks of this worker thread run. `yield_now` would resume only when the worker
/// has nothing else to do.
async fn let_other_tasks_run() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<Op: BatchOp> Drop for InFlightPermit<Op> {
    fn drop(&mut self) {
        let Self { batcher, runtime, has_busy, is_finished } = self;
        // If the command is unfinished without a panic, the runtime is shutting down. The runtime
        // would drop the next task inside `spawn`, and the drop would call this function
        // recursively.
        if !*is_finished && !panicking() {
            batcher.lock().retain(|lane| lane.runtime.id() != runtime.id());
            return;
        }
        let batch = batcher.with_lane(runtime, |lane| {
            lane.end_command();
            lane.has_busy_in_flight &= !*has_busy;
            lane.next_batch(batcher, batcher.tuning.low_water)
        });
        batcher.send(runtime.clone(), batch);
    }
}

impl<Op: BatchOp> Drop for CallerPermit<Op> {
    fn drop(&mut self) {
        let Self { batcher, runtime, since, .. } = self;
        batcher.callers.fetch_sub(1, Ordering::Relaxed);
        let batch = batcher.with_lane(runtime, |lane| {
            if lane.caller == Some(*since) {
                lane.caller = None;
                lane.end_command();
            }
            lane.next_batch(batcher, batcher.tuning.low_water)
        });
        batcher.send(runtime.clone(), batch);
    }
}

impl<Op: BatchOp> Lane<Op> {
    fn new(runtime: &Handle) -> Self {
        Self {
            runtime: runtime.clone(),
            in_flight: 0,
            caller: None,
            is_busy: false,
            has_busy_in_flight: false,
            pending: FairQueue::new(),
        }
    }

    /// Stops counting a slow caller as in flight.
    fn pass_by_caller(&mut self, now: Instant, slow_after: Duration) {
        if self.caller.is_some_and(|since| now.duration_since(since) >= slow_after) {
            self.caller = None;
            self.end_command();
        }
    }

    /// Stops counting a command as in flight. A lane that a shutdown has replaced may not know the
    /// command.
    fn end_command(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Takes the operations of the next batch, if fewer commands are in flight than allowed. On a
    /// busy server, at most `when_busy` are allowed, unless `flush_at` operations are pending.
    fn next_batch(&mut self, batcher: &Batcher<Op>, when_busy: usize) -> Option<Batch<Op>> {
        let BatchTuning { max_in_flight, high_water, flush_at, .. } = batcher.tuning;
        let limit = if self.is_busy && self.pending.arrived() < flush_at {
            when_busy.min(max_in_flight)
        } else {
            max_in_flight
        };
        if self.in_flight >= limit {
            return None;
        }
        let (now, timeout) = (Instant::now(), batcher.timeout);
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        let (mut deadline, mut first) = (now + timeout, None);
        let offer = |pending: Pending<Op>| {
            if pending.reply.is_closed() {
                return Offered::Taken;
            }
            if now.duration_since(pending.queued) > timeout / 2 {
                drop(pending.reply.send(Reply::Answer(Err(Op::timed_out()))));
                return Offered::Taken;
            }
            if !requests.is_empty() && !batcher.op.can_join(&requests, &pending.request) {
                let has_its_share = batcher.op.has_its_share(&requests, &pending.request);
                return (if has_its_share { Offered::Busy } else { Offered::Waits })(pending);
            }
            deadline = deadline.min(pending.queued + timeout);
            first.get_or_insert(pending.span);
            requests.push(pending.request);
            replies.push(pending.reply);
            Offered::Taken
        };
        let with_busy = !self.has_busy_in_flight;
        self.pending.offer(with_busy, |pending| Op::key(&pending.request), offer);
        let span = first?;
        let has_busy = with_busy && self.pending.has_busy();
        self.has_busy_in_flight |= has_busy;
        let of_others = |request: &&Op::Request| !self.pending.is_busy(Op::key(request));
        self.is_busy = requests.iter().filter(of_others).count() >= high_water;
        self.in_flight += 1;
        Some(Batch { requests, replies, deadline, span, has_busy })
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Context};

    use tokio::sync::Semaphore;

    use super::*;

    /// A request of a session whose share of a batch is eight requests.
    const BUSY_SESSION: u32 = 0;

    /// Records the requests that are sent, and answers when the test permits it.
    #[derive(Default)]
    struct Echo {
        /// The requests of each command, and the number of tasks of the runtime when the command
        /// was sent.
        sent: Mutex<Vec<(Vec<u32>, usize)>>,
        answers: Option<Semaphore>,
        /// The requests that were sent inline.
        inline: Mutex<Vec<u32>>,
    }

    impl Echo {
        async fn answer(&self, requests: &[u32]) {
            let tasks = Handle::current().metrics().num_alive_tasks();
            self.sent.lock().unwrap().push((requests.to_vec(), tasks));
            if let Some(answers) = &self.answers {
                answers.acquire().await.unwrap().forget();
            }
        }
    }

    impl BatchOp for Echo {
        type Request = u32;
        type Key = u32;
        type Part = u32;
        type Answer = u32;
        type Error = &'static str;

        fn can_batch(&self, _: &u32) -> bool {
            true
        }

        fn can_join(&self, batch: &[u32], next: &u32) -> bool {
            *next != BUSY_SESSION || batch.iter().filter(|request| *request == next).count() < 8
        }

        fn key(request: &u32) -> u32 {
            *request
        }

        fn has_its_share(&self, batch: &[u32], next: &u32) -> bool {
            !self.can_join(batch, next)
        }

        async fn send_one(&self, request: &u32, _: Instant) -> Result<u32, Self::Error> {
            self.answer(&[*request]).await;
            Ok(*request)
        }

        async fn send_inline(&self, request: &u32, deadline: Instant) -> Result<u32, Self::Error> {
            self.inline.lock().unwrap().push(*request);
            self.send_one(request, deadline).await
        }

        async fn send_batch(
            &self,
            requests: &[u32],
            _: Instant,
        ) -> Result<Vec<Option<u32>>, Self::Error> {
            self.answer(requests).await;
            Ok(requests.iter().copied().map(Some).collect())
        }

        fn decode(&self, _: &u32, part: u32) -> Option<Result<u32, Self::Error>> {
            Some(Ok(part))
        }

        fn timed_out() -> Self::Error {
            "timed out"
        }

        fn shut_down() -> Self::Error {
            "shut down"
        }
    }

    fn batcher(max_in_flight: usize, answers: Option<Semaphore>) -> Arc<Batcher<Echo>> {
        let echo = Echo { answers, ..Echo::default() };
        Arc::new(Batcher::new(echo, BatchTuning::new(max_in_flight), Duration::from_secs(10)))
    }

    fn sent(batcher: &Batcher<Echo>) -> Vec<Vec<u32>> {
        batcher.op.sent.lock().unwrap().iter().map(|(requests, _)| requests.clone()).collect()
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test]
    async fn an_operation_alone_needs_no_task() {
        let batcher = batcher(1, None);
        for request in 1..4 {
            assert_eq!(batcher.run(request).await, Ok(request));
        }
        let sent = batcher.op.sent.lock().unwrap();
        assert_eq!(*sent, [(vec![1], 0), (vec![2], 0), (vec![3], 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_dropped_lets_others_go() {
        let batcher = batcher(1, Some(Semaphore::new(0)));
        let mut first = Box::pin(batcher.run(1));
        assert!(poll(first.as_mut()).is_pending());
        let others = [2, 3].map(|request| {
            let batcher = Arc::clone(&batcher);
            tokio::spawn(async move { batcher.run(request).await })
        });
        tokio::task::yield_now().await;
        assert_eq!(
            sent(&batcher),
            [[1]],
            "later requests should wait until the first command ends"
        );
        drop(first);
        batcher.op.answers.as_ref().unwrap().add_permits(1);
        for (other, request) in others.into_iter().zip([2, 3]) {
            assert_eq!(other.await.unwrap(), Ok(request));
        }
        assert_eq!(sent(&batcher), [vec![1], vec![2, 3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_not_polled_holds_others_up_for_a_moment() {
        let batcher = batcher(1, Some(Semaphore::new(0)));
        let mut held = pin!(batcher.run(1));
        assert!(poll(held.as_mut()).is_pending());
        batcher.op.answers.as_ref().unwrap().add_permits(3);
        let begun = Instant::now();
        assert_eq!(batcher.run(2).await, Ok(2));
        assert_eq!(begun.elapsed(), batcher.tuning.slow_after);
        assert_eq!(batcher.run(3).await, Ok(3));
        assert_eq!(
            begun.elapsed(),
            batcher.tuning.slow_after,
            "only the second request should wait"
        );
        assert_eq!(held.await, Ok(1));
        assert!(batcher.lock().is_empty());
    }

    /// A caller that stops polling may hold a connection. So the number of such callers is limited.
    #[tokio::test(start_paused = true)]
    async fn callers_beyond_the_maximum_hold_nothing() {
        let echo = Echo { answers: Some(Semaphore::new(0)), ..Echo::default() };
        let tuning = BatchTuning { max_callers: 1, ..BatchTuning::new(1) };
        let batcher = Arc::new(Batcher::new(echo, tuning, Duration::from_secs(10)));
        let mut held = Box::pin(batcher.run(1));
        assert!(poll(held.as_mut()).is_pending());
        batcher.op.answers.as_ref().unwrap().add_permits(4);
        // A task sends this request, and polls it to its end.
        assert_eq!(batcher.run(2).await, Ok(2));
        assert_eq!(batcher.run(3).await, Ok(3));
        assert_eq!(*batcher.op.inline.lock().unwrap(), [1, 2], "the caller of 3 is one too many");
        drop(held);
        assert_eq!(batcher.run(4).await, Ok(4));
        assert_eq!(*batcher.op.inline.lock().unwrap(), [1, 2, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_session_does_not_take_every_command() {
        let batcher = batcher(4, Some(Semaphore::new(0)));
        let start = |request| {
            let batcher = Arc::clone(&batcher);
            tokio::spawn(async move { batcher.run(request).await })
        };
        let sent_after = async |answers: usize| {
            batcher.op.answers.as_ref().unwrap().add_permits(answers);
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            sent(&batcher)
        };
        let busy: Vec<_> = (0..100).map(|_| start(BUSY_SESSION)).collect();
        assert_eq!(
            sent_after(0).await,
            [[BUSY_SESSION]; 4],
            "only the first four requests should be sent"
        );
        assert_eq!(
            sent_after(4).await[4..],
            [[BUSY_SESSION; 8]],
            "only one command should carry busy requests"
        );
        let other = start(1);
        assert_eq!(sent_after(0).await[5..], [[1]], "a different session should not wait");
        assert_eq!(sent_after(1).await[6..], [[BUSY_SESSION; 8]]);
        sent_after(100).await;
        assert_eq!(other.await.unwrap(), Ok(1));
        for request in busy {
            assert_eq!(request.await.unwrap(), Ok(BUSY_SESSION));
        }
    }
}
