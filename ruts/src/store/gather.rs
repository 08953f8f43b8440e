use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot, time::Instant};

/// A way to a server on which operations go alone as long as few are under way. Those that come when there
/// are more wait for one of these to be answered, and then go together: what a command costs a server and
/// its client is more than what it does for one session.
pub(super) trait Gather: Send + Sync + 'static {
    type Work: Send + 'static;
    type Answer: Send + 'static;

    fn queue(&self) -> &Queue<Self::Work, Self::Answer>;

    /// Whether one more can go along with those that are to go, of which there is one at least.
    fn fits(going: &[Waiting<Self::Work, Self::Answer>], next: &Self::Work) -> bool;

    /// What those are told that waited so long that they do not go any more.
    fn too_late() -> Self::Answer;

    /// Sends those that go together, of which there is one at least, and tells each its answer.
    fn send(
        &self,
        waiting: Vec<Waiting<Self::Work, Self::Answer>>,
    ) -> impl Future<Output = ()> + Send;
}

/// Those that wait, and how many commands are under way.
pub(super) struct Queue<W, A>(Mutex<Line<W, A>>);

struct Line<W, A> {
    under_way: usize,
    waiting: VecDeque<Waiting<W, A>>,
}

/// An operation that somebody waits for.
pub(super) struct Waiting<W, A> {
    pub(super) work: W,
    since: Instant,
    timeout: Duration,
    answer: oneshot::Sender<A>,
}

/// Whether an operation goes at once.
pub(super) enum Entered<G: Gather> {
    /// It goes, and makes room when this is dropped.
    Now(G::Work, Option<Turn<G>>),
    /// It goes with others. Without an answer, the runtime that was to send it is gone.
    Later(oneshot::Receiver<G::Answer>),
}

/// A place among those under way. Whoever leaves it, answered or dropped, leaves it to those that wait.
pub(super) struct Turn<G: Gather> {
    gather: Arc<G>,
    runtime: Handle,
}

/// While more than so many commands are under way, so few operations wait for more.
const ENOUGH: usize = 2;
const FEW: usize = 16;

/// Has an operation go, `most` being how many may be under way before it waits.
///
/// It waits for half of its time at most, so that there is enough left to go: what is under way is over when
/// its own time is.
pub(super) fn enter<G: Gather>(
    gather: &Arc<G>,
    work: G::Work,
    timeout: Duration,
    most: usize,
) -> Entered<G> {
    let mut line = gather.queue().lock();
    if line.under_way < most && line.waiting.is_empty() {
        // Without a runtime, nobody could send what waits.
        let Ok(runtime) = Handle::try_current() else { return Entered::Now(work, None) };
        line.under_way += 1;
        return Entered::Now(work, Some(Turn { gather: Arc::clone(gather), runtime }));
    }
    let (answer, later) = oneshot::channel();
    line.waiting.push_back(Waiting { work, since: Instant::now(), timeout, answer });
    Entered::Later(later)
}

impl<G: Gather> Drop for Turn<G> {
    fn drop(&mut self) {
        let next = next(&*self.gather);
        if !next.is_empty() {
            let turn = Self { gather: Arc::clone(&self.gather), runtime: self.runtime.clone() };
            self.runtime.spawn(async move {
                turn.gather.send(next).await;
                drop(turn);
            });
        }
    }
}

/// Those that go together next. If there are none, one command less is under way.
fn next<G: Gather>(gather: &G) -> Vec<Waiting<G::Work, G::Answer>> {
    let now = Instant::now();
    let mut next: Vec<Waiting<_, _>> = Vec::new();
    let mut line = gather.queue().lock();
    if line.under_way <= ENOUGH || line.waiting.len() >= FEW {
        let mut stay = VecDeque::new();
        while let Some(waiting) = line.waiting.pop_front() {
            if waiting.answer.is_closed() {
                continue;
            }
            if now.duration_since(waiting.since) > waiting.timeout / 2 {
                waiting.tell(G::too_late());
            } else if next.is_empty() || G::fits(&next, &waiting.work) {
                next.push(waiting);
            } else {
                stay.push_back(waiting);
            }
        }
        line.waiting = stay;
    }
    if next.is_empty() {
        line.under_way -= 1;
    }
    next
}

impl<W, A> Queue<W, A> {
    fn lock(&self) -> MutexGuard<'_, Line<W, A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W, A> Default for Queue<W, A> {
    fn default() -> Self {
        Self(Mutex::new(Line { under_way: 0, waiting: VecDeque::new() }))
    }
}

impl<W, A> Waiting<W, A> {
    /// By when it has to be answered.
    pub(super) fn deadline(&self) -> Instant {
        self.since + self.timeout
    }

    /// What is to be done, and whom to tell.
    pub(super) fn part(self) -> (W, impl FnOnce(A)) {
        // Who does not wait any more does not mind.
        (self.work, move |answer| drop(self.answer.send(answer)))
    }

    pub(super) fn tell(self, answer: A) {
        self.part().1(answer);
    }
}
