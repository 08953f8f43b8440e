//! What was asked of a store and answered, and whether one copy of the data could have answered so.

use std::{collections::HashMap, time::Instant};

/// When something was asked, and when it was answered.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub begun: Instant,
    pub ended: Instant,
}

/// One register: a field, the secret of a session, or whether it has ended. No value is written twice;
/// 0 is there from the start.
#[derive(Debug, Default)]
pub struct Register {
    writes: HashMap<u64, Write>,
    reads: Vec<(u64, Span)>,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    begun: Instant,
    /// `None` if it may take place later, or has not been told to all.
    confirmed: Option<Instant>,
}

/// All that is known of one value: the write comes between two moments, the last read before a third.
#[derive(Debug, Clone, Copy)]
struct Zone {
    value: u64,
    /// The earliest end and the latest begin of all that has to do with the value.
    first_end: Option<Instant>,
    last_begin: Option<Instant>,
}

impl Register {
    /// A write that is under way: nothing is known of it yet. Where two do the same, as when both end a
    /// session, it begins with the first.
    pub fn begin(&mut self, value: u64) {
        self.writes.entry(value).or_insert(Write { begun: Instant::now(), confirmed: None });
    }

    /// It was answered, and everybody knows.
    pub fn confirm(&mut self, value: u64) {
        self.writes.get_mut(&value).expect("it was begun").confirmed = Some(Instant::now());
    }

    pub fn read(&mut self, value: u64, span: Span) {
        self.reads.push((value, span));
    }

    pub fn count(&self) -> usize {
        self.reads.len()
    }

    /// What stands against one copy. Unconfirmed writes may have happened at any time, in parts of the
    /// system, so they and what was read of them are left out: what is left must be in order by itself.
    ///
    /// Values are written once, so the zones of Gibbons and Korach decide: the span in which a value must
    /// have been there, if one of its operations ended before another began. No two such spans may
    /// overlap, and no value may have come and gone within the span of another.
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
                // The first value was there before everything: its first end has no moment.
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
                    "{} was read after {} had replaced it, or the other way round",
                    pair[0].value, pair[1].value
                ));
            }
        }
        for zone in backward {
            let around = forward.partition_point(|other| other.first_end < zone.last_begin);
            let around = around.checked_sub(1).map(|at| forward[at]);
            if around.is_some_and(|other| zone.first_end < other.last_begin) {
                violations.push(format!("{} came and went while another was there", zone.value));
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Writes and reads as value, begin, end; a write without an end is not confirmed.
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
    fn one_copy_answers_so() {
        assert_eq!(violations(&[], &[(0, 1, 2)]), 0);
        assert_eq!(violations(&[(1, 10, Some(20))], &[(0, 1, 2), (0, 11, 19), (1, 12, 15)]), 0);
        let writes = [(1, 10, Some(20)), (2, 12, Some(22))];
        assert_eq!(violations(&writes, &[(1, 30, 31)]), 0);
        assert_eq!(violations(&writes, &[(2, 30, 31)]), 0);
        assert_eq!(violations(&[(1, 10, None)], &[(0, 20, 21), (1, 22, 23), (0, 24, 25)]), 0);
    }

    #[test]
    fn one_copy_never_answers_so() {
        assert_eq!(violations(&[], &[(7, 1, 2)]), 1, "never written");
        assert_eq!(violations(&[(1, 10, Some(20))], &[(1, 1, 2)]), 1, "before it was written");
        assert!(violations(&[(1, 10, Some(20))], &[(0, 21, 22)]) > 0, "stale");
        let both = [(1, 10, Some(20)), (2, 30, Some(40))];
        assert!(violations(&both, &[(1, 41, 42)]) > 0, "stale");
        let at_once = [(1, 10, Some(20)), (2, 10, Some(20))];
        assert!(violations(&at_once, &[(1, 30, 31), (2, 40, 41), (1, 50, 51)]) > 0, "back");
        assert!(violations(&at_once, &[(1, 30, 31), (2, 40, 41)]) > 0, "both last");
        assert!(violations(&[(1, 10, Some(20))], &[(1, 11, 12), (0, 15, 16)]) > 0, "back");
    }
}
