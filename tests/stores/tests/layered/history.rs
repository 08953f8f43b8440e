//! The operations on a register and their answers, and whether a single copy of the data could have
//! given these answers.

use std::{collections::HashMap, time::Instant};

/// The time of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub begun: Instant,
    pub ended: Instant,
}

/// A register: a field, the secret of a session, or whether it has ended. No value is written
/// twice. The first value is 0.
#[derive(Debug, Default)]
pub struct Register {
    writes: HashMap<u64, Write>,
    reads: Vec<(u64, Span)>,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    begun: Instant,
    /// `None` if the write may take place later, or if a cache may be stale.
    confirmed: Option<Instant>,
}

/// The zone of a value: the times of all operations on it.
#[derive(Debug, Clone, Copy)]
struct Zone {
    value: u64,
    /// The earliest end and the latest begin of the operations on the value.
    first_end: Option<Instant>,
    last_begin: Option<Instant>,
}

impl Register {
    /// Records that a write begins. Two writes of the same value, such as two deletions, count as
    /// one that begins with the first.
    pub fn begin(&mut self, value: u64) {
        self.writes.entry(value).or_insert(Write { begun: Instant::now(), confirmed: None });
    }

    /// Records that a write was answered, and that no cache is stale.
    pub fn confirm(&mut self, value: u64) {
        self.writes.get_mut(&value).expect("the write should have begun").confirmed =
            Some(Instant::now());
    }

    pub fn read(&mut self, value: u64, span: Span) {
        self.reads.push((value, span));
    }

    pub fn count(&self) -> usize {
        self.reads.len()
    }

    /// Returns the answers that one copy could not have given.
    ///
    /// An unconfirmed write may take place at any time, even in only one of the tiers. So
    /// unconfirmed writes and the reads of their values are left out. The rest must be consistent
    /// on its own.
    ///
    /// Each value is written once, so the zone test of Gibbons and Korach shows whether one copy
    /// could have given all answers. A forward zone is the time in which a value must have been the
    /// current one, because one of its operations ended before another began. No two forward zones
    /// may overlap, and no value may come and go within a forward zone of another value.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let mut zones: HashMap<u64, Zone> = HashMap::new();
        zones.insert(0, Zone { value: 0, first_end: None, last_begin: None });
        for (value, write) in &self.writes {
            if let Some(ended) = write.confirmed {
                let zone =
                    Zone { value: *value, first_end: Some(ended), last_begin: Some(write.begun) };
                zones.insert(*value, zone);
            }
        }
        for (value, span) in &self.reads {
            match self.writes.get(value) {
                None if *value != 0 => violations.push(format!("{value} was never written")),
                Some(write) if span.ended < write.begun => {
                    violations.push(format!("{value} was read before it was written"));
                }
                _ => {}
            }
            if let Some(zone) = zones.get_mut(value) {
                // The value 0 was never written, so its `first_end` stays `None`, before all times.
                if *value != 0 {
                    zone.first_end = zone.first_end.map(|end| end.min(span.ended));
                }
                zone.last_begin =
                    Some(zone.last_begin.map_or(span.begun, |begin| begin.max(span.begun)));
            }
        }
        let (forward, backward): (Vec<Zone>, Vec<Zone>) = zones
            .into_values()
            .filter(|zone| zone.last_begin.is_some())
            .partition(|zone| zone.first_end < zone.last_begin);
        let mut forward = forward;
        forward.sort_by_key(|zone| zone.first_end);
        for pair in forward.windows(2) {
            if pair[1].first_end < pair[0].last_begin {
                violations.push(format!(
                    "reads alternated between {} and {}",
                    pair[0].value, pair[1].value
                ));
            }
        }
        for zone in backward {
            let around = forward.partition_point(|other| other.first_end < zone.last_begin);
            let around = around.checked_sub(1).map(|at| forward[at]);
            if around.is_some_and(|other| zone.first_end < other.last_begin) {
                violations.push(format!(
                    "{} came and went while a different value had to be the current one",
                    zone.value
                ));
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Counts violations. A write or read is a tuple of value, begin and end. A write without an
    /// end was not acknowledged.
    fn violations(writes: &[(u64, u64, Option<u64>)], reads: &[(u64, u64, u64)]) -> usize {
        let start = Instant::now();
        let at = |moment: u64| start + Duration::from_millis(moment);
        let mut register = Register::default();
        for (value, begun, ended) in writes {
            let write = Write { begun: at(*begun), confirmed: ended.map(at) };
            register.writes.insert(*value, write);
        }
        for (value, begun, ended) in reads {
            register.read(*value, Span { begun: at(*begun), ended: at(*ended) });
        }
        register.violations().len()
    }

    #[test]
    fn answers_of_one_copy_are_accepted() {
        assert_eq!(violations(&[], &[(0, 1, 2)]), 0);
        assert_eq!(violations(&[(1, 10, Some(20))], &[(0, 1, 2), (0, 11, 19), (1, 12, 15)]), 0);
        let writes = [(1, 10, Some(20)), (2, 12, Some(22))];
        assert_eq!(violations(&writes, &[(1, 30, 31)]), 0);
        assert_eq!(violations(&writes, &[(2, 30, 31)]), 0);
        assert_eq!(violations(&[(1, 10, None)], &[(0, 20, 21), (1, 22, 23), (0, 24, 25)]), 0);
    }

    #[test]
    fn other_answers_are_violations() {
        assert_eq!(
            violations(&[], &[(7, 1, 2)]),
            1,
            "a read of a value that was never written should be a violation"
        );
        assert_eq!(
            violations(&[(1, 10, Some(20))], &[(1, 1, 2)]),
            1,
            "a read before the write should be a violation"
        );
        assert!(
            violations(&[(1, 10, Some(20))], &[(0, 21, 22)]) > 0,
            "a stale read should be a violation"
        );
        let both = [(1, 10, Some(20)), (2, 30, Some(40))];
        assert!(violations(&both, &[(1, 41, 42)]) > 0, "a stale read should be a violation");
        let at_once = [(1, 10, Some(20)), (2, 10, Some(20))];
        assert!(
            violations(&at_once, &[(1, 30, 31), (2, 40, 41), (1, 50, 51)]) > 0,
            "a read that goes back to an older value should be a violation"
        );
        assert!(
            violations(&at_once, &[(1, 30, 31), (2, 40, 41)]) > 0,
            "two last values should be a violation"
        );
        assert!(
            violations(&[(1, 10, Some(20))], &[(1, 11, 12), (0, 15, 16)]) > 0,
            "a read that goes back to an older value should be a violation"
        );
    }
}
