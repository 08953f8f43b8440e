//! Measures the time that `#[session]` adds to the compilation of a crate.
//!
//! Called by `main`, unless the argument is `--peers`.

use std::fmt::Write as _;

use benches::{Spread, Table};

use crate::{
    inputs::{SERDE, SIZES, ruts},
    workspace::{Crate, Failure, Workspace},
};

const ROUNDS: usize = 7;

/// Maximum time that `#[session]` may add at [`GOAL_SIZE`] fields, in seconds.
const GOAL: f64 = 0.3;
const GOAL_SIZE: usize = 20;

/// Types and attributes, used in turn. They cover `ttl`, `hot`, `default`, `once` and `lazy`.
const FIELDS: [(&str, &str); 5] = [
    ("String", r#"#[field(ttl = "7d", hot = "10m")]"#),
    ("u64", "#[field(default)]"),
    ("Vec<String>", r#"#[field(ttl = "30d", default)]"#),
    ("String", r#"#[field(ttl = "10m", once)]"#),
    ("Option<u32>", "#[field(lazy)]"),
];

/// Prints the cost of a schema compared with a plain struct, by number of fields.
pub(crate) fn print() -> Result<(), Failure> {
    let mut crates = Vec::new();
    for size in SIZES {
        crates.push(Crate::new(format!("plain-{size}"), SERDE, plain(size)));
        crates.push(Crate::new(format!("session-{size}"), &ruts("features = []"), session(size)));
    }
    let workspace = Workspace::new("schemas", &crates)?;
    // Checks one crate at a time, because a check of the whole workspace unifies the features of
    // all members.
    for member in &crates {
        workspace.cargo(&["check", "--package", &member.name])?;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(
            crates.iter().map(|member| workspace.check(member)).collect::<Result<Vec<_>, _>>()?,
        );
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
    println!("`cargo check` of one crate without its dependencies, not incremental (quartiles).");
    let verdict = if goal < GOAL { "met" } else { "MISSED" };
    println!("Goal: {GOAL_SIZE} fields add less than {GOAL} s: {verdict} ({goal:.2} s).");
    Ok(())
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
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {attribute} pub field_{index}: {ty},");
        text
    });
    format!("{attribute}\npub struct Schema {{\n{fields}}}\n")
}
