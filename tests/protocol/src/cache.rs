//! The cache: one entry, and its commands. Each command is one step.
//!
//! Used by `state`. This file knows neither the origin nor the processes.

/// A written value: 0 is the initial value, and any other value is the number of its writer.
pub(crate) type Value = u8;

pub(crate) const INITIAL: Value = 0;
pub(crate) const FIELDS: usize = 2;

/// The value of each field, if it is known.
pub(crate) type Values = [Option<Value>; FIELDS];

/// A set of fields, as bits.
pub type Mask = u8;

/// The first field.
pub const ONE: Mask = 1;
/// Both fields.
pub const BOTH: Mask = 3;

pub(crate) fn fields(mask: Mask) -> impl Iterator<Item = usize> {
    (0..FIELDS).filter(move |field| mask & (1 << field) != 0)
}

/// Returns this value for these fields, and no value for the other fields.
pub(crate) fn only(mask: Mask, value: Value) -> Values {
    std::array::from_fn(|field| (mask & (1 << field) != 0).then_some(value))
}

/// Number of the first lease. Write intents have lower numbers.
pub(crate) const FIRST_LEASE: u8 = 100;

/// A protocol between the tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The protocol of `LayeredStore`. A write registers an intent, commits to the origin, finishes
    /// in the cache, and only then answers. A fill needs a lease. A cache that went back in time
    /// does not read its older data.
    Complete,
    /// `Complete`, with a limit: a write intent merges all other intents into one that no write
    /// owns.
    MergedIntents,
    /// `MergedIntents`, but drops the other intents instead of merging them.
    DroppedIntents,
    /// `Complete`, but the cache reads the data of an earlier run of its server.
    WithoutRunId,
    /// `Complete`, but the write answers before it finishes.
    AnswerBeforeFinish,
    /// `Complete`, but a write intent keeps the issued lease.
    IntentKeepsLease,
    /// `Complete`, but a write intent keeps the values.
    IntentKeepsValues,
    /// `Complete`, but readers get leases in spite of write intents.
    LeaseDespiteIntent,
    /// `Complete`, but a finish stores its values although its intent overlapped with another
    /// intent.
    FinishIgnoresOverlap,
    /// `Complete`, but a finish does nothing if its intent is gone.
    LateFinishDoesNothing,
    /// `Complete`, but an eviction keeps the issued lease. So does a finish whose intent is gone.
    EvictionKeepsLease,
    /// `Complete`, but an eviction does not mark the other intents as overlapped. Neither does a
    /// finish whose intent is gone.
    EvictionOverlapsNone,
    /// `Complete`, but fills need no lease.
    FillWithoutLease,
    /// A write goes to both tiers at the same time.
    Parallel,
    /// A write commits, then sets the cache.
    SetAfterCommit,
    /// A write commits, then drops the entry.
    DropAfterCommit,
    /// A write drops the entry, commits, and drops the entry again.
    DropAroundCommit,
    /// A write commits, then sets the cache if the cache holds an older version. Fills do the same.
    Versioned,
    /// A write commits, then leaves a tombstone in the cache that blocks fills until it expires.
    Tombstone,
}

impl Protocol {
    pub(crate) fn has_intents(self) -> bool {
        use Protocol::{
            DropAfterCommit, DropAroundCommit, Parallel, SetAfterCommit, Tombstone, Versioned,
        };
        !matches!(
            self,
            Parallel | SetAfterCommit | DropAfterCommit | DropAroundCommit | Versioned | Tombstone
        )
    }
}

/// A command to the cache, which runs as one script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Command {
    /// Registers a write intent and drops these fields. The answer is the number of the intent.
    BeginWrite { mask: Mask },
    /// Removes the intent. Stores the values if the intent did not overlap with another intent. If
    /// the intent is gone, evicts the entry.
    FinishWrite { values: Values, intent: u8 },
    /// Stores the values of a read if the lease is still valid.
    Fill { values: Values, lease: Option<u8> },
    /// Stores the values.
    Set { values: Values },
    /// Stores the values if they are newer.
    SetIfNewer { values: Values, version: u8 },
    /// Stores the values if there is no tombstone.
    SetIfNoTombstone { values: Values },
    /// Removes all values and the lease, and marks the intents as overlapped.
    Evict,
    /// Drops everything.
    Drop,
    /// Drops everything and leaves a tombstone.
    LeaveTombstone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WriteIntent {
    pub(crate) number: u8,
    /// Whether another intent existed at the same time.
    overlapped: bool,
}

/// Merged intents. Their number belongs to no write.
const MERGED: WriteIntent = WriteIntent { number: 0, overlapped: true };

/// The entry of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Entry {
    pub(crate) values: Values,
    /// The lease that readers get.
    pub(crate) lease: Option<u8>,
    pub(crate) intents: [Option<WriteIntent>; 4],
    /// Version of the values, for `Versioned`.
    pub(crate) version: u8,
    /// Whether values may not be stored until the tombstone expires, for `Tombstone`.
    pub(crate) tombstone: bool,
    /// Highest number of an intent that is still known. The next intent gets a higher one.
    pub(crate) last_number: u8,
}

impl Entry {
    pub(crate) fn emptied(self) -> Self {
        Self { last_number: self.last_number, ..Self::default() }
    }

    fn has_intent(&self) -> bool {
        self.intents.iter().any(Option::is_some)
    }

    /// Returns the lease that a reader gets after a miss, if any.
    pub(crate) fn lease(&mut self, protocol: Protocol, new: u8) -> Option<u8> {
        if self.has_intent() && protocol != Protocol::LeaseDespiteIntent {
            return None;
        }
        Some(*self.lease.get_or_insert(new))
    }

    fn put(&mut self, values: Values) {
        for (held, value) in self.values.iter_mut().zip(values) {
            *held = value.or(*held);
        }
    }

    /// Runs a command. Only `BeginWrite` has an answer.
    pub(crate) fn run(&mut self, protocol: Protocol, command: Command) -> u8 {
        match command {
            Command::BeginWrite { mask } => return self.begin_write(protocol, mask),
            Command::FinishWrite { values, intent } => self.finish_write(protocol, values, intent),
            Command::Fill { values, lease } => {
                if lease.is_none_or(|lease| self.lease == Some(lease)) {
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
            Command::Evict => self.evict(protocol),
            Command::Drop => *self = self.emptied(),
            Command::LeaveTombstone => *self = Self { tombstone: true, ..self.emptied() },
        }
        0
    }

    fn begin_write(&mut self, protocol: Protocol, mask: Mask) -> u8 {
        if protocol != Protocol::IntentKeepsValues {
            fields(mask).for_each(|field| self.values[field] = None);
        }
        if protocol != Protocol::IntentKeepsLease {
            self.lease = None;
        }
        self.last_number += 1;
        self.limit_intents(protocol);
        let overlapped = self.has_intent();
        self.mark_overlap();
        let free = self
            .intents
            .iter_mut()
            .find(|slot| slot.is_none())
            .expect("a slot for the intent should be free");
        *free = Some(WriteIntent { number: self.last_number, overlapped });
        self.intents.sort_unstable();
        self.last_number
    }

    /// Merges or drops the intents if the protocol has a limit.
    fn limit_intents(&mut self, protocol: Protocol) {
        let merged = match protocol {
            Protocol::MergedIntents if self.has_intent() => Some(MERGED),
            Protocol::DroppedIntents => None,
            _ => return,
        };
        self.intents = [merged, None, None, None];
    }

    fn evict(&mut self, protocol: Protocol) {
        self.values = Values::default();
        if protocol != Protocol::EvictionKeepsLease {
            self.lease = None;
        }
        if protocol != Protocol::EvictionOverlapsNone {
            self.mark_overlap();
        }
    }

    fn mark_overlap(&mut self) {
        self.intents.iter_mut().flatten().for_each(|intent| intent.overlapped = true);
    }

    fn finish_write(&mut self, protocol: Protocol, values: Values, number: u8) {
        let own = |intent: &&mut Option<WriteIntent>| intent.is_some_and(|it| it.number == number);
        match self.intents.iter_mut().find(own).and_then(Option::take) {
            Some(intent) if !intent.overlapped || protocol == Protocol::FinishIgnoresOverlap => {
                self.put(values);
            }
            Some(_) => {}
            None if protocol == Protocol::LateFinishDoesNothing => {}
            None => self.evict(protocol),
        }
        self.intents.sort_unstable();
    }
}
