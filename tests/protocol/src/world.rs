//! All who take part, and all that can happen next.

use std::fmt;

use crate::hot::{
    BOTH, CachePolicy, Command, FIELDS, FIRST, Mask, ONE, READER, Shape, Value, Values,
};
use crate::hot::{fields, only};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    At(u8),
    Done,
}

/// A writer or the deleter, which writes too: that the session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    step: Step,
    fence: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    step: Step,
    ticket: Option<u8>,
    values: Values,
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

/// Who takes part, and what may go wrong.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The fields that each writer writes.
    pub writers: [Option<Mask>; 2],
    /// The second writer ends the session: it goes on without a fence, and leaves nothing behind.
    pub deletes: bool,
    /// The fields that each reader asks for.
    pub readers: [Option<Mask>; 2],
    /// How many things may go wrong.
    pub faults: u8,
    /// Hot holds everything from the start.
    pub cached: bool,
    /// Every write is over before its fence lapses.
    pub punctual: bool,
    /// What was read counts.
    pub watches: bool,
}

impl Setting {
    /// Two writers and two readers of one field that is cached.
    pub const ONE_FIELD: Self = Self {
        writers: [Some(ONE); 2],
        deletes: false,
        readers: [Some(ONE); 2],
        faults: 0,
        cached: true,
        punctual: false,
        watches: false,
    };

    fn insists(&self, writer: usize) -> bool {
        self.deletes && writer == 1
    }

    fn mask(&self, writer: usize) -> Mask {
        self.writers[writer].unwrap_or_default()
    }

    /// What a writer leaves in the cache.
    fn installed(&self, writer: usize) -> Values {
        let mask = if self.insists(writer) { 0 } else { self.mask(writer) };
        only(mask, writer as Value + 1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    hot: CachePolicy,
    /// What was committed to cold, in order, and how many that are: each wrote its writer's fields.
    cold: ([Value; 3], u8),
    /// For each field, from which of them on nothing older may be read, because a write was answered.
    answered: [u8; FIELDS],
    /// And because somebody read it.
    seen: [u8; FIELDS],
    writers: [Writer; 2],
    readers: [Reader; 2],
    /// Commands to hot that are still on their way, although nobody waits for them.
    late: Few<Command>,
    /// Statements to cold of the same kind.
    late_commits: Few<Value>,
    /// What hot saved, to which it may go back.
    saved: Option<CachePolicy>,
    faults: u8,
}

/// What a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// What was replaced is read after the answer to the write that replaced it.
    Stale,
    /// What was replaced is read after somebody read what replaced it.
    Back,
    /// Something is read that was never committed.
    Dirty,
    /// Two fields are read together that never stood together.
    Torn,
}

/// What happened in a step, for a human reader.
#[derive(Debug, Clone, Copy)]
pub struct Event {
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

/// A shape in a setting.
#[derive(Debug, Clone, Copy)]
pub struct Play {
    /// The shape.
    pub shape: Shape,
    /// The setting.
    pub setting: Setting,
}

type Next = Vec<(Event, World)>;

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let active = |is: Option<Mask>| is.map_or(Step::Done, |_| Step::At(0));
        let hot = CachePolicy {
            values: only(if setting.cached { BOTH } else { 0 }, FIRST),
            ..CachePolicy::default()
        };
        Self {
            hot,
            cold: ([FIRST; 3], 1),
            answered: [0; FIELDS],
            seen: [0; FIELDS],
            writers: setting.writers.map(|writer| Writer { step: active(writer), fence: 0 }),
            readers: setting.readers.map(|reader| Reader {
                step: active(reader),
                ticket: None,
                values: Values::default(),
                version: 0,
            }),
            late: Few::default(),
            late_commits: Few::default(),
            saved: None,
            faults: setting.faults,
        }
    }

    fn commit(&mut self, value: Value) {
        self.cold.0[usize::from(self.cold.1)] = value;
        self.cold.1 += 1;
    }

    /// Which commit wrote this value.
    fn position(&self, value: Value) -> Option<u8> {
        (0..self.cold.1).find(|at| self.cold.0[usize::from(*at)] == value)
    }

    /// What the field held after the commit at `position`.
    fn held(&self, setting: &Setting, field: usize, position: u8) -> Value {
        let commits = self.cold.0[..=usize::from(position)].iter().rev();
        let wrote = |value: Value| {
            value == FIRST || setting.mask(usize::from(value) - 1) & (1 << field) != 0
        };
        commits.copied().find(|value| wrote(*value)).unwrap_or(FIRST)
    }

    fn current(&self, setting: &Setting, mask: Mask) -> Values {
        let last = self.cold.1 - 1;
        std::array::from_fn(|field| {
            (mask & (1 << field) != 0).then(|| self.held(setting, field, last))
        })
    }

    /// What is wrong with what somebody who asks now is told.
    pub(crate) fn breaches(&self, setting: &Setting) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for field in 0..FIELDS {
            let Some(value) = self.hot.values[field] else { continue };
            match self.position(value) {
                None => breaches.push(Breach::Dirty),
                Some(position) if position < self.answered[field] => breaches.push(Breach::Stale),
                Some(position) if position < self.seen[field] => breaches.push(Breach::Back),
                Some(_) => {}
            }
        }
        let together = |position| {
            (0..FIELDS).all(|field| {
                self.hot.values[field]
                    .is_none_or(|value| value == self.held(setting, field, position))
            })
        };
        if !(0..self.cold.1).any(together) {
            breaches.push(Breach::Torn);
        }
        breaches
    }

    /// Somebody read these values.
    fn see(&mut self, setting: &Setting, values: Values) {
        if setting.watches {
            for (field, value) in values.into_iter().enumerate() {
                let position = value.and_then(|value| self.position(value)).unwrap_or_default();
                self.seen[field] = self.seen[field].max(position);
            }
        }
    }

    /// The same world as far as anybody can tell: what nobody will look at is forgotten, and fences are
    /// numbered in the order in which they are met.
    pub(crate) fn plain(mut self) -> Self {
        for writer in self.writers.iter_mut().filter(|writer| writer.step == Step::Done) {
            writer.fence = 0;
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.step == Step::Done) {
            (reader.ticket, reader.values, reader.version) = (None, Values::default(), 0);
        }
        let mut numbers = [0; READER as usize];
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
            hot.fences.iter_mut().flatten().for_each(|fence| renumber(&mut fence.number));
            hot.fences.sort_unstable();
        }
        self.writers.iter_mut().for_each(|writer| renumber(&mut writer.fence));
        for command in self.late.iter_mut().flatten() {
            if let Command::Finish { fence, .. } = command {
                renumber(fence);
            }
        }
        self.late.sort_unstable();
        self.hot.numbers = count;
        if let Some(saved) = &mut self.saved {
            saved.numbers = 0;
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
        shape: Shape,
        who: Event,
        command: Command,
        then: impl Fn(&mut Self, Option<u8>),
    ) {
        let mut push = |what, mut world: Self, answer| {
            then(&mut world, answer);
            next.push((Event { what, command: Some(command), ..who }, world));
        };
        let mut world = *self;
        let answer = world.hot.run(shape, command);
        push("does", world, Some(answer));
        let Some(world) = self.with_fault() else { return };
        push("fails to do", world, None);
        let mut done = world;
        done.hot.run(shape, command);
        push("hears nothing of", done, None);
        let mut late = world;
        if add(&mut late.late, command) {
            push("gives up, but on its way is", late, None);
        }
        let mut twice = world;
        let answer = twice.hot.run(shape, command);
        if add(&mut twice.late, command) {
            push("does, and once more later,", twice, Some(answer));
        }
    }

    /// All that can happen now.
    pub(crate) fn next(&self, play: &Play) -> Next {
        let mut next = Next::new();
        for index in 0..2 {
            if let Step::At(step) = self.writers[index].step {
                self.write(&mut next, play, index, step);
                if let Some(mut world) = self.with_fault() {
                    world.writers[index].step = Step::Done;
                    next.push((event('W', index, "dies"), world));
                }
            }
            if let Step::At(step) = self.readers[index].step {
                self.read(&mut next, play, index, step);
            }
            // What is late may also never come, which is no event: then everything else happens.
            if let Some(command) = self.late[index] {
                let mut world = *self;
                world.late[index] = None;
                world.late.sort_unstable();
                world.hot.run(play.shape, command);
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
        self.lose(&mut next, play);
        next
    }

    /// What a cache does to what it holds.
    fn lose(&self, next: &mut Next, play: &Play) {
        let mut push = |what, world| next.push((event('H', 0, what), world));
        let empty = self.hot.emptied();
        let nobody_writes =
            self.writers.iter().all(|writer| matches!(writer.step, Step::At(0) | Step::Done));
        // To lapse is no fault.
        if nobody_writes || !play.setting.punctual {
            for index in (0..self.hot.fences.len()).filter(|it| self.hot.fences[*it].is_some()) {
                let mut world = *self;
                world.hot.fences[index] = None;
                world.hot.fences.sort_unstable();
                push("lets a fence lapse", world);
            }
            if self.hot.tombstone {
                push("lets the tombstone lapse", Self { hot: empty, ..*self });
            }
        }
        let Some(world) = self.with_fault() else { return };
        if self.hot != empty {
            push("forgets", Self { hot: empty, ..world });
        }
        match self.saved {
            None => push("saves", Self { saved: Some(self.hot), ..*self }),
            Some(saved) => {
                let is_scoped = play.shape.is_fenced() && play.shape != Shape::FencedWithoutRun;
                let hot = if is_scoped { empty } else { saved };
                let hot = CachePolicy { numbers: self.hot.numbers, ..hot };
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

    fn answer(&mut self, setting: &Setting, index: usize) {
        self.writers[index].step = Step::Done;
        let position = self.position(index as Value + 1).unwrap_or_default();
        for field in fields(setting.mask(index)) {
            self.answered[field] = self.answered[field].max(position);
        }
    }

    fn write(&self, next: &mut Next, play: &Play, index: usize, step: u8) {
        let Play { shape, setting } = play;
        let shape = *shape;
        let who = event('W', index, "");
        let values = setting.installed(index);
        let version = self.position(index as Value + 1).unwrap_or_default();
        let goes_on = |to| move |world: &mut Self| world.writers[index].step = Step::At(to);
        let goes_on_or = |to, otherwise: Step| {
            move |world: &mut Self, answer: Option<u8>| {
                world.writers[index].step = answer.map_or(otherwise, |_| Step::At(to));
            }
        };
        let answers_or = |otherwise: Step| {
            move |world: &mut Self, answer: Option<u8>| match answer {
                Some(_) => world.answer(setting, index),
                None => world.writers[index].step = otherwise,
            }
        };
        let finish = Command::Finish { values, fence: self.writers[index].fence };
        match (shape, step) {
            (shape, 0) if shape.is_fenced() => {
                let fence = Command::WriteIntent { mask: setting.mask(index) };
                self.send(next, shape, who, fence, |world, answer| {
                    let writer = &mut world.writers[index];
                    writer.fence = answer.unwrap_or_default();
                    writer.step = match answer {
                        Some(_) => Step::At(1),
                        None if setting.insists(index) => Step::At(5),
                        None => Step::Done,
                    };
                });
            }
            (Shape::AnsweredBeforeFinish, 2) => {
                let mut world = *self;
                world.answer(setting, index);
                world.writers[index].step = Step::At(3);
                next.push((event('W', index, "answers"), world));
            }
            // If the cache cannot be told, it is told to drop everything.
            (shape, 2) if shape.is_fenced() => {
                self.send(next, shape, who, finish, answers_or(Step::At(4)));
            }
            (shape, 3) if shape.is_fenced() => {
                self.send(next, shape, who, finish, |world, _| {
                    world.writers[index].step = Step::Done;
                });
            }
            (shape, 4) if shape.is_fenced() => {
                self.send(next, shape, who, Command::Drop, answers_or(Step::Done));
            }
            (shape, 5) if shape.is_fenced() => self.send_commit(next, index, goes_on(4)),
            (Shape::Parallel, 0) => {
                self.send(next, shape, who, Command::Set { values }, goes_on_or(1, Step::Done));
                self.send_commit(next, index, goes_on(2));
            }
            (Shape::Parallel, 1) => {
                self.send_commit(next, index, |world| world.answer(setting, index));
            }
            (Shape::Parallel, 2) | (Shape::SetAfterCommit, 1) => {
                self.send(next, shape, who, Command::Set { values }, answers_or(Step::Done));
            }
            (Shape::DropAroundCommit, 0) => {
                self.send(next, shape, who, Command::Drop, goes_on_or(1, Step::Done));
            }
            (Shape::DropAroundCommit, 2) | (Shape::DropAfterCommit, 1) => {
                self.send(next, shape, who, Command::Drop, answers_or(Step::Done));
            }
            (Shape::Versioned, 1) => {
                let set = Command::SetIfNewer { values, version };
                self.send(next, shape, who, set, answers_or(Step::Done));
            }
            (Shape::Tombstone, 1) => {
                self.send(next, shape, who, Command::Bury, answers_or(Step::Done));
            }
            (_, step) => self.send_commit(next, index, goes_on(step + 1)),
        }
    }

    fn read(&self, next: &mut Next, play: &Play, index: usize, step: u8) {
        let Play { shape, setting } = play;
        let mask = setting.readers[index].unwrap_or_default();
        match step {
            0 => {
                let mut world = *self;
                let what = if fields(mask).all(|field| self.hot.values[field].is_some()) {
                    world.readers[index].step = Step::Done;
                    world.see(setting, self.hot.values);
                    "reads hot"
                } else {
                    world.readers[index].step = Step::At(1);
                    if shape.is_fenced() {
                        world.readers[index].ticket =
                            world.hot.ticket(*shape, READER + index as u8);
                    }
                    "misses"
                };
                next.push((event('R', index, what), world));
                if let Some(mut world) = self.with_fault() {
                    world.readers[index].step = Step::At(2);
                    next.push((event('R', index, "cannot reach hot"), world));
                }
            }
            1 | 2 => {
                let mut world = *self;
                let values = self.current(setting, mask);
                world.see(setting, values);
                let reader = &mut world.readers[index];
                (reader.values, reader.version) = (values, self.cold.1 - 1);
                let fills = step == 1 && (!shape.is_fenced() || reader.ticket.is_some());
                reader.step = if fills { Step::At(3) } else { Step::Done };
                next.push((event('R', index, "reads cold"), world));
            }
            _ => {
                let Reader { values, version, ticket, .. } = self.readers[index];
                let command = match (shape, ticket) {
                    (Shape::FilledWithoutTicket, _) => Command::Fill { values, ticket: None },
                    (_, Some(_)) => Command::Fill { values, ticket },
                    (Shape::Versioned, None) => Command::SetIfNewer { values, version },
                    (Shape::Tombstone, None) => Command::SetIfNoTombstone { values },
                    _ => Command::Set { values },
                };
                self.send(next, *shape, event('R', index, ""), command, |world, _| {
                    world.readers[index].step = Step::Done;
                });
            }
        }
    }
}
