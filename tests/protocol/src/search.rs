//! A breadth-first search through all reachable states: [`search`].
//!
//! Used by the tests. The search goes from state to state, and does not know what a state contains.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use crate::state::{Event, Scenario, State, Violation};

/// The result of a search: the shortest path to a violation, if there is one.
pub struct Outcome {
    states: usize,
    /// The violation, and the events that lead to it.
    pub violation: Option<(Violation, Vec<Event>)>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states", self.states)?;
        let Some((violation, path)) = &self.violation else { return Ok(()) };
        write!(f, ", {violation:?}:")?;
        path.iter().try_for_each(|event| write!(f, " {event};"))
    }
}

/// Searches until it finds one of the violations, or has visited every state.
pub fn search(scenario: &Scenario, violations: &[Violation]) -> Outcome {
    let first = State::new(&scenario.setting);
    // For each state, the number of its predecessor and the event between them.
    let mut steps: Vec<(usize, Option<Event>)> = vec![(0, None)];
    let mut visited = HashSet::from([first]);
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((number, state)) = queue.pop_front() {
        let mut found = state.violations(&scenario.setting).into_iter();
        if let Some(violation) = found.find(|violation| violations.contains(violation)) {
            let mut path = Vec::new();
            let mut at = number;
            while let (before, Some(event)) = steps[at] {
                path.push(event);
                at = before;
            }
            path.reverse();
            return Outcome { states: visited.len(), violation: Some((violation, path)) };
        }
        for (event, next) in state.next(scenario) {
            let next = next.canonical();
            if visited.insert(next) {
                queue.push_back((steps.len(), next));
                steps.push((number, Some(event)));
            }
        }
    }
    Outcome { states: visited.len(), violation: None }
}
