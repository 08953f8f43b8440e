//! Reads the processor time of this process and of the servers that it started, from `/proc`. Used
//! by `load`.

use std::{fs, ops::Sub, process, time::Duration};

/// Processor time so far of all threads that are still running.
#[derive(Clone, Copy)]
pub(crate) struct ProcessorTime {
    pub(crate) app: Duration,
    pub(crate) servers: Duration,
}

impl Sub for ProcessorTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            app: self.app.saturating_sub(earlier.app),
            servers: self.servers.saturating_sub(earlier.servers),
        }
    }
}

/// Returns the processor time so far.
pub(crate) fn time() -> ProcessorTime {
    let own = process::id();
    let parents: Vec<(u32, u32)> = processes().collect();
    let mut family = vec![own];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    let servers = family.iter().skip(1).map(|id| time_of(*id)).sum();
    ProcessorTime { app: time_of(own), servers }
}

/// Returns each process and its parent.
fn processes() -> impl Iterator<Item = (u32, u32)> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    entries.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name of a process is in parentheses, and may itself contain parentheses.
        let (_, rest) = stat.rsplit_once(')')?;
        Some((id, rest.split_whitespace().nth(1)?.parse().ok()?))
    })
}

/// Returns the time of all threads of a process, or zero if the process has ended.
fn time_of(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    times.sum()
}
