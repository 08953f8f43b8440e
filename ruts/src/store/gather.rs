use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout},
};
use tracing::{Instrument, Span};

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
        self: Arc<Self>,
        waiting: Vec<Waiting<Self::Work, Self::Answer>>,
    ) -> impl Future<Output = ()> + Send;
}

/// Those that wait. Each runtime has a line of its own: one may stop without being dropped, and what it was
/// to send would then keep its place for ever.
pub(super) struct Queue<W, A>(Mutex<Vec<Line<W, A>>>);

struct Line<W, A> {
    runtime: Handle,
    under_way: usize,
    waiting: VecDeque<Waiting<W, A>>,
}

/// An operation that somebody waits for.
pub(super) struct Waiting<W, A> {
    pub(super) work: W,
    since: Instant,
    timeout: Duration,
    span: Span,
    answer: oneshot::Sender<A>,
}

/// A place among those under way. Whoever drops it leaves it to those that wait.
struct Turn<G: Gather> {
    gather: Arc<G>,
    runtime: Handle,
}

/// While more than so many commands are under way, so few operations wait for more.
const ENOUGH: usize = 2;
const FEW: usize = 16;

/// A command that takes longer leaves its place: whoever waits has nothing to do with what holds it up.
const LONG: Duration = Duration::from_millis(200);

/// Has an operation go, `most` being how many may be under way before it waits. No answer comes if the
/// runtime is shutting down.
///
/// It waits for half of its time at most, so that there is enough left to go: what is under way is over when
/// its own time is. A task of its own sends it, so that a caller who does not go on polling holds up nobody.
pub(super) async fn call<G: Gather>(
    gather: &Arc<G>,
    work: G::Work,
    timeout: Duration,
    most: usize,
) -> Option<G::Answer> {
    let runtime = Handle::try_current().ok()?;
    let (answer, told) = oneshot::channel();
    let waiting = Waiting { work, since: Instant::now(), timeout, span: Span::current(), answer };
    if gather.queue().join(waiting, &runtime, most) {
        pass_on(gather, &runtime, false);
    }
    told.await.ok()
}

/// Gives a place to those that go together next.
fn pass_on<G: Gather>(gather: &Arc<G>, runtime: &Handle, may_wait: bool) {
    let going = next(&**gather, runtime, may_wait);
    let Some(first) = going.first() else { return };
    let span = first.span.clone();
    let turn = Turn { gather: Arc::clone(gather), runtime: runtime.clone() };
    let task = async move {
        let mut sending = pin!(Arc::clone(&turn.gather).send(going));
        let is_quick = timeout(LONG, &mut sending).await.is_ok();
        drop(turn);
        if !is_quick {
            sending.await;
        }
    };
    runtime.spawn(task.instrument(span));
}

impl<G: Gather> Drop for Turn<G> {
    fn drop(&mut self) {
        pass_on(&self.gather, &self.runtime, true);
    }
}

/// Those that go together next, perhaps when there are more of them. If there are none, one command less is
/// under way.
fn next<G: Gather>(
    gather: &G,
    runtime: &Handle,
    may_wait: bool,
) -> Vec<Waiting<G::Work, G::Answer>> {
    let now = Instant::now();
    let mut next: Vec<Waiting<_, _>> = Vec::new();
    let mut lines = gather.queue().lock();
    let Some(place) = place_of(&lines, runtime) else { return next };
    let line = &mut lines[place];
    if !may_wait || line.under_way <= ENOUGH || line.waiting.len() >= FEW {
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
        if line.under_way == 0 {
            lines.swap_remove(place);
        }
    }
    next
}

fn place_of<W, A>(lines: &[Line<W, A>], runtime: &Handle) -> Option<usize> {
    lines.iter().position(|line| line.runtime.id() == runtime.id())
}

impl<W, A> Queue<W, A> {
    fn lock(&self) -> MutexGuard<'_, Vec<Line<W, A>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether there is a place to go at once, which is taken then.
    fn join(&self, waiting: Waiting<W, A>, runtime: &Handle, most: usize) -> bool {
        let mut lines = self.lock();
        let place = place_of(&lines, runtime).unwrap_or_else(|| {
            let waiting = VecDeque::new();
            lines.push(Line { runtime: runtime.clone(), under_way: 0, waiting });
            lines.len() - 1
        });
        let line = &mut lines[place];
        let goes = line.under_way < most && line.waiting.is_empty();
        line.waiting.push_back(waiting);
        line.under_way += usize::from(goes);
        goes
    }
}

impl<W, A> Default for Queue<W, A> {
    fn default() -> Self {
        Self(Mutex::default())
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
