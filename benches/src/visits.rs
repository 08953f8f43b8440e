//! Visits the session stores of two libraries in the same way. The libraries cannot be linked into
//! one program.
//!
//! Each library has a program, which calls [`Job::run`]. The arguments of the program are a
//! [`Job`], and the last line of its output is the result. This file knows neither library.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Barrier, task::JoinSet};

/// Names of the fields of a session.
pub const FIELDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Number of sessions that are visited, and of increments.
pub const SESSIONS: usize = 64;

/// Number of connections to a database.
pub const CONNECTIONS: u32 = 10;

/// Duration of the visits before the measurement.
const WARM_UP: Duration = Duration::from_millis(200);

/// Duration of the measured visits.
const MEASURED: Duration = Duration::from_millis(800);

/// Values of 16 bytes, one for each of [`FIELDS`].
pub type Values = [String; FIELDS.len()];

/// Returns values that no session of this process has.
pub fn fresh_values() -> Values {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = NEXT.fetch_add(FIELDS.len() as u64, Ordering::Relaxed);
    [0, 1, 2, 3, 4].map(|index| format!("{:016x}", first + index))
}

/// A database. The programs share it, or each program has its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Database {
    /// A file with a write-ahead log.
    Sqlite {
        /// The file. It may be missing.
        file: PathBuf,
        /// Whether `synchronous` is `FULL` instead of `NORMAL`.
        full: bool,
    },
    /// A MariaDB server.
    MySql {
        /// Its URL.
        url: String,
    },
}

/// The request of a visitor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request {
    /// Reads five fields.
    Read,
    /// Writes five fields.
    Write,
    /// Writes five fields, without the read that a library may send first.
    WriteUnread,
    /// Increments a number, once by each of [`SESSIONS`] visitors with the same session.
    Increment,
}

impl Request {
    const ALL: [(Self, &str); 4] = [
        (Self::Read, "read"),
        (Self::Write, "write"),
        (Self::WriteUnread, "write-unread"),
        (Self::Increment, "increment"),
    ];
}

/// The work of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The database of the sessions.
    pub database: Database,
    /// The request to repeat.
    pub request: Request,
    /// Number of requests in flight.
    pub in_flight: usize,
}

impl Job {
    /// Returns the job in the arguments of this program, or `None` if there are fewer than two
    /// arguments.
    ///
    /// # Errors
    ///
    /// Fails if the arguments are not a job.
    pub fn from_args() -> Result<Option<Self>, Box<dyn Error>> {
        let words: Vec<String> = env::args().skip(1).collect();
        if words.len() < 2 { Ok(None) } else { Self::parse(&words).map(Some) }
    }

    fn parse(words: &[String]) -> Result<Self, Box<dyn Error>> {
        let [kind, place, request, in_flight] = words else {
            return Err(
                "the arguments are: kind of database, place, request, number in flight".into()
            );
        };
        let sqlite = |full| Database::Sqlite { file: place.into(), full };
        let database = match &**kind {
            "sqlite-full" => sqlite(true),
            "sqlite-normal" => sqlite(false),
            "mysql" => Database::MySql { url: place.clone() },
            _ => return Err(format!("unknown kind of database: {kind}").into()),
        };
        let request = Request::ALL.iter().find(|(_, name)| name == request);
        let (request, _) = request.ok_or("unknown request")?;
        Ok(Self { database, request: *request, in_flight: in_flight.parse()? })
    }

    /// Returns the arguments of a program that do this job.
    pub fn args(&self) -> [String; 4] {
        let (kind, place) = match &self.database {
            Database::Sqlite { file, full: true } => ("sqlite-full", file.display().to_string()),
            Database::Sqlite { file, full: false } => ("sqlite-normal", file.display().to_string()),
            Database::MySql { url } => ("mysql", url.clone()),
        };
        let request = Request::ALL.iter().find(|(request, _)| *request == self.request);
        let request = request.map_or("", |(_, name)| name);
        [kind.to_owned(), place, request.to_owned(), self.in_flight.to_string()]
    }

    /// Does the job and prints its result: [`Figures`], or the number of increments that were kept.
    ///
    /// `begin` begins a session with five fields.
    pub async fn run<V: Visitor>(&self, begin: impl AsyncFn(Values) -> V) {
        let mut visitors = Vec::new();
        for _ in 0..SESSIONS {
            visitors.push(begin(fresh_values()).await);
        }
        match self.request {
            Request::Increment => {
                let mut visitor = visitors.swap_remove(0);
                let start = Arc::new(Barrier::new(SESSIONS));
                let mut increments = JoinSet::new();
                for mut visitor in vec![visitor.clone(); SESSIONS] {
                    let start = Arc::clone(&start);
                    increments.spawn(async move {
                        start.wait().await;
                        visitor.increment().await;
                    });
                }
                increments.join_all().await;
                println!("{}", visitor.number().await);
            }
            request => println!("{}", visit(visitors, request, self.in_flight).await.line()),
        }
    }
}

/// A visitor with a session. Clones share the session.
pub trait Visitor: Clone + Send + 'static {
    /// Reads five fields.
    fn read(&mut self) -> impl Future<Output = ()> + Send;

    /// Writes five fields, as a request of this library does if it reads nothing.
    fn write(&mut self, values: Values) -> impl Future<Output = ()> + Send;

    /// Writes five fields of a session that was read by an earlier request.
    fn write_unread(&mut self, values: Values) -> impl Future<Output = ()> + Send {
        self.write(values)
    }

    /// Increments a number.
    fn increment(&mut self) -> impl Future<Output = ()> + Send;

    /// Returns the number.
    fn number(&mut self) -> impl Future<Output = u64> + Send;
}

/// Divides the visitors among `in_flight` tasks. Each task has one request in flight.
async fn visit<V: Visitor>(visitors: Vec<V>, request: Request, in_flight: usize) -> Figures {
    let mut shares: Vec<Vec<V>> = (0..in_flight).map(|_| Vec::new()).collect();
    for (index, visitor) in visitors.into_iter().enumerate() {
        shares[index % in_flight].push(visitor);
    }
    let start = Instant::now() + WARM_UP;
    let end = start + MEASURED;
    let mut tasks = JoinSet::new();
    for mut share in shares {
        tasks.spawn(async move {
            let mut delays = Vec::new();
            for visitor in (0..share.len()).cycle() {
                let begun = Instant::now();
                if begun >= end {
                    break;
                }
                let visitor = &mut share[visitor];
                match request {
                    Request::Read => visitor.read().await,
                    Request::Write => visitor.write(fresh_values()).await,
                    Request::WriteUnread => visitor.write_unread(fresh_values()).await,
                    Request::Increment => visitor.increment().await,
                }
                if begun >= start {
                    delays.push(begun.elapsed());
                }
            }
            delays
        });
    }
    let delays = tasks.join_all().await.concat();
    Figures::new(delays, start.elapsed())
}

/// Measurements of one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Requests per second.
    pub rate: f64,
    /// Median delay of a request, in milliseconds.
    pub median: f64,
    /// 99th percentile of the delays, in milliseconds.
    pub p99: f64,
}

impl Figures {
    fn new(mut delays: Vec<Duration>, elapsed: Duration) -> Self {
        delays.sort_unstable();
        let at = |percent: usize| {
            let delay = delays.get(delays.len() * percent / 100);
            delay.map_or(f64::NAN, |delay| delay.as_secs_f64() * 1000.0)
        };
        let rate = delays.len() as f64 / elapsed.as_secs_f64();
        Self { rate, median: at(50), p99: at(99) }
    }

    fn line(&self) -> String {
        let mut line = String::new();
        for number in [self.rate, self.median, self.p99] {
            let _ = write!(line, "{number} ");
        }
        line
    }
}

/// Reads the output of [`Job::run`].
impl FromStr for Figures {
    type Err = Box<dyn Error>;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let numbers: Vec<f64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        match numbers[..] {
            [rate, median, p99] => Ok(Self { rate, median, p99 }),
            _ => Err(format!("the line has no figures: {line}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_figures_are_read_as_they_were_written() {
        let databases = [
            Database::Sqlite { file: "/a/b".into(), full: true },
            Database::Sqlite { file: "/a/b".into(), full: false },
            Database::MySql { url: "mysql://root@127.0.0.1:3306/test".to_owned() },
        ];
        for (database, (request, _)) in databases.into_iter().zip(Request::ALL) {
            let job = Job { database, request, in_flight: 64 };
            assert_eq!(Job::parse(&job.args()).unwrap(), job);
        }
        let figures = Figures { rate: 1000.5, median: 0.25, p99: 3.0 };
        assert_eq!(figures.line().parse::<Figures>().unwrap(), figures);
        assert!("1 2".parse::<Figures>().is_err());
    }

    #[test]
    fn delays_are_in_milliseconds() {
        let delays = (1..=100).rev().map(Duration::from_millis).collect();
        let figures = Figures::new(delays, Duration::from_secs(2));
        assert_eq!(figures, Figures { rate: 50.0, median: 51.0, p99: 100.0 });
    }
}
