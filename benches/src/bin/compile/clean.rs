//! Measures the time that `ruts` adds to a clean build.
//!
//! Called by `main` with `--clean`.

use benches::{Spread, Table};

use crate::{
    inputs::{SERDE, ruts},
    workspace::{Crate, Failure, Workspace},
};

const ROUNDS: usize = 3;
const FEATURE_SETS: [(&str, &str); 5] = [
    ("no features", "default-features = false"),
    ("`bincode`", "default-features = false, features = ['bincode']"),
    ("`axum`, `bincode` (default)", "features = []"),
    ("default and `messagepack`", "features = ['messagepack']"),
    ("default and `signed`", "features = ['signed']"),
];

/// Prints the time of a clean build with `ruts` as the only dependency.
pub(crate) fn print() -> Result<(), Failure> {
    let sets = FEATURE_SETS.map(|(name, features)| (name, ruts(features)));
    let sets = [("serde with `derive`, no ruts", SERDE.to_owned())].into_iter().chain(sets);
    let (names, crates): (Vec<&str>, Vec<Crate>) = (sets.enumerate())
        .map(|(index, (name, dependency))| {
            (name, Crate::new(format!("clean-{index}"), &dependency, String::new()))
        })
        .unzip();
    let workspace = Workspace::new("clean", &crates)?;
    // Downloads all dependencies before the timed builds.
    workspace.cargo(&["build", "--workspace"])?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(
            crates.iter().map(|member| workspace.build(member)).collect::<Result<Vec<_>, _>>()?,
        );
    }

    let mut table = Table::new(["dependency", "crates", "clean build, s"]);
    for (index, name) in names.into_iter().enumerate() {
        let (dependencies, _) = rounds[0][index];
        let seconds: Spread = rounds.iter().map(|builds| builds[index].1).collect();
        table.push([name.to_owned(), dependencies.to_string(), format!("{seconds:.1}")]);
    }
    println!("\n{table}");
    println!("`cargo build` of an empty crate with this one dependency (quartiles).");
    Ok(())
}
