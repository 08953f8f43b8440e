//! What `#[session]` adds to the compile time of a crate, over a plain serde struct of the same
//! fields; with `--clean` also what `ruts` adds to a clean build, by feature set; with `--peers` the same app on
//! ruts and on its peers.
//!
//! The crates to compile are generated below the target directory, with the versions of this
//! workspace's `Cargo.lock`.

mod lab;
mod peers;

use std::{env, error::Error, fmt::Write as _};

use benches::{Spread, Table};
use lab::{Crate, Lab};

const SIZES: [usize; 3] = [1, 20, 200];
const ROUNDS: usize = 7;

/// What `#[session]` may add at 20 fields, in seconds.
const GOAL: f64 = 0.3;
const GOAL_SIZE: usize = 20;

const SERDE: &str = "serde = { version = '1', features = ['derive'] }";

/// Types and attributes in turn, so that a schema uses most of what the macro can do.
const FIELDS: [(&str, &str); 5] = [
    ("String", r#"#[field(ttl = "7d", hot = "10m")]"#),
    ("u64", "#[field(default)]"),
    ("Vec<String>", r#"#[field(ttl = "30d", default)]"#),
    ("String", r#"#[field(ttl = "10m", once)]"#),
    ("Option<u32>", "#[field(lazy)]"),
];

const CLEAN_ROUNDS: usize = 3;
const FEATURE_SETS: [(&str, &str); 5] = [
    ("no features", "default-features = false"),
    ("`bincode`", "default-features = false, features = ['bincode']"),
    ("`axum`, `bincode` (default)", "features = []"),
    ("default and `messagepack`", "features = ['messagepack']"),
    ("default and `signed`", "features = ['signed']"),
];

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => schemas(),
        ["--clean"] => {
            schemas()?;
            clean_builds()
        }
        ["--peers"] => peers::print(),
        _ => Err("the only arguments are `--clean` and `--peers`".into()),
    }
}

/// Prints what a schema costs over a plain struct, by number of fields.
fn schemas() -> Result<(), Failure> {
    let mut crates = Vec::new();
    for size in SIZES {
        crates.push(Crate::new(format!("plain-{size}"), SERDE, plain(size)));
        crates.push(Crate::new(format!("session-{size}"), &ruts("features = []"), session(size)));
    }
    let lab = Lab::new("schemas", &crates)?;
    // One by one, because a workspace as a whole gets its dependencies with other features.
    for leaf in &crates {
        lab.cargo(&["check", "--package", &leaf.name])?;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(crates.iter().map(|leaf| lab.check(leaf)).collect::<Result<Vec<_>, _>>()?);
    }

    let mut table =
        Table::new(["fields", "plain struct, s", "`#[session]`, s", "added, s", "ratio"]);
    let mut goal = f64::NAN;
    for (index, size) in SIZES.into_iter().enumerate() {
        let pairs = || rounds.iter().map(|times| (times[2 * index], times[2 * index + 1]));
        let added: Spread = pairs().map(|(plain, session)| session - plain).collect();
        if size == GOAL_SIZE {
            goal = added.median;
        }
        table.push([
            size.to_string(),
            pairs().map(|(plain, _)| plain).collect::<Spread>().to_string(),
            pairs().map(|(_, session)| session).collect::<Spread>().to_string(),
            added.to_string(),
            pairs().map(|(plain, session)| session / plain).collect::<Spread>().to_string(),
        ]);
    }
    println!("{table}");
    println!("`cargo check` of one crate, nothing else to do, not incremental (quartiles).");
    let verdict = if goal < GOAL { "met" } else { "MISSED" };
    println!("Goal: {GOAL_SIZE} fields add less than {GOAL} s: {verdict} ({goal:.2} s).");
    Ok(())
}

/// Prints what a crate that depends on `ruts` takes to build from nothing.
fn clean_builds() -> Result<(), Failure> {
    let sets = FEATURE_SETS.map(|(name, features)| (name, ruts(features)));
    let sets = [("serde with `derive`, no ruts", SERDE.to_owned())].into_iter().chain(sets);
    let (names, crates): (Vec<&str>, Vec<Crate>) = (sets.enumerate())
        .map(|(index, (name, dependency))| {
            (name, Crate::new(format!("clean-{index}"), &dependency, String::new()))
        })
        .unzip();
    let lab = Lab::new("clean", &crates)?;
    // Downloads what is missing, so that no timed build has to.
    lab.cargo(&["build", "--workspace"])?;
    let mut rounds = Vec::new();
    for _ in 0..CLEAN_ROUNDS {
        rounds.push(crates.iter().map(|leaf| lab.build(leaf)).collect::<Result<Vec<_>, _>>()?);
    }

    let mut table = Table::new(["dependency", "crates", "clean build, s"]);
    for (index, name) in names.into_iter().enumerate() {
        let (dependencies, _) = rounds[0][index];
        let seconds: Spread = rounds.iter().map(|builds| builds[index].1).collect();
        table.push([name.to_owned(), dependencies.to_string(), format!("{seconds:.1}")]);
    }
    println!("\n{table}");
    println!("`cargo build` of an empty crate with that one dependency (quartiles).");
    Ok(())
}

fn ruts(features: &str) -> String {
    format!("ruts = {{ path = '{}/../ruts', {features} }}", env!("CARGO_MANIFEST_DIR"))
}

fn plain(size: usize) -> String {
    let derive = "#[derive(serde::Serialize, serde::Deserialize)]";
    structure(derive, (0..size).map(|index| ("", FIELDS[index % FIELDS.len()].0)))
}

fn session(size: usize) -> String {
    let fields = (0..size).map(|index| FIELDS[index % FIELDS.len()]);
    structure("#[ruts::session]", fields.map(|(ty, attribute)| (attribute, ty)))
}

fn structure<'a>(attribute: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields = fields.enumerate().fold(String::new(), |mut text, (index, (attribute, ty))| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "    {attribute} pub field_{index}: {ty},");
        text
    });
    format!("{attribute}\npub struct Schema {{\n{fields}}}\n")
}
