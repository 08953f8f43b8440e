//! [`FairQueue`]: a queue in which no key can block the other keys.
//!
//! Used by the batcher. Knows nothing about requests, batches or tokio.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Maximum number of entries that a batch skips because they do not fit.
const MAX_KEPT: usize = 64;

/// Maximum number of busy keys that a batch visits without emptying their queues.
const MAX_BUSY: usize = 8;

/// The answer to an offered entry.
pub(super) enum Offered<T> {
    /// The entry left the queue.
    Taken,
    /// The entry does not fit into this batch.
    Waits(T),
    /// The key of the entry already has its share of this batch. The entries of the key move to a
    /// queue of their own, where they do not delay other entries.
    Busy(T),
}

/// Entries in order of arrival. A key with more entries than its share of a batch is busy. Its
/// entries wait in a queue of their own, and busy keys take turns.
pub(super) struct FairQueue<K, T> {
    arrived: VecDeque<T>,
    busy: HashMap<K, VecDeque<T>>,
    /// The busy keys, in the order of their turns.
    turns: VecDeque<K>,
    /// Whether the entries of busy keys are offered first the next time.
    busy_first: bool,
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    pub(super) fn new() -> Self {
        let (arrived, turns) = (VecDeque::new(), VecDeque::new());
        Self { arrived, busy: HashMap::new(), turns, busy_first: false }
    }

    pub(super) fn push(&mut self, entry: T) {
        self.arrived.push_back(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_empty() && self.busy.is_empty()
    }

    /// Returns the number of entries that are not in the queue of a busy key.
    pub(super) fn arrived(&self) -> usize {
        self.arrived.len()
    }

    /// Returns whether any key is busy.
    pub(super) fn has_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    pub(super) fn is_busy(&self, key: K) -> bool {
        self.busy.contains_key(&key)
    }

    /// Offers entries for a batch. Entries of the same key are offered in order of arrival. With
    /// `with_busy`, the entries of busy keys are offered too. At least one entry is then offered,
    /// unless the queue is empty. The work is proportional to the number of entries that are taken
    /// or become busy, plus a constant.
    pub(super) fn offer(
        &mut self,
        with_busy: bool,
        key: impl Fn(&T) -> K,
        mut offer: impl FnMut(T) -> Offered<T>,
    ) {
        let busy_first = with_busy && self.busy_first;
        if busy_first {
            self.offer_busy(&mut offer);
        }
        self.offer_arrived(key, &mut offer);
        if with_busy {
            if !busy_first {
                self.offer_busy(&mut offer);
            }
            self.busy_first = !busy_first;
        }
    }

    fn offer_arrived(&mut self, key: impl Fn(&T) -> K, offer: &mut impl FnMut(T) -> Offered<T>) {
        let mut kept = Vec::new();
        while kept.len() < MAX_KEPT
            && let Some(entry) = self.arrived.pop_front()
        {
            let key = key(&entry);
            if let Some(queue) = self.busy.get_mut(&key) {
                queue.push_back(entry);
                continue;
            }
            match offer(entry) {
                Offered::Taken => {}
                Offered::Waits(entry) => kept.push(entry),
                Offered::Busy(entry) => {
                    self.busy.insert(key, VecDeque::from([entry]));
                    self.turns.push_back(key);
                }
            }
        }
        for entry in kept.into_iter().rev() {
            self.arrived.push_front(entry);
        }
    }

    fn offer_busy(&mut self, offer: &mut impl FnMut(T) -> Offered<T>) {
        // If no entry of a key was taken, the key comes first the next time.
        let (mut unserved, mut served) = (Vec::new(), Vec::new());
        while unserved.len() + served.len() < MAX_BUSY
            && let Some(key) = self.turns.pop_front()
        {
            let Some(queue) = self.busy.get_mut(&key) else { continue };
            let mut was_served = false;
            while let Some(entry) = queue.pop_front() {
                match offer(entry) {
                    Offered::Taken => was_served = true,
                    Offered::Waits(entry) | Offered::Busy(entry) => {
                        queue.push_front(entry);
                        break;
                    }
                }
            }
            if queue.is_empty() {
                self.busy.remove(&key);
            } else if was_served {
                served.push(key);
            } else {
                unserved.push(key);
            }
        }
        self.turns.extend(served);
        for key in unserved.into_iter().rev() {
            self.turns.push_front(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes entries, at most two of each key and at most `most` in total.
    fn take(queue: &mut FairQueue<char, (char, u32)>, most: usize, with_busy: bool) -> String {
        let mut taken: Vec<(char, u32)> = Vec::new();
        queue.offer(
            with_busy,
            |(key, _)| *key,
            |entry| {
                if taken.iter().filter(|(key, _)| *key == entry.0).count() >= 2 {
                    return Offered::Busy(entry);
                }
                if taken.len() >= most {
                    return Offered::Waits(entry);
                }
                taken.push(entry);
                Offered::Taken
            },
        );
        taken.iter().map(|(key, number)| format!("{key}{number} ")).collect()
    }

    fn queue(keys: &str) -> FairQueue<char, (char, u32)> {
        let mut queue = FairQueue::new();
        for (number, key) in (1..).zip(keys.chars()) {
            queue.push((key, number));
        }
        queue
    }

    #[test]
    fn entries_leave_in_their_order() {
        let mut queue = queue("abcabc");
        assert_eq!(take(&mut queue, 4, true), "a1 b2 c3 a4 ");
        assert_eq!(take(&mut queue, 4, true), "b5 c6 ");
        assert!(queue.is_empty());
    }

    #[test]
    fn a_busy_key_is_not_in_the_way() {
        let mut queue = queue("aaaaaaaab");
        assert_eq!(take(&mut queue, 9, true), "a1 a2 b9 ");
        assert!(queue.is_busy('a') && !queue.is_busy('b'));
        queue.push(('a', 10));
        queue.push(('c', 11));
        assert_eq!(take(&mut queue, 9, false), "c11 ", "a busy key should wait");
        assert_eq!(take(&mut queue, 9, true), "a3 a4 ");
        assert_eq!(take(&mut queue, 9, true), "a5 a6 ");
        assert_eq!(take(&mut queue, 9, true), "a7 a8 ");
        assert_eq!(take(&mut queue, 9, true), "a10 ");
        assert!(queue.is_empty());
    }

    #[test]
    fn busy_keys_take_turns() {
        let mut queue = queue("aaaaaabbbbbb");
        assert_eq!(take(&mut queue, 4, true), "a1 a2 b7 b8 ");
        assert_eq!(take(&mut queue, 2, true), "a3 a4 ");
        assert_eq!(take(&mut queue, 2, true), "b9 b10 ");
        assert_eq!(take(&mut queue, 2, true), "a5 a6 ");
    }

    #[test]
    fn neither_the_busy_nor_the_others_wait_for_ever() {
        let mut queue = queue("aaaaaa");
        take(&mut queue, 2, true);
        let mut taken = String::new();
        for number in 10..14 {
            for key in ['x', 'y', 'z'] {
                queue.push((key, number));
            }
            taken.push_str(&take(&mut queue, 3, true));
        }
        assert!(taken.contains('a') && taken.contains('x'), "{taken}");
    }
}
