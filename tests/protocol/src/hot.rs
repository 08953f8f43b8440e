//! The cache: one entry, and the commands that it runs, each as one step.

/// What is written: 0 is there from the start, the others are the numbers of their writers.
pub(crate) type Value = u8;

pub(crate) const FIRST: Value = 0;
pub(crate) const FIELDS: usize = 2;

/// What each field holds, if it is known.
pub(crate) type Values = [Option<Value>; FIELDS];

/// Which fields, as bits.
pub type Mask = u8;

/// The first field.
pub const ONE: Mask = 1;
/// All of them.
pub const BOTH: Mask = 3;

pub(crate) fn fields(mask: Mask) -> impl Iterator<Item = usize> {
    (0..FIELDS).filter(move |field| mask & (1 << field) != 0)
}

/// These fields of a value, and nothing of the others.
pub(crate) fn only(mask: Mask, value: Value) -> Values {
    std::array::from_fn(|field| (mask & (1 << field) != 0).then_some(value))
}

/// So that the tickets of readers differ from the numbers of fences.
pub(crate) const READER: u8 = 100;

/// How tiers are kept in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A fence, one cold statement, the finish, and only then the answer; fills by ticket; a cache
    /// that went back in time is another cache.
    Fenced,
    /// The same, but what an older run of the cache's server wrote is still read.
    FencedWithoutRun,
    /// The same, but the answer comes before the finish.
    AnsweredBeforeFinish,
    /// The same, but a fence leaves the ticket that is out.
    FenceLeavesTicket,
    /// The same, but a fence drops nothing.
    FenceLeavesValues,
    /// The same, but readers get tickets in spite of fences.
    TicketsInSpiteOfFences,
    /// The same, but a finish installs although another fence stood beside its own.
    FinishIgnoresOthers,
    /// The same, but a finish whose fence is gone does nothing.
    FinishForgives,
    /// The same, but a finish whose fence is gone leaves the ticket that is out.
    FinishLeavesTicket,
    /// The same, but a finish whose fence is gone does not count as another one for those that stand.
    FinishTellsNobody,
    /// The same, but fills ask for no ticket.
    FilledWithoutTicket,
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
    pub(crate) fn is_fenced(self) -> bool {
        use Shape::{
            DropAfterCommit, DropAroundCommit, Parallel, SetAfterCommit, Tombstone, Versioned,
        };
        !matches!(
            self,
            Parallel | SetAfterCommit | DropAfterCommit | DropAroundCommit | Versioned | Tombstone
        )
    }
}

/// What is sent to hot. Each is one script there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Command {
    /// Drop these fields; no fills until the fence is gone. Hot answers with the number of this very
    /// run.
    WriteIntent { mask: Mask },
    /// Take that fence away. If it stood alone all the time, these are the values; if it does not
    /// stand any more, nothing is known.
    Finish { values: Values, fence: u8 },
    /// Put what was read there if the ticket is still good.
    Fill { values: Values, ticket: Option<u8> },
    /// Put it there.
    Set { values: Values },
    /// Put it there if it is newer.
    SetIfNewer { values: Values, version: u8 },
    /// Put it there if there is no tombstone.
    SetIfNoTombstone { values: Values },
    /// Drop everything.
    Drop,
    /// Drop everything and leave a tombstone.
    Bury,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WriteIntent {
    pub(crate) number: u8,
    /// Another one stood at some moment at which this one did.
    beside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct CachePolicy {
    pub(crate) values: Values,
    /// Whoever has it may fill.
    pub(crate) ticket: Option<u8>,
    pub(crate) fences: [Option<WriteIntent>; 4],
    /// For shapes that compare versions: that of the values.
    pub(crate) version: u8,
    /// For shapes with one: nothing may be put there until it lapses.
    pub(crate) tombstone: bool,
    /// The highest number of a fence that anybody knows. No number is given twice.
    pub(crate) numbers: u8,
}

impl CachePolicy {
    pub(crate) fn emptied(self) -> Self {
        Self { numbers: self.numbers, ..Self::default() }
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fences.iter().any(Option::is_some)
    }

    /// What a reader who misses gets.
    pub(crate) fn ticket(&mut self, shape: Shape, own: u8) -> Option<u8> {
        if self.is_fenced() && shape != Shape::TicketsInSpiteOfFences {
            return None;
        }
        Some(*self.ticket.get_or_insert(own))
    }

    fn put(&mut self, values: Values) {
        for (held, value) in self.values.iter_mut().zip(values) {
            *held = value.or(*held);
        }
    }

    /// Runs a command. Only a fence has an answer.
    pub(crate) fn run(&mut self, shape: Shape, command: Command) -> u8 {
        match command {
            Command::WriteIntent { mask } => return self.fence(shape, mask),
            Command::Finish { values, fence } => self.finish(shape, values, fence),
            Command::Fill { values, ticket } => {
                if ticket.is_none_or(|ticket| self.ticket == Some(ticket)) {
                    self.put(values);
                }
            }
            Command::Set { values } => self.put(values),
            Command::SetIfNewer { values, version } => {
                if self.values == Values::default() || version > self.version {
                    self.put(values);
                    self.version = version;
                }
            }
            Command::SetIfNoTombstone { values } => {
                if !self.tombstone {
                    self.put(values);
                }
            }
            Command::Drop => *self = self.emptied(),
            Command::Bury => *self = Self { tombstone: true, ..self.emptied() },
        }
        0
    }

    fn fence(&mut self, shape: Shape, mask: Mask) -> u8 {
        if shape != Shape::FenceLeavesValues {
            fields(mask).for_each(|field| self.values[field] = None);
        }
        if shape != Shape::FenceLeavesTicket {
            self.ticket = None;
        }
        self.numbers += 1;
        let beside = self.is_fenced();
        self.fences.iter_mut().flatten().for_each(|fence| fence.beside = true);
        let room = self.fences.iter_mut().find(|room| room.is_none()).expect("few fences");
        *room = Some(WriteIntent { number: self.numbers, beside });
        self.fences.sort_unstable();
        self.numbers
    }

    fn finish(&mut self, shape: Shape, values: Values, number: u8) {
        let mine = self.fences.iter_mut().find(|fence| fence.is_some_and(|it| it.number == number));
        match mine.and_then(Option::take) {
            Some(fence) if !fence.beside || shape == Shape::FinishIgnoresOthers => self.put(values),
            Some(_) => {}
            None if shape == Shape::FinishForgives => {}
            None => {
                self.values = Values::default();
                if shape != Shape::FinishLeavesTicket {
                    self.ticket = None;
                }
                if shape != Shape::FinishTellsNobody {
                    self.fences.iter_mut().flatten().for_each(|fence| fence.beside = true);
                }
            }
        }
        self.fences.sort_unstable();
    }
}
