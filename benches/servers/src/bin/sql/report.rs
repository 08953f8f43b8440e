//! The tables of the benchmark, and its goals.
//!
//! Called by the benchmark. Starts no program and no server.

use std::fmt;

use benches::{
    Spread, Table,
    visits::{Figures, Request, SESSIONS},
};

/// Goals for the rate of ruts, as a multiple of the peer's, and for the delay of its writes.
#[derive(Clone, Copy)]
pub(crate) struct Goals {
    read: f64,
    write: f64,
    alone: f64,
    /// The delay that at most a hundredth of the writes exceeds, in milliseconds.
    p99: Option<f64>,
}

impl Goals {
    pub(crate) const MYSQL: Self = Self { read: 1.0, write: 1.0, alone: 1.0, p99: None };

    pub(crate) fn sqlite(is_in_memory: bool) -> Self {
        Self { read: 2.0, write: 4.0, alone: 2.0, p99: is_in_memory.then_some(10.0) }
    }

    fn times(&self, request: Request, in_flight: usize) -> f64 {
        match request {
            _ if in_flight == 1 => self.alone,
            Request::Read => self.read,
            _ => self.write,
        }
    }
}

/// The figures of all rounds for one request, at one place, with one number in flight.
pub(crate) struct Case<'a> {
    place: &'a str,
    request: Request,
    in_flight: usize,
    goals: Goals,
    pub(crate) ours: Vec<Figures>,
    pub(crate) peer: Vec<Figures>,
    /// The write of the peer without the read before it. Empty for other requests.
    pub(crate) peer_unread: Vec<Figures>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(place: &'a str, request: Request, in_flight: usize, goals: Goals) -> Self {
        let (ours, peer, peer_unread) = Default::default();
        Self { place, request, in_flight, goals, ours, peer, peer_unread }
    }

    /// Names the place, the request and the number in flight.
    fn name(&self) -> [String; 3] {
        let request = if self.request == Request::Read { "read" } else { "write" };
        [self.place.to_owned(), request.to_owned(), self.in_flight.to_string()]
    }

    /// Returns the rate of ruts as a multiple of the peer's in the same round.
    fn times(&self, peer: &[Figures]) -> Spread {
        self.ours.iter().zip(peer).map(|(ours, peer)| ours.rate / peer.rate).collect()
    }

    /// Returns the goal for the rate, and whether it is met. For a write, the rate of the peer
    /// counts its save alone.
    fn verdict(&self, times: Spread) -> String {
        let goal = self.goals.times(self.request, self.in_flight);
        let verdict = if times.median >= goal { "met" } else { "missed" };
        format!("{goal}: {verdict}")
    }

    /// Returns the goal for the delay of writes, and whether it is met.
    fn delay_verdict(&self, p99: Spread) -> String {
        let goal = self.goals.p99.filter(|_| self.request == Request::Write);
        goal.map_or_else(String::new, |goal| {
            let verdict = if p99.median < goal { "met" } else { "missed" };
            format!("{goal}: {verdict}")
        })
    }
}

/// The tables.
pub(crate) struct Report {
    rates: Table<8>,
    delays: Table<9>,
    increments: Table<3>,
}

impl Report {
    pub(crate) fn new() -> Self {
        let rates = [
            "database",
            "request",
            "in flight",
            "ruts, per second",
            "peer, per second",
            "times the peer",
            "times its save alone",
            "goal",
        ];
        let delays = [
            "database",
            "request",
            "in flight",
            "ruts: median, ms",
            "p99",
            "peer: median, ms",
            "p99",
            "its save alone: p99",
            "goal",
        ];
        Self {
            rates: Table::new(rates),
            delays: Table::new(delays),
            increments: Table::new(["database", "ruts", "peer"]),
        }
    }

    pub(crate) fn push(&mut self, case: &Case<'_>) {
        let rate = |figures: &[Figures]| spread(figures, |figures| figures.rate);
        let median = |figures: &[Figures]| spread(figures, |figures| figures.median);
        let p99 = |figures: &[Figures]| spread(figures, |figures| figures.p99);
        let unread = (!case.peer_unread.is_empty()).then_some(&*case.peer_unread);
        let times = case.times(&case.peer);
        let times_unread = unread.map(|peer| case.times(peer));
        let [place, request, in_flight] = case.name();
        eprintln!("{place}, {request}, {in_flight} in flight: {times} times the peer");
        self.rates.push([
            place.clone(),
            request.clone(),
            in_flight.clone(),
            format!("{:.0}", rate(&case.ours)),
            format!("{:.0}", rate(&case.peer)),
            times.to_string(),
            times_unread.map_or_else(String::new, |times| times.to_string()),
            case.verdict(times_unread.unwrap_or(times)),
        ]);
        self.delays.push([
            place,
            request,
            in_flight,
            median(&case.ours).to_string(),
            p99(&case.ours).to_string(),
            median(&case.peer).to_string(),
            p99(&case.peer).to_string(),
            unread.map_or_else(String::new, |peer| p99(peer).to_string()),
            case.delay_verdict(p99(&case.ours)),
        ]);
    }

    /// Records the minimum and the maximum number of increments that were kept.
    pub(crate) fn push_increments(&mut self, place: &str, ours: (u32, u32), peer: (u32, u32)) {
        let range = |(least, most)| {
            if least == most { format!("{least}") } else { format!("{least} to {most}") }
        };
        self.increments.push([place.to_owned(), range(ours), range(peer)]);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rates, delays, increments } = self;
        write!(f, "{rates}\n{delays}\nKept of {SESSIONS} concurrent increments:\n\n{increments}")
    }
}

fn spread(figures: &[Figures], value: impl Fn(&Figures) -> f64) -> Spread {
    figures.iter().map(value).collect()
}
