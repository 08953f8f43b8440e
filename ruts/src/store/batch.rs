//! A generic batcher: [`Batcher`] sends concurrent operations of one kind to a server as one
//! command.
//!
//! Used by the Redis and PostgreSQL stores, which implement [`BatchOp`] for reads, writes and cache
//! lookups. Knows tokio, and nothing of sessions or drivers.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    mem::replace,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// A kind of operation that can be sent alone, or as one command together with others of its kind.
pub(super) trait BatchOp: Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    /// The share of one request in the answer to a batch.
    type Part: Send + 'static;
    type Answer: Send + 'static;
    type Error: Clone + Send + 'static;

    /// Whether the request may be sent in a batch at all.
    fn can_batch(&self, request: &Self::Request) -> bool;

    /// Whether `next` may join a batch, which is not empty.
    fn can_join(&self, batch: &[Self::Request], next: &Self::Request) -> bool;

    /// Whether a request that may not join a batch goes to the end of the queue, so that others are
    /// sent first: the batch has requests of its session.
    fn yields_to_others(&self, _batch: &[Self::Request], _next: &Self::Request) -> bool {
        false
    }

    /// Sends one request alone.
    fn one(
        &self,
        request: &Self::Request,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;

    /// Sends at least two requests as one command, and returns a part for each, in their order.
    /// `None` stands for a request that was not carried out and has to be sent alone.
    fn many(
        &self,
        requests: &[Self::Request],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Option<Self::Part>>, Self::Error>> + Send;

    /// Turns a part into the answer, in the task of the caller. `None` if the request was not
    /// carried out and has to be sent alone.
    fn decode(
        &self,
        request: &Self::Request,
        part: Self::Part,
    ) -> Option<Result<Self::Answer, Self::Error>>;

    /// The error of a request that waited too long to be sent.
    fn timed_out() -> Self::Error;

    /// The error of a request whose runtime shut down.
    fn shut_down() -> Self::Error;
}

/// When a [`Batcher`] sends what is pending.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchTuning {
    /// Maximum number of commands in flight. Below it an operation is sent at once.
    pub(super) max_in_flight: usize,
    /// A batch of this size marks the server as busy, until a smaller one is sent. On a busy server
    /// an arriving operation waits until nothing is in flight: larger batches cost less for each.
    pub(super) high_water: usize,
    /// On a busy server a finished command lets the next batch go if fewer than this are in flight.
    pub(super) low_water: usize,
    /// With this number of operations pending, a batch goes up to `max_in_flight` even on a busy
    /// server.
    pub(super) flush_at: usize,
    /// A command that takes longer no longer counts as in flight, so that it holds up no others.
    pub(super) slow_after: Duration,
}

impl BatchTuning {
    pub(super) const fn new(max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            high_water: 8,
            low_water: 2,
            flush_at: 32,
            slow_after: Duration::from_millis(200),
        }
    }
}

/// Batches concurrent operations. Up to [`max_in_flight`](BatchTuning::max_in_flight) commands run
/// at once. Later operations queue and are sent as one command when a slot frees up.
///
/// A task sends each command, so that a caller that is dropped or no longer polled holds up no
/// other.
pub(super) struct Batcher<Op: BatchOp> {
    op: Op,
    tuning: BatchTuning,
    timeout: Duration,
    /// One for each runtime with commands in flight: a runtime that is no longer driven blocks its
    /// own alone.
    lanes: Mutex<Vec<Lane<Op>>>,
}

/// The operations of one runtime.
struct Lane<Op: BatchOp> {
    runtime: Handle,
    in_flight: usize,
    is_busy: bool,
    pending: VecDeque<Pending<Op>>,
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
    /// The earliest deadline among them.
    deadline: Instant,
    span: Span,
}

/// The reply to the caller of an operation.
enum Reply<Op: BatchOp> {
    /// It was sent alone.
    Answer(Result<Op::Answer, Op::Error>),
    /// It was sent in a batch. The request comes back, so that its memory is freed where it was
    /// made.
    Part(Op::Request, Result<Option<Op::Part>, Op::Error>),
}

/// The right of a command to be in flight. Dropping it lets the next batch go.
struct InFlightPermit<Op: BatchOp> {
    batcher: Arc<Batcher<Op>>,
    runtime: Handle,
    is_finished: bool,
}

impl<Op: BatchOp> Batcher<Op> {
    pub(super) fn new(op: Op, tuning: BatchTuning, timeout: Duration) -> Self {
        Self { op, tuning, timeout, lanes: Mutex::default() }
    }

    /// Carries out an operation within the timeout.
    ///
    /// It waits in the queue for at most half of the timeout, so that enough is left to send it.
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

    /// Carries out an operation like [`run`](Self::run) whose time began earlier.
    pub(super) async fn run_since(
        self: &Arc<Self>,
        request: Op::Request,
        begun: Instant,
    ) -> Result<Op::Answer, Op::Error> {
        let deadline = begun + self.timeout;
        let mut request = request;
        if self.op.can_batch(&request) {
            let Some(reply) = self.enqueue(request, begun) else { return Err(Op::shut_down()) };
            match reply.await {
                Ok(Reply::Answer(answer)) => return answer,
                Ok(Reply::Part(own, part)) => {
                    let answer = part.map(|part| self.op.decode(&own, part?));
                    match answer {
                        Ok(Some(answer)) => return answer,
                        Ok(None) => request = own,
                        Err(error) => return Err(error),
                    }
                }
                Err(_) => return Err(Op::shut_down()),
            }
        }
        // Boxed: it is rare, and would make every future as large.
        Box::pin(self.op.one(&request, deadline)).await
    }

    /// Queues an operation, and sends what may go. `None` outside of a runtime.
    fn enqueue(
        self: &Arc<Self>,
        request: Op::Request,
        begun: Instant,
    ) -> Option<oneshot::Receiver<Reply<Op>>> {
        let runtime = Handle::try_current().ok()?;
        let (reply, receiver) = oneshot::channel();
        let pending = Pending { request, queued: begun, span: Span::current(), reply };
        let batch = self.with_lane(&runtime, |lane| {
            lane.pending.push_back(pending);
            lane.next_batch(self, 1)
        });
        self.send(runtime, batch);
        Some(receiver)
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
        let mut permit = InFlightPermit { batcher, runtime, is_finished: false };
        let (span, is_large) = (batch.span.clone(), batch.requests.len() > 1);
        let this = Arc::clone(self);
        let task = async move {
            let mut sending = std::pin::pin!(this.carry_out(batch));
            let is_quick = timeout(this.tuning.slow_after, sending.as_mut()).await.is_ok();
            if is_quick && is_large {
                // The callers that were answered may have more to send, which can join the next
                // batch.
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
        // A receiver that is gone is fine: its caller was cancelled.
        if let [request] = &requests[..]
            && let Some(reply) = replies.pop()
        {
            let answer = self.op.one(request, deadline).await;
            return drop(reply.send(Reply::Answer(answer)));
        }
        let mut parts = match self.op.many(&requests, deadline).await {
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

/// Lets those tasks of this worker run that are ready. `yield_now` would wait until it has nothing
/// else to do.
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
        let Self { batcher, runtime, is_finished } = self;
        // The runtime is shutting down. It would drop the next task within this very call.
        if !*is_finished && !panicking() {
            batcher.lock().retain(|lane| lane.runtime.id() != runtime.id());
            return;
        }
        let batch = batcher.with_lane(runtime, |lane| {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.next_batch(batcher, batcher.tuning.low_water)
        });
        batcher.send(runtime.clone(), batch);
    }
}

impl<Op: BatchOp> Lane<Op> {
    fn new(runtime: &Handle) -> Self {
        Self { runtime: runtime.clone(), in_flight: 0, is_busy: false, pending: VecDeque::new() }
    }

    /// Takes the operations that go now, if fewer commands than allowed are in flight: `when_busy`
    /// of them on a busy server.
    fn next_batch(&mut self, batcher: &Batcher<Op>, when_busy: usize) -> Option<Batch<Op>> {
        let BatchTuning { max_in_flight, high_water, flush_at, .. } = batcher.tuning;
        let waits = self.is_busy && self.pending.len() < flush_at;
        let limit = if waits { when_busy.min(max_in_flight) } else { max_in_flight };
        if self.in_flight >= limit {
            return None;
        }
        let (now, timeout) = (Instant::now(), batcher.timeout);
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        let (mut deadline, mut first, mut last) = (now + timeout, None, VecDeque::new());
        for pending in std::mem::take(&mut self.pending) {
            if pending.reply.is_closed() {
                continue;
            }
            if now.duration_since(pending.queued) > timeout / 2 {
                drop(pending.reply.send(Reply::Answer(Err(Op::timed_out()))));
            } else if requests.is_empty() || batcher.op.can_join(&requests, &pending.request) {
                deadline = deadline.min(pending.queued + timeout);
                first.get_or_insert(pending.span);
                requests.push(pending.request);
                replies.push(pending.reply);
            } else if batcher.op.yields_to_others(&requests, &pending.request) {
                last.push_back(pending);
            } else {
                self.pending.push_back(pending);
            }
        }
        self.pending.append(&mut last);
        self.is_busy = requests.len() >= high_water;
        let span = first?;
        self.in_flight += 1;
        Some(Batch { requests, replies, deadline, span })
    }
}
