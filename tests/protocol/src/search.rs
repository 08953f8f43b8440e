//! The search, nearest first, through all that can happen.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use crate::world::{Breach, Event, Play, World};

/// How a search ended: a shortest way to a breach, if there is one.
pub struct Outcome {
    states: usize,
    /// What is wrong, and how it comes about.
    pub breach: Option<(Breach, Vec<Event>)>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states", self.states)?;
        let Some((breach, way)) = &self.breach else { return Ok(()) };
        write!(f, ", {breach:?}:")?;
        way.iter().try_for_each(|event| write!(f, " {event};"))
    }
}

/// Searches until something is wrong, or there is nothing left.
pub fn search(play: &Play, looked_for: &[Breach]) -> Outcome {
    let first = World::new(&play.setting);
    let mut ways: Vec<(usize, Option<Event>)> = vec![(0, None)];
    let mut known = HashSet::from([first]);
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((number, world)) = queue.pop_front() {
        let mut breaches = world.breaches(&play.setting).into_iter();
        if let Some(breach) = breaches.find(|breach| looked_for.contains(breach)) {
            let mut way = Vec::new();
            let mut at = number;
            while let (from, Some(event)) = ways[at] {
                way.push(event);
                at = from;
            }
            way.reverse();
            return Outcome { states: known.len(), breach: Some((breach, way)) };
        }
        for (event, world) in world.next(play) {
            let world = world.plain();
            if known.insert(world) {
                queue.push_back((ways.len(), world));
                ways.push((number, Some(event)));
            }
        }
    }
    Outcome { states: known.len(), breach: None }
}
