use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    mem::replace,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread::{panicking, yield_now},
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
/// its client is more than what it does for one session. Once there is a crowd, the next wait for each other
/// sooner, until fewer go or nobody is left.
pub(super) trait Gather: Send + Sync + 'static {
    type Work: Send + 'static;
    type Answer: Send + 'static;

    fn queue(&self) -> &Queue<Self::Work, Self::Answer>;

    /// Whether one more can go along with those that are to go, of which there is one at least.
    fn fits(&self, going: &[Waiting<Self::Work, Self::Answer>], next: &Self::Work) -> bool;

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
pub(super) struct Queue<W, A> {
    lines: Mutex<Vec<Line<W, A>>>,
    courtesy: Courtesy,
}

/// Leaves this thread's core to a server on the same machine, which would otherwise get its turn only when
/// the runtime has run out of work: when everybody waits for it. A server that is elsewhere costs a call.
///
/// If somebody else takes the core, there is none to spare, and the next commands do without.
#[derive(Default)]
struct Courtesy {
    without: AtomicUsize,
}

struct Line<W, A> {
    runtime: Handle,
    under_way: usize,
    /// Many went together the last time.
    is_crowded: bool,
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
    most: usize,
    is_over: bool,
}

/// So many are a crowd.
const CROWD: usize = 8;
/// In a crowd, who comes waits as long as anything is under way, and whoever leaves has others go only if less
/// than this is; unless so many wait.
const ENOUGH: usize = 2;
const MANY: usize = 32;

/// A server has answered by then. If it has not, so many commands do without courtesy.
const BRIEF: Duration = Duration::from_millis(1);
const WITHOUT: usize = 1000;

/// A command that takes longer leaves its place: whoever waits has nothing to do with what holds it up.
const LONG: Duration = Duration::from_millis(200);

/// Has an operation go, `most` being how many may be under way before it waits. No answer comes if the
/// runtime is shutting down.
///
/// It waits for half of its time at most, so that there is enough left to go: what is under way is over when
/// its own time is. A task of its own sends it, so that a caller who does not go on polling holds up nobody.
pub(super) fn call<G: Gather>(
    gather: &Arc<G>,
    work: G::Work,
    timeout: Duration,
    most: usize,
) -> impl Future<Output = Option<G::Answer>> + Send + use<G> {
    // Not in the future: it would have room for the work as long as it waits.
    let told = Handle::try_current().ok().map(|runtime| {
        let (answer, told) = oneshot::channel();
        let (since, span) = (Instant::now(), Span::current());
        let waiting = Waiting { work, since, timeout, span, answer };
        let going = gather.queue().join(&**gather, waiting, &runtime, most);
        send(gather, runtime, most, going);
        told
    });
    async move { told?.await.ok() }
}

/// Has those go whose turn it is, if there are any.
fn send<G: Gather>(
    gather: &Arc<G>,
    runtime: Handle,
    most: usize,
    going: Vec<Waiting<G::Work, G::Answer>>,
) {
    let Some(first) = going.first() else { return };
    let (span, are_several) = (first.span.clone(), going.len() > 1);
    let mut turn =
        Turn { gather: Arc::clone(gather), runtime: runtime.clone(), most, is_over: false };
    let task = async move {
        let mut sending = pin!(Arc::clone(&turn.gather).send(going));
        let answered = async {
            let begun = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
            if begun.is_pending() {
                if are_several {
                    // By then the client has written the command.
                    stand_back().await;
                    turn.gather.queue().courtesy.give_way(yield_now);
                }
                sending.as_mut().await;
            }
        };
        let is_quick = timeout(LONG, answered).await.is_ok();
        if is_quick && are_several {
            // Those that were answered may have more to ask, which can go with others.
            stand_back().await;
        }
        turn.is_over = true;
        drop(turn);
        if !is_quick {
            sending.await;
        }
    };
    runtime.spawn(task.instrument(span));
}

/// Lets those tasks run whose turn it is by now. `yield_now` would wait until the worker has nothing to do.
async fn stand_back() {
    let mut has_stood_back = false;
    poll_fn(|context| {
        if replace(&mut has_stood_back, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<G: Gather> Drop for Turn<G> {
    fn drop(&mut self) {
        // The runtime is shutting down, and would drop whatever goes next within this very call.
        if !self.is_over && !panicking() {
            drop(self.gather.queue().close(&self.runtime));
            return;
        }
        let going = self.gather.queue().leave(&*self.gather, &self.runtime, self.most);
        send(&self.gather, self.runtime.clone(), self.most, going);
    }
}

impl Courtesy {
    fn give_way(&self, let_go: impl FnOnce()) {
        let less = |without: usize| without.checked_sub(1);
        if self.without.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return;
        }
        let begun = std::time::Instant::now();
        let_go();
        if begun.elapsed() > BRIEF {
            self.without.store(WITHOUT, Ordering::Relaxed);
        }
    }
}

impl<W, A> Queue<W, A> {
    fn lock(&self) -> MutexGuard<'_, Vec<Line<W, A>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns those that go now.
    fn join<G: Gather<Work = W, Answer = A>>(
        &self,
        gather: &G,
        waiting: Waiting<W, A>,
        runtime: &Handle,
        most: usize,
    ) -> Vec<Waiting<W, A>> {
        let mut lines = self.lock();
        let place = place_of(&lines, runtime).unwrap_or_else(|| {
            lines.push(Line::new(runtime));
            lines.len() - 1
        });
        let line = &mut lines[place];
        line.waiting.push_back(waiting);
        let going = line.go(gather, most, 1);
        if line.under_way == 0 {
            lines.swap_remove(place);
        }
        going
    }

    /// Returns those that will never go.
    fn close(&self, runtime: &Handle) -> Option<Line<W, A>> {
        let mut lines = self.lock();
        place_of(&lines, runtime).map(|place| lines.swap_remove(place))
    }

    /// One command less is under way. Returns those that go now.
    fn leave<G: Gather<Work = W, Answer = A>>(
        &self,
        gather: &G,
        runtime: &Handle,
        most: usize,
    ) -> Vec<Waiting<W, A>> {
        let mut lines = self.lock();
        let Some(place) = place_of(&lines, runtime) else { return Vec::new() };
        let line = &mut lines[place];
        line.under_way -= 1;
        let going = line.go(gather, most, ENOUGH);
        if line.under_way == 0 {
            lines.swap_remove(place);
        }
        going
    }
}

fn place_of<W, A>(lines: &[Line<W, A>], runtime: &Handle) -> Option<usize> {
    lines.iter().position(|line| line.runtime.id() == runtime.id())
}

impl<W, A> Line<W, A> {
    fn new(runtime: &Handle) -> Self {
        let waiting = VecDeque::new();
        Self { runtime: runtime.clone(), under_way: 0, is_crowded: false, waiting }
    }

    /// Those that go together now, if less than `most` commands are under way, `enough` in a crowd.
    fn go<G: Gather<Work = W, Answer = A>>(
        &mut self,
        gather: &G,
        most: usize,
        enough: usize,
    ) -> Vec<Waiting<W, A>> {
        let most =
            if self.is_crowded && self.waiting.len() < MANY { enough.min(most) } else { most };
        if self.under_way >= most {
            return Vec::new();
        }
        let (now, mut stay) = (Instant::now(), VecDeque::new());
        let mut going = Vec::with_capacity(self.waiting.len());
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.answer.is_closed() {
                continue;
            }
            if now.duration_since(waiting.since) > waiting.timeout / 2 {
                waiting.tell(G::too_late());
            } else if going.is_empty() || gather.fits(&going, &waiting.work) {
                going.push(waiting);
            } else {
                stay.push_back(waiting);
            }
        }
        self.waiting = stay;
        self.is_crowded = going.len() >= CROWD;
        self.under_way += usize::from(!going.is_empty());
        going
    }
}

impl<W, A> Default for Queue<W, A> {
    fn default() -> Self {
        Self { lines: Mutex::default(), courtesy: Courtesy::default() }
    }
}

impl<W, A> Waiting<W, A> {
    /// By when it has to be answered.
    pub(super) fn deadline(&self) -> Instant {
        self.since + self.timeout
    }

    /// What is to be done, and target to tell.
    pub(super) fn part(self) -> (W, impl FnOnce(A)) {
        // Who does not wait any more does not mind.
        (self.work, move |answer| drop(self.answer.send(answer)))
    }

    pub(super) fn tell(self, answer: A) {
        self.part().1(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn a_core_that_others_want_is_not_given_away_again_and_again() {
        let (courtesy, mut times) = (Courtesy::default(), 0);
        for _ in 0..10 {
            courtesy.give_way(|| times += 1);
        }
        assert_eq!(times, 10);
        courtesy.give_way(|| sleep(2 * BRIEF));
        for _ in 0..WITHOUT {
            courtesy.give_way(|| times += 1);
        }
        assert_eq!(times, 10);
        courtesy.give_way(|| times += 1);
        assert_eq!(times, 11);
    }
}
