//! The state of all processes and both tiers, and every event that can follow.
//!
//! Used by `search`. This file knows the steps of each protocol.

use std::fmt;

use crate::cache::{
    BOTH, Command, Entry, FIELDS, FIRST_LEASE, INITIAL, Mask, ONE, Protocol, Value, Values, fields,
    only,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    At(u8),
    Done,
}

/// A writer. The deletion is a writer too: it writes that the session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    step: Step,
    intent: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    step: Step,
    lease: Option<u8>,
    values: Values,
    version: u8,
}

/// At most two items, whose order has no meaning.
type Few<T> = [Option<T>; 2];

fn add<T: Ord>(few: &mut Few<T>, thing: T) -> bool {
    let Some(free) = few.iter_mut().find(|slot| slot.is_none()) else { return false };
    *free = Some(thing);
    few.sort_unstable();
    true
}

/// The processes, and the faults that may happen.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The fields that each writer writes.
    pub writers: [Option<Mask>; 2],
    /// Whether the second writer deletes the session. A deletion commits even if it gets no intent,
    /// and stores nothing in the cache.
    pub deletes: bool,
    /// The fields that each reader requests.
    pub readers: [Option<Mask>; 2],
    /// Maximum number of faults.
    pub faults: u8,
    /// Whether the cache holds both fields at the start.
    pub cached: bool,
    /// Whether every write ends before its intent expires.
    pub punctual: bool,
    /// Whether a state records which commits were read, to find `Backwards`.
    pub tracks_reads: bool,
}

impl Setting {
    /// Two writers and two readers of one field, which is cached.
    pub const ONE_FIELD: Self = Self {
        writers: [Some(ONE); 2],
        deletes: false,
        readers: [Some(ONE); 2],
        faults: 0,
        cached: true,
        punctual: false,
        tracks_reads: false,
    };

    fn is_deletion(&self, writer: usize) -> bool {
        self.deletes && writer == 1
    }

    fn mask(&self, writer: usize) -> Mask {
        self.writers[writer].unwrap_or_default()
    }

    /// Returns the values that a writer stores in the cache.
    fn stored(&self, writer: usize) -> Values {
        let mask = if self.is_deletion(writer) { 0 } else { self.mask(writer) };
        only(mask, writer as Value + 1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    entry: Entry,
    /// The commits of the origin in their order, and their number. Each wrote the fields of its
    /// writer.
    commits: ([Value; 3], u8),
    /// For each field, the last commit whose write was answered. A read may not return an earlier
    /// one.
    answered: [u8; FIELDS],
    /// For each field, the last commit that a reader has seen.
    seen: [u8; FIELDS],
    writers: [Writer; 2],
    readers: [Reader; 2],
    /// Commands that may still reach the cache, although their sender does not wait for them.
    late: Few<Command>,
    /// Commits that may still reach the origin, although their writer has given up.
    late_commits: Few<Value>,
    /// The older data with which the cache may restart.
    saved: Option<Entry>,
    faults: u8,
}

/// A violation of the promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A read returns a value after the write that replaced it was answered.
    Stale,
    /// A read returns a value after another read returned a later one.
    Backwards,
    /// A read returns a value that was never committed.
    Dirty,
    /// A read returns two fields that were never current at the same time.
    Torn,
}

/// An event, for a human reader.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    actor: char,
    number: usize,
    verb: &'static str,
    command: Option<Command>,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.actor, self.number, self.verb)?;
        self.command.map_or(Ok(()), |command| write!(f, " {command:?}"))
    }
}

fn event(actor: char, index: usize, verb: &'static str) -> Event {
    Event { actor, number: index + 1, verb, command: None }
}

/// A protocol in a setting.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The protocol.
    pub protocol: Protocol,
    /// The setting.
    pub setting: Setting,
}

type Next = Vec<(Event, State)>;

impl State {
    pub(crate) fn new(setting: &Setting) -> Self {
        let active = |is: Option<Mask>| is.map_or(Step::Done, |_| Step::At(0));
        let values = if setting.cached { only(BOTH, INITIAL) } else { Values::default() };
        Self {
            entry: Entry { values, ..Entry::default() },
            commits: ([INITIAL; 3], 1),
            answered: [0; FIELDS],
            seen: [0; FIELDS],
            writers: setting.writers.map(|writer| Writer { step: active(writer), intent: 0 }),
            readers: setting.readers.map(|reader| Reader {
                step: active(reader),
                lease: None,
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
        self.commits.0[usize::from(self.commits.1)] = value;
        self.commits.1 += 1;
    }

    /// Returns the position of the commit that wrote this value.
    fn position(&self, value: Value) -> Option<u8> {
        (0..self.commits.1).find(|at| self.commits.0[usize::from(*at)] == value)
    }

    /// Returns the value of a field after the commit at `position`.
    fn value_after(&self, setting: &Setting, field: usize, position: u8) -> Value {
        let commits = self.commits.0[..=usize::from(position)].iter().rev();
        let wrote = |value: Value| {
            value == INITIAL || setting.mask(usize::from(value) - 1) & (1 << field) != 0
        };
        commits.copied().find(|value| wrote(*value)).unwrap_or(INITIAL)
    }

    /// Returns the current values of these fields in the origin.
    fn current(&self, setting: &Setting, mask: Mask) -> Values {
        let last = self.commits.1 - 1;
        std::array::from_fn(|field| {
            (mask & (1 << field) != 0).then(|| self.value_after(setting, field, last))
        })
    }

    /// Returns the violations that a read of the cache would show now.
    pub(crate) fn violations(&self, setting: &Setting) -> Vec<Violation> {
        let mut violations = Vec::new();
        for field in 0..FIELDS {
            let Some(value) = self.entry.values[field] else { continue };
            match self.position(value) {
                None => violations.push(Violation::Dirty),
                Some(position) if position < self.answered[field] => {
                    violations.push(Violation::Stale);
                }
                Some(position) if position < self.seen[field] => {
                    violations.push(Violation::Backwards);
                }
                Some(_) => {}
            }
        }
        let is_current = |position| {
            (0..FIELDS).all(|field| {
                self.entry.values[field]
                    .is_none_or(|value| value == self.value_after(setting, field, position))
            })
        };
        if !(0..self.commits.1).any(is_current) {
            violations.push(Violation::Torn);
        }
        violations
    }

    /// Records that a reader has seen these values.
    fn see(&mut self, setting: &Setting, values: Values) {
        if setting.tracks_reads {
            for (field, value) in values.into_iter().enumerate() {
                let position = value.and_then(|value| self.position(value)).unwrap_or_default();
                self.seen[field] = self.seen[field].max(position);
            }
        }
    }

    /// Returns a state that represents all states equivalent to this one. It omits the parts that
    /// no process reads again, and renumbers the intents in a fixed order.
    pub(crate) fn canonical(mut self) -> Self {
        for writer in self.writers.iter_mut().filter(|writer| writer.step == Step::Done) {
            writer.intent = 0;
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.step == Step::Done) {
            (reader.lease, reader.values, reader.version) = (None, Values::default(), 0);
        }
        let mut numbers = [0; FIRST_LEASE as usize];
        let mut count = 0;
        let mut renumber = |intent: &mut u8| {
            if (1..FIRST_LEASE).contains(intent) {
                let number = &mut numbers[usize::from(*intent)];
                if *number == 0 {
                    count += 1;
                    *number = count;
                }
                *intent = *number;
            }
        };
        for entry in [Some(&mut self.entry), self.saved.as_mut()].into_iter().flatten() {
            entry.intents.iter_mut().flatten().for_each(|intent| renumber(&mut intent.number));
            entry.intents.sort_unstable();
        }
        self.writers.iter_mut().for_each(|writer| renumber(&mut writer.intent));
        for command in self.late.iter_mut().flatten() {
            if let Command::FinishWrite { intent, .. } = command {
                renumber(intent);
            }
        }
        self.late.sort_unstable();
        self.entry.last_number = count;
        if let Some(saved) = &mut self.saved {
            saved.last_number = 0;
        }
        self
    }

    fn with_fault(&self) -> Option<Self> {
        Some(Self { faults: self.faults.checked_sub(1)?, ..*self })
    }

    /// Sends a command to the cache, and adds each possible outcome to `next`. `then` gets the
    /// answer, or `None` if the sender gets no answer.
    fn send(
        &self,
        next: &mut Next,
        protocol: Protocol,
        sender: Event,
        command: Command,
        then: impl Fn(&mut Self, Option<u8>),
    ) {
        let mut push = |verb, mut state: Self, answer| {
            then(&mut state, answer);
            next.push((Event { verb, command: Some(command), ..sender }, state));
        };
        let mut state = *self;
        let answer = state.entry.run(protocol, command);
        push("sends", state, Some(answer));
        let Some(state) = self.with_fault() else { return };
        push("fails to send", state, None);
        let mut done = state;
        done.entry.run(protocol, command);
        push("gets no answer to", done, None);
        let mut late = state;
        if add(&mut late.late, command) {
            push("gives up, but later runs", late, None);
        }
        let mut twice = state;
        let answer = twice.entry.run(protocol, command);
        if add(&mut twice.late, command) {
            push("sends, and later runs again,", twice, Some(answer));
        }
    }

    /// Returns every event that can happen now, and the state after it.
    pub(crate) fn next(&self, scenario: &Scenario) -> Next {
        let mut next = Next::new();
        for index in 0..2 {
            if let Step::At(step) = self.writers[index].step {
                self.write(&mut next, scenario, index, step);
                if let Some(mut state) = self.with_fault() {
                    state.writers[index].step = Step::Done;
                    next.push((event('W', index, "dies"), state));
                }
            }
            if let Step::At(step) = self.readers[index].step {
                self.read(&mut next, scenario, index, step);
            }
            // A late command may never arrive. This case needs no event, because any other event
            // can happen without the command.
            if let Some(command) = self.late[index] {
                let mut state = *self;
                state.late[index] = None;
                state.late.sort_unstable();
                state.entry.run(scenario.protocol, command);
                let late = event('L', index, "arrives late:");
                next.push((Event { command: Some(command), ..late }, state));
            }
            if let Some(value) = self.late_commits[index] {
                let mut state = *self;
                state.late_commits[index] = None;
                state.late_commits.sort_unstable();
                state.commit(value);
                next.push((event('W', usize::from(value) - 1, "commits late"), state));
            }
        }
        self.lose(&mut next, scenario);
        next
    }

    /// Adds the events by which the cache loses data.
    fn lose(&self, next: &mut Next, scenario: &Scenario) {
        let mut push = |verb, state| next.push((event('C', 0, verb), state));
        let empty = self.entry.emptied();
        let no_write =
            self.writers.iter().all(|writer| matches!(writer.step, Step::At(0) | Step::Done));
        // Expiry does not count as a fault.
        if no_write || !scenario.setting.punctual {
            let intents = self.entry.intents;
            for index in (0..intents.len()).filter(|index| intents[*index].is_some()) {
                let mut state = *self;
                state.entry.intents[index] = None;
                state.entry.intents.sort_unstable();
                push("lets an intent expire", state);
            }
            if self.entry.tombstone {
                push("lets the tombstone expire", Self { entry: empty, ..*self });
            }
        }
        let Some(state) = self.with_fault() else { return };
        if self.entry != empty {
            push("loses the entry", Self { entry: empty, ..state });
        }
        match self.saved {
            None => push("saves its data", Self { saved: Some(self.entry), ..*self }),
            Some(saved) => {
                let Scenario { protocol, .. } = scenario;
                let has_run_id = protocol.has_intents() && *protocol != Protocol::WithoutRunId;
                let entry = if has_run_id { empty } else { saved };
                let entry = Entry { last_number: self.entry.last_number, ..entry };
                // Late commands went to the earlier run of the server, and are lost.
                let late = Few::default();
                push("goes back in time", Self { entry, late, saved: None, ..state });
            }
        }
    }

    /// Adds the possible outcomes of a commit to the origin.
    fn send_commit(&self, next: &mut Next, index: usize, then: impl Fn(&mut Self)) {
        let value = index as Value + 1;
        let mut state = *self;
        state.commit(value);
        then(&mut state);
        next.push((event('W', index, "commits"), state));
        if let Some(mut state) = self.with_fault() {
            state.writers[index].step = Step::Done;
            next.push((event('W', index, "fails to commit"), state));
            add(&mut state.late_commits, value);
            next.push((event('W', index, "gives up, but later commits"), state));
        }
    }

    fn answer(&mut self, setting: &Setting, index: usize) {
        self.writers[index].step = Step::Done;
        let position = self.position(index as Value + 1).unwrap_or_default();
        for field in fields(setting.mask(index)) {
            self.answered[field] = self.answered[field].max(position);
        }
    }

    /// Adds the next step of a writer.
    fn write(&self, next: &mut Next, scenario: &Scenario, index: usize, step: u8) {
        let Scenario { protocol, setting } = scenario;
        let protocol = *protocol;
        let sender = event('W', index, "");
        let values = setting.stored(index);
        let version = self.position(index as Value + 1).unwrap_or_default();
        let goes_to = |to| move |state: &mut Self| state.writers[index].step = Step::At(to);
        let goes_to_or = |to, otherwise: Step| {
            move |state: &mut Self, answer: Option<u8>| {
                state.writers[index].step = answer.map_or(otherwise, |_| Step::At(to));
            }
        };
        let answers_or = |otherwise: Step| {
            move |state: &mut Self, answer: Option<u8>| match answer {
                Some(_) => state.answer(setting, index),
                None => state.writers[index].step = otherwise,
            }
        };
        let finish = Command::FinishWrite { values, intent: self.writers[index].intent };
        match (protocol, step) {
            (protocol, 0) if protocol.has_intents() => {
                let begin = Command::BeginWrite { mask: setting.mask(index) };
                self.send(next, protocol, sender, begin, |state, answer| {
                    let writer = &mut state.writers[index];
                    writer.intent = answer.unwrap_or_default();
                    writer.step = match answer {
                        Some(_) => Step::At(1),
                        None if setting.is_deletion(index) => Step::At(5),
                        None => Step::Done,
                    };
                });
            }
            (Protocol::AnswerBeforeFinish, 2) => {
                let mut state = *self;
                state.answer(setting, index);
                state.writers[index].step = Step::At(3);
                next.push((event('W', index, "answers"), state));
            }
            // If the finish fails, the writer evicts the entry.
            (protocol, 2) if protocol.has_intents() => {
                self.send(next, protocol, sender, finish, answers_or(Step::At(4)));
            }
            (protocol, 3) if protocol.has_intents() => {
                self.send(next, protocol, sender, finish, |state, _| {
                    state.writers[index].step = Step::Done;
                });
            }
            (protocol, 4) if protocol.has_intents() => {
                self.send(next, protocol, sender, Command::Evict, answers_or(Step::Done));
            }
            (protocol, 5) if protocol.has_intents() => self.send_commit(next, index, goes_to(4)),
            (Protocol::Parallel, 0) => {
                let set = Command::Set { values };
                self.send(next, protocol, sender, set, goes_to_or(1, Step::Done));
                self.send_commit(next, index, goes_to(2));
            }
            (Protocol::Parallel, 1) => {
                self.send_commit(next, index, |state| state.answer(setting, index));
            }
            (Protocol::Parallel, 2) | (Protocol::SetAfterCommit, 1) => {
                let set = Command::Set { values };
                self.send(next, protocol, sender, set, answers_or(Step::Done));
            }
            (Protocol::DropAroundCommit, 0) => {
                self.send(next, protocol, sender, Command::Drop, goes_to_or(1, Step::Done));
            }
            (Protocol::DropAroundCommit, 2) | (Protocol::DropAfterCommit, 1) => {
                self.send(next, protocol, sender, Command::Drop, answers_or(Step::Done));
            }
            (Protocol::Versioned, 1) => {
                let set = Command::SetIfNewer { values, version };
                self.send(next, protocol, sender, set, answers_or(Step::Done));
            }
            (Protocol::Tombstone, 1) => {
                let leave = Command::LeaveTombstone;
                self.send(next, protocol, sender, leave, answers_or(Step::Done));
            }
            (_, step) => self.send_commit(next, index, goes_to(step + 1)),
        }
    }

    /// Adds the next step of a reader.
    fn read(&self, next: &mut Next, scenario: &Scenario, index: usize, step: u8) {
        let Scenario { protocol, setting } = scenario;
        let mask = setting.readers[index].unwrap_or_default();
        match step {
            0 => {
                let mut state = *self;
                let verb = if fields(mask).all(|field| self.entry.values[field].is_some()) {
                    state.readers[index].step = Step::Done;
                    state.see(setting, self.entry.values);
                    "hits"
                } else {
                    state.readers[index].step = Step::At(1);
                    if protocol.has_intents() {
                        state.readers[index].lease =
                            state.entry.lease(*protocol, FIRST_LEASE + index as u8);
                    }
                    "misses"
                };
                next.push((event('R', index, verb), state));
                if let Some(mut state) = self.with_fault() {
                    state.readers[index].step = Step::At(2);
                    next.push((event('R', index, "cannot reach the cache"), state));
                }
            }
            1 | 2 => {
                let mut state = *self;
                let values = self.current(setting, mask);
                state.see(setting, values);
                let reader = &mut state.readers[index];
                (reader.values, reader.version) = (values, self.commits.1 - 1);
                let fills = step == 1 && (!protocol.has_intents() || reader.lease.is_some());
                reader.step = if fills { Step::At(3) } else { Step::Done };
                next.push((event('R', index, "reads the origin"), state));
            }
            _ => {
                let Reader { values, version, lease, .. } = self.readers[index];
                let command = match (protocol, lease) {
                    (Protocol::FillWithoutLease, _) => Command::Fill { values, lease: None },
                    (_, Some(_)) => Command::Fill { values, lease },
                    (Protocol::Versioned, None) => Command::SetIfNewer { values, version },
                    (Protocol::Tombstone, None) => Command::SetIfNoTombstone { values },
                    _ => Command::Set { values },
                };
                self.send(next, *protocol, event('R', index, ""), command, |state, _| {
                    state.readers[index].step = Step::Done;
                });
            }
        }
    }
}
