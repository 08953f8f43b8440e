//! A model of the protocol by which a store in two tiers is to be kept in step, for one session: a
//! truth that keeps what it is given (cold), and before it a cache that may lose anything (hot). Every
//! interleaving of writers, readers and a deleter is searched, with commands that fail, come late or
//! twice, processes that die, and a cache that forgets or goes back in time. The fenced protocol must
//! hold; the shapes that are written instead must be found broken, or the search would prove nothing.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

/// What is written: 0 is there from the start, the others are the numbers of their writers.
type Value = u8;

const FIRST: Value = 0;

/// A mark in the cache that tells whether what was read from cold may be put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mark {
    /// It may, by those who saw this mark before they read.
    Open(u8),
    /// It may not: a writer is under way. Lapses, with the whole entry, at any time.
    Fence(u8),
}

/// So that the marks of readers, fences and names differ.
const READER: u8 = 100;
const NAME: u8 = 200;

/// What is sent to hot. Each is one script there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Command {
    /// Drop the entry; no fills from now on. Hot answers with the number of this very run, unless the
    /// fence has a name, and whether another fence stood there.
    Fence { name: Option<u8> },
    /// Put the value there if that fence still stands and none stood before it; set another if not.
    Finish { value: Value, fence: u8, contended: bool },
    /// Put what was read there if the mark is still the one seen before.
    Fill { value: Value, token: u8 },
    /// Put it there.
    Set { value: Value },
    /// Put it there if it is newer.
    SetIfNewer { value: Value, version: u8 },
    /// Put it there if there is no tombstone.
    SetIfNoTombstone { value: Value },
    /// Drop the entry.
    Drop,
    /// Drop the entry and leave a tombstone.
    Bury,
}

/// What hot answers to a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Fenced {
    fence: u8,
    contended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Hot {
    value: Option<Value>,
    mark: Option<Mark>,
    /// For shapes that compare versions: that of `value`.
    version: u8,
    /// For shapes with one: nothing may be put there until it lapses, at any time.
    tombstone: bool,
    /// The highest number of a fence that anybody knows. No number is given twice.
    fences: u8,
}

impl Hot {
    fn emptied(self) -> Self {
        Self { fences: self.fences, ..Self::default() }
    }

    fn fence(&mut self, name: Option<u8>) -> Fenced {
        let contended = matches!(self.mark, Some(Mark::Fence(_)));
        let fences = self.fences + u8::from(name.is_none());
        let fence = name.unwrap_or(fences);
        *self = Self { fences, mark: Some(Mark::Fence(fence)), ..Self::default() };
        Fenced { fence, contended }
    }

    fn run(&mut self, command: Command) -> Fenced {
        match command {
            Command::Fence { name } => return self.fence(name),
            Command::Finish { value, fence, contended } => {
                if self.mark != Some(Mark::Fence(fence)) {
                    self.fence(None);
                } else if !contended {
                    self.value = Some(value);
                    self.mark = Some(Mark::Open(fence));
                }
            }
            Command::Fill { value, token } => {
                if self.mark == Some(Mark::Open(token)) {
                    self.value = Some(value);
                }
            }
            Command::Set { value } => self.value = Some(value),
            Command::SetIfNewer { value, version } => {
                if self.value.is_none() || version > self.version {
                    (self.value, self.version) = (Some(value), version);
                }
            }
            Command::SetIfNoTombstone { value } => {
                if !self.tombstone {
                    self.value = Some(value);
                }
            }
            Command::Drop => self.value = None,
            Command::Bury => *self = Self { tombstone: true, ..self.emptied() },
        }
        Fenced::default()
    }
}

/// How tiers are kept in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Fence, one cold statement, finish, and only then the answer; fills by token; a cache that went
    /// back in time is another cache.
    Fenced,
    /// The same, but what an older run of the cache's server wrote is still read.
    FencedWithoutRun,
    /// The same, but a fence has the name of its writer, so that its repetition passes for it.
    FencedByName,
    /// The same, but the answer comes before the finish.
    AnsweredBeforeFinish,
    /// Both tiers at the same time.
    Parallel,
    /// Cold, then hot is set.
    SetAfterCommit,
    /// Cold, then hot is dropped.
    DropAfterCommit,
    /// Hot is dropped, cold, hot is dropped again.
    DropAroundCommit,
    /// Cold, then hot is set if what it holds is older; fills likewise.
    Versioned,
    /// Cold, then a tombstone in hot that keeps fills away for a while.
    Tombstone,
}

impl Shape {
    fn is_fenced(self) -> bool {
        use Shape::{AnsweredBeforeFinish, Fenced, FencedByName, FencedWithoutRun};
        matches!(self, Fenced | FencedWithoutRun | FencedByName | AnsweredBeforeFinish)
    }
}

/// How far a process is. Where two steps are taken at once, the second number is that of the other
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    At(u8),
    Done,
}

/// A writer or the deleter, which writes too: that the session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Writer {
    step: Step,
    fenced: Fenced,
    /// Its fence failed and it went on regardless: no success is told.
    unconfirmed: bool,
    /// Whether it goes on then, as a deletion does.
    insists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Reader {
    step: Step,
    token: Option<u8>,
    value: Value,
    version: u8,
}

/// A few things in no order.
type Few<T> = [Option<T>; 2];

fn add<T: Ord>(few: &mut Few<T>, thing: T) -> bool {
    let Some(room) = few.iter_mut().find(|room| room.is_none()) else { return false };
    *room = Some(thing);
    few.sort_unstable();
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    hot: Hot,
    /// What cold held, in order, and how many of them there are: the last is what it holds.
    cold: ([Value; 3], u8),
    /// From which of them on nothing older may be read, because a write was answered.
    answered: u8,
    /// From which of them on nothing older is read, as far as anybody can tell.
    seen: u8,
    writers: [Writer; 2],
    readers: [Reader; 2],
    /// Commands to hot that are still on their way, although nobody waits for them.
    late: Few<Command>,
    /// Statements to cold of the same kind.
    late_commits: Few<Value>,
    /// What hot saved, to which it may go back.
    saved: Option<Hot>,
    faults: u8,
    punctual: bool,
}

/// What a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breach {
    /// What was replaced is read after the answer to the write that replaced it.
    Stale,
    /// What was replaced is read after somebody read what replaced it.
    Back,
    /// Something is read that was never committed.
    Dirty,
}

/// What happened in a step, for a human reader.
#[derive(Debug, Clone, Copy)]
struct Event {
    who: char,
    number: usize,
    what: &'static str,
    command: Option<Command>,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.who, self.number, self.what)?;
        self.command.map_or(Ok(()), |command| write!(f, " {command:?}"))
    }
}

fn event(who: char, index: usize, what: &'static str) -> Event {
    Event { who, number: index + 1, what, command: None }
}

type Next = Vec<(Event, World)>;

#[derive(Debug, Clone, Copy)]
struct Setting {
    writers: usize,
    deleters: usize,
    readers: usize,
    faults: u8,
    cached: bool,
    /// Every write is over before its fence lapses.
    punctual: bool,
}

impl World {
    fn new(setting: Setting) -> Self {
        let active = |is| if is { Step::At(0) } else { Step::Done };
        let Setting { writers, deleters, readers, faults, cached, punctual } = setting;
        Self {
            hot: Hot {
                value: cached.then_some(FIRST),
                mark: cached.then_some(Mark::Open(0)),
                ..Hot::default()
            },
            cold: ([FIRST; 3], 1),
            answered: 0,
            seen: 0,
            writers: std::array::from_fn(|index| Writer {
                step: active(index < writers + deleters),
                fenced: Fenced::default(),
                unconfirmed: false,
                insists: index >= writers,
            }),
            readers: std::array::from_fn(|index| Reader {
                step: active(index < readers),
                token: None,
                value: FIRST,
                version: 0,
            }),
            late: Few::default(),
            late_commits: Few::default(),
            saved: None,
            faults,
            punctual,
        }
    }

    fn current(&self) -> Value {
        self.cold.0[usize::from(self.cold.1) - 1]
    }

    fn commit(&mut self, value: Value) {
        self.cold.0[usize::from(self.cold.1)] = value;
        self.cold.1 += 1;
    }

    fn position(&self, value: Value) -> Option<u8> {
        (0..self.cold.1).find(|at| self.cold.0[usize::from(*at)] == value)
    }

    /// What is wrong with what somebody who asks now is told.
    fn breach(&self) -> Option<Breach> {
        match self.position(self.hot.value?) {
            None => Some(Breach::Dirty),
            Some(position) if position < self.answered => Some(Breach::Stale),
            Some(position) => (position < self.seen).then_some(Breach::Back),
        }
    }

    /// Somebody read this value.
    fn see(&mut self, value: Value) {
        self.seen = self.seen.max(self.position(value).unwrap_or_default());
    }

    /// The same world as far as anybody can tell: what nobody will look at is forgotten, and fences are
    /// numbered in the order in which they are met.
    fn plain(mut self) -> Self {
        for writer in self.writers.iter_mut().filter(|writer| writer.step == Step::Done) {
            (writer.fenced, writer.unconfirmed) = (Fenced::default(), false);
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.step == Step::Done) {
            (reader.token, reader.value, reader.version) = (None, FIRST, 0);
        }
        let mut numbers = [0; NAME as usize];
        let mut count = 0;
        let mut renumber = |fence: &mut u8| {
            if (1..READER).contains(fence) {
                let number = &mut numbers[usize::from(*fence)];
                if *number == 0 {
                    count += 1;
                    *number = count;
                }
                *fence = *number;
            }
        };
        for hot in [Some(&mut self.hot), self.saved.as_mut()].into_iter().flatten() {
            if let Some(Mark::Open(fence) | Mark::Fence(fence)) = &mut hot.mark {
                renumber(fence);
            }
        }
        self.writers.iter_mut().for_each(|writer| renumber(&mut writer.fenced.fence));
        self.readers.iter_mut().filter_map(|reader| reader.token.as_mut()).for_each(&mut renumber);
        for command in self.late.iter_mut().flatten() {
            if let Command::Finish { fence, .. } | Command::Fill { token: fence, .. } = command {
                renumber(fence);
            }
        }
        self.late.sort_unstable();
        self.hot.fences = count;
        if let Some(saved) = &mut self.saved {
            saved.fences = 0;
        }
        self
    }

    fn with_fault(&self) -> Option<Self> {
        Some(Self { faults: self.faults.checked_sub(1)?, ..*self })
    }

    /// Sends a command to hot. `then` is told what the sender learns: an answer, or none.
    fn send(
        &self,
        next: &mut Next,
        who: Event,
        command: Command,
        then: impl Fn(&mut Self, Option<Fenced>),
    ) {
        let mut push = |what, mut world: Self, answer| {
            then(&mut world, answer);
            next.push((Event { what, command: Some(command), ..who }, world));
        };
        let mut world = *self;
        let answer = world.hot.run(command);
        push("does", world, Some(answer));
        let Some(world) = self.with_fault() else { return };
        push("fails to do", world, None);
        let mut done = world;
        done.hot.run(command);
        push("hears nothing of", done, None);
        let mut late = world;
        if add(&mut late.late, command) {
            push("gives up, but on its way is", late, None);
        }
        let mut twice = world;
        let answer = twice.hot.run(command);
        if add(&mut twice.late, command) {
            push("does, and once more later,", twice, Some(answer));
        }
    }

    /// All that can happen now.
    fn next(&self, shape: Shape) -> Next {
        let mut next = Next::new();
        for index in 0..2 {
            if let Step::At(step) = self.writers[index].step {
                self.write(&mut next, shape, index, step);
                if let Some(mut world) = self.with_fault() {
                    world.writers[index].step = Step::Done;
                    next.push((event('W', index, "dies"), world));
                }
            }
            if let Step::At(step) = self.readers[index].step {
                self.read(&mut next, shape, index, step);
            }
            // What is late may also never come, which is no event: then everything else happens.
            if let Some(command) = self.late[index] {
                let mut world = *self;
                world.late[index] = None;
                world.late.sort_unstable();
                world.hot.run(command);
                let late = event('L', index, "comes late:");
                next.push((Event { command: Some(command), ..late }, world));
            }
            if let Some(value) = self.late_commits[index] {
                let mut world = *self;
                world.late_commits[index] = None;
                world.late_commits.sort_unstable();
                world.commit(value);
                next.push((event('W', usize::from(value) - 1, "commits late"), world));
            }
        }
        self.lose(&mut next, shape);
        next
    }

    /// What a cache does to what it holds.
    fn lose(&self, next: &mut Next, shape: Shape) {
        let mut push = |what, world| next.push((event('H', 0, what), world));
        let empty = self.hot.emptied();
        let nobody_writes =
            self.writers.iter().all(|writer| matches!(writer.step, Step::At(0) | Step::Done));
        let is_fenced = matches!(self.hot.mark, Some(Mark::Fence(_))) || self.hot.tombstone;
        // To lapse is no fault.
        if is_fenced && (nobody_writes || !self.punctual) {
            push("lets the fence lapse", Self { hot: empty, ..*self });
        }
        let Some(world) = self.with_fault() else { return };
        if self.hot != empty {
            push("forgets", Self { hot: empty, ..world });
        }
        match self.saved {
            None => push("saves", Self { saved: Some(self.hot), ..*self }),
            Some(saved) => {
                let is_scoped = !matches!(shape, Shape::FencedWithoutRun);
                let hot = if shape.is_fenced() && is_scoped { empty } else { saved };
                let hot = Hot { fences: self.hot.fences, ..hot };
                // What is late was sent to a server that is gone.
                let late = Few::default();
                push("goes back in time", Self { hot, late, saved: None, ..world });
            }
        }
    }

    /// One cold statement.
    fn send_commit(&self, next: &mut Next, index: usize, then: impl Fn(&mut Self)) {
        let value = index as Value + 1;
        let mut world = *self;
        world.commit(value);
        then(&mut world);
        next.push((event('W', index, "commits"), world));
        if let Some(mut world) = self.with_fault() {
            world.writers[index].step = Step::Done;
            next.push((event('W', index, "fails to commit"), world));
            add(&mut world.late_commits, value);
            next.push((event('W', index, "gives up, but its commit is on its way"), world));
        }
    }

    fn answer(&mut self, index: usize) {
        self.writers[index].step = Step::Done;
        if !self.writers[index].unconfirmed {
            let position = self.position(index as Value + 1);
            self.answered = self.answered.max(position.unwrap_or_default());
        }
    }

    fn write(&self, next: &mut Next, shape: Shape, index: usize, step: u8) {
        let who = event('W', index, "");
        let value = index as Value + 1;
        let version = self.position(value).unwrap_or_default();
        let Fenced { fence, contended } = self.writers[index].fenced;
        let name = (shape == Shape::FencedByName).then_some(NAME + value);
        let goes_on = |to| move |world: &mut Self| world.writers[index].step = Step::At(to);
        let goes_on_or_fails = |to| {
            move |world: &mut Self, answer: Option<Fenced>| {
                world.writers[index].step = answer.map_or(Step::Done, |_| Step::At(to));
            }
        };
        let answers = |world: &mut Self, answer: Option<Fenced>| match answer {
            Some(_) => world.answer(index),
            None => world.writers[index].step = Step::Done,
        };
        match (shape, step) {
            (shape, 0) if shape.is_fenced() => {
                self.send(next, who, Command::Fence { name }, |world, answer| {
                    let writer = &mut world.writers[index];
                    writer.unconfirmed = answer.is_none();
                    writer.fenced = answer.unwrap_or_default();
                    let goes_on = answer.is_some() || writer.insists;
                    writer.step = if goes_on { Step::At(1) } else { Step::Done };
                });
            }
            (Shape::AnsweredBeforeFinish, 2) => {
                let mut world = *self;
                world.answer(index);
                world.writers[index].step = Step::At(3);
                next.push((event('W', index, "answers"), world));
            }
            (shape, 2 | 3) if shape.is_fenced() => {
                let finish = Command::Finish { value, fence, contended };
                match step {
                    2 => self.send(next, who, finish, answers),
                    _ => self.send(next, who, finish, |world, _| {
                        world.writers[index].step = Step::Done;
                    }),
                }
            }
            (Shape::Parallel, 0) => {
                self.send(next, who, Command::Set { value }, goes_on_or_fails(1));
                self.send_commit(next, index, goes_on(2));
            }
            (Shape::Parallel, 1) => self.send_commit(next, index, |world| world.answer(index)),
            (Shape::Parallel, 2) | (Shape::SetAfterCommit, 1) => {
                self.send(next, who, Command::Set { value }, answers);
            }
            (Shape::DropAroundCommit, 0) => {
                self.send(next, who, Command::Drop, goes_on_or_fails(1));
            }
            (Shape::DropAroundCommit, 2) | (Shape::DropAfterCommit, 1) => {
                self.send(next, who, Command::Drop, answers);
            }
            (Shape::Versioned, 1) => {
                self.send(next, who, Command::SetIfNewer { value, version }, answers);
            }
            (Shape::Tombstone, 1) => self.send(next, who, Command::Bury, answers),
            (_, step) => self.send_commit(next, index, goes_on(step + 1)),
        }
    }

    fn read(&self, next: &mut Next, shape: Shape, index: usize, step: u8) {
        match step {
            0 => {
                let mut world = *self;
                let reader = &mut world.readers[index];
                if let Some(value) = self.hot.value {
                    reader.step = Step::Done;
                    world.see(value);
                    next.push((event('R', index, "reads hot"), world));
                } else {
                    reader.step = Step::At(1);
                    if shape.is_fenced() {
                        let own = Mark::Open(READER + index as u8);
                        if let Mark::Open(token) = *world.hot.mark.get_or_insert(own) {
                            reader.token = Some(token);
                        }
                    }
                    next.push((event('R', index, "misses"), world));
                }
                if let Some(mut world) = self.with_fault() {
                    world.readers[index].step = Step::At(2);
                    next.push((event('R', index, "cannot reach hot"), world));
                }
            }
            1 | 2 => {
                let mut world = *self;
                let value = self.current();
                world.see(value);
                let reader = &mut world.readers[index];
                (reader.value, reader.version) = (value, self.cold.1 - 1);
                let fills = step == 1 && (!shape.is_fenced() || reader.token.is_some());
                reader.step = if fills { Step::At(3) } else { Step::Done };
                next.push((event('R', index, "reads cold"), world));
            }
            _ => {
                let Reader { value, version, token, .. } = self.readers[index];
                let command = match (shape, token) {
                    (_, Some(token)) => Command::Fill { value, token },
                    (Shape::Versioned, None) => Command::SetIfNewer { value, version },
                    (Shape::Tombstone, None) => Command::SetIfNoTombstone { value },
                    _ => Command::Set { value },
                };
                self.send(next, event('R', index, ""), command, |world, _| {
                    world.readers[index].step = Step::Done;
                });
            }
        }
    }
}

/// How a search ended: a shortest way to a breach, if there is one.
struct Outcome {
    states: usize,
    breach: Option<(Breach, Vec<Event>)>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states", self.states)?;
        let Some((breach, way)) = &self.breach else { return Ok(()) };
        write!(f, ", {breach:?}:")?;
        way.iter().try_for_each(|event| write!(f, " {event};"))
    }
}

/// Searches all that can happen, nearest first, until something is wrong.
fn search(shape: Shape, setting: Setting, looked_for: &[Breach]) -> Outcome {
    let first = World::new(setting);
    let mut ways: Vec<(usize, Option<Event>)> = vec![(0, None)];
    let mut known = HashSet::from([first]);
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((number, world)) = queue.pop_front() {
        if let Some(breach) = world.breach().filter(|breach| looked_for.contains(breach)) {
            let mut way = Vec::new();
            let mut at = number;
            while let (from, Some(event)) = ways[at] {
                way.push(event);
                at = from;
            }
            way.reverse();
            return Outcome { states: known.len(), breach: Some((breach, way)) };
        }
        for (event, world) in world.next(shape) {
            let world = world.plain();
            if known.insert(world) {
                queue.push_back((ways.len(), world));
                ways.push((number, Some(event)));
            }
        }
    }
    Outcome { states: known.len(), breach: None }
}

const SETTING: Setting =
    Setting { writers: 2, deleters: 0, readers: 2, faults: 0, cached: true, punctual: false };

fn holds(setting: Setting, looked_for: &[Breach]) {
    let outcome = search(Shape::Fenced, setting, looked_for);
    println!("{setting:?}: {outcome}");
    assert!(outcome.breach.is_none(), "{setting:?}: {outcome}");
}

const WRONG: [Breach; 2] = [Breach::Stale, Breach::Dirty];

#[test]
fn it_holds_for_two_writers_and_two_readers() {
    holds(Setting { faults: 1, ..SETTING }, &WRONG);
}

#[test]
fn it_holds_for_a_writer_and_a_deleter_and_two_readers() {
    holds(Setting { writers: 1, deleters: 1, faults: 1, ..SETTING }, &WRONG);
}

#[test]
fn it_holds_when_two_things_go_wrong() {
    for cached in [true, false] {
        let setting = Setting { readers: 1, faults: 2, cached, ..SETTING };
        holds(setting, &WRONG);
        holds(Setting { writers: 1, deleters: 1, ..setting }, &WRONG);
    }
}

/// Nobody reads what was replaced after somebody has read what replaced it, answered or not.
#[test]
fn reads_go_forward_when_nothing_goes_wrong() {
    let any = [Breach::Stale, Breach::Dirty, Breach::Back];
    for cached in [true, false] {
        holds(Setting { punctual: true, cached, ..SETTING }, &any);
    }
}

fn is_found_broken(shape: Shape, faults: u8) {
    let setting = Setting { readers: 1, faults, ..SETTING };
    let outcome = search(shape, setting, &[Breach::Stale]);
    println!("{shape:?}: {outcome}");
    assert!(outcome.breach.is_some(), "{shape:?}: {outcome}");
}

#[test]
fn shapes_that_break_by_themselves_are_found() {
    for shape in [
        Shape::Parallel,
        Shape::SetAfterCommit,
        Shape::DropAfterCommit,
        Shape::DropAroundCommit,
        Shape::Tombstone,
        Shape::AnsweredBeforeFinish,
    ] {
        is_found_broken(shape, 0);
    }
}

#[test]
fn shapes_that_one_fault_breaks_are_found() {
    for shape in [Shape::Versioned, Shape::FencedWithoutRun, Shape::FencedByName] {
        is_found_broken(shape, 1);
    }
}
