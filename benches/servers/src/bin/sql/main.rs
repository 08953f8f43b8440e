//! Compares ruts with tower-sessions on SQLite and on MariaDB.
//!
//! Each round runs one process of each library, one after the other, on files in the same folder or
//! on the same server. The peer is `benches/sql-peer`, which cannot be linked into this program.
//! With the arguments of a job, this program acts as the ruts process. The argument `sqlite` or
//! `mariadb` limits the comparison to that database.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that fails panics")]

mod ours;
mod programs;
mod quiet;
mod report;

use std::{env, error::Error};

use benches::visits::{Database, Job, Request, SESSIONS};
use ruts_tests_stores::servers::MySql;

use self::{
    programs::{Folder, Program},
    quiet::Watch,
    report::{Case, Goals, Report},
};

/// Number of rounds of each measurement.
const ROUNDS: usize = 5;

/// The databases of both libraries in one place.
struct Place {
    name: String,
    ours: Database,
    peer: Database,
    goals: Goals,
}

impl Place {
    fn sqlite(folder: &Folder, full: bool) -> Self {
        let level = if full { "FULL" } else { "NORMAL" };
        let file = |library| folder.path().join(format!("{library}-{level}.db"));
        Self {
            name: format!("SQLite, {}, `{level}`", folder.name()),
            ours: Database::Sqlite { file: file("ruts"), full },
            peer: Database::Sqlite { file: file("peer"), full },
            goals: Goals::sqlite(folder.is_in_memory()),
        }
    }

    fn mysql(folder: &Folder, server: &MySql) -> Self {
        let database = Database::MySql { url: server.url() };
        Self {
            name: format!("MariaDB, {}", folder.name()),
            ours: database.clone(),
            peer: database,
            goals: Goals::MYSQL,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(job) = Job::from_args()? {
        ours::run(&job);
        return Ok(());
    }
    let only = env::args().nth(1);
    let is_wanted = |database: &str| only.as_deref().is_none_or(|only| only == database);
    let programs = Programs { ours: Program::ours(), peer: Program::peer() };
    let (mut report, mut watch) = (Report::new(), Watch::default());
    for folder in [Folder::in_memory(), Folder::on_disk()] {
        if is_wanted("sqlite") {
            for full in [true, false] {
                programs.compare(&Place::sqlite(&folder, full), &mut report, &mut watch);
            }
        }
        if is_wanted("mariadb") {
            let settings = ["debug-no-sync=OFF", "innodb_flush_log_at_trx_commit=1"];
            let server = MySql::start_in(folder.path(), &settings);
            programs.compare(&Place::mysql(&folder, &server), &mut report, &mut watch);
        }
    }
    println!("{report}\n{} of {} rounds were disturbed.", watch.disturbed, watch.rounds);
    Ok(())
}

struct Programs {
    ours: Program,
    peer: Program,
}

impl Programs {
    /// Measures all requests at a place. The programs take turns.
    fn compare(&self, place: &Place, report: &mut Report, watch: &mut Watch) {
        for in_flight in [1, SESSIONS] {
            for request in [Request::Read, Request::Write] {
                let mut case = Case::new(&place.name, request, in_flight, place.goals);
                let job = |database: &Database, request| Job {
                    database: database.clone(),
                    request,
                    in_flight,
                };
                for _ in 0..ROUNDS {
                    let (ours, peer) = watch.round(|| {
                        let ours = self.ours.measure(&job(&place.ours, request));
                        (ours, self.peer.measure(&job(&place.peer, request)))
                    });
                    case.ours.push(ours);
                    case.peer.push(peer);
                    if request == Request::Write {
                        let unread = job(&place.peer, Request::WriteUnread);
                        case.peer_unread.push(watch.round(|| self.peer.measure(&unread)));
                    }
                }
                report.push(&case);
            }
        }
        let increments = |program: &Program, database: &Database| {
            let request = Request::Increment;
            let job = Job { database: database.clone(), request, in_flight: SESSIONS };
            let mut kept: Vec<u32> = (0..ROUNDS).map(|_| program.count(&job)).collect();
            kept.sort_unstable();
            (kept[0], kept[ROUNDS - 1])
        };
        let ours = increments(&self.ours, &place.ours);
        report.push_increments(&place.name, ours, increments(&self.peer, &place.peer));
    }
}
