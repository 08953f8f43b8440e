//! Compiles the same app with ruts and with each peer: a handler that writes and reads each field.
//!
//! Called by `main` with `--peers`.

use std::fmt::Write as _;

use benches::{Spread, Table};

use crate::{
    inputs::{self, SIZES},
    workspace::{Crate, Failure, Workspace},
};

const ROUNDS: usize = 5;
const CLEAN_ROUNDS: usize = 2;

const UPSTREAM: &str = "ruts = { version = '0.13', features = ['redis-store', 'postgres-store'] }";
const TOWER_SESSIONS: &str = "tower-sessions = '0.14'\ntower-sessions-redis-store = '0.16'\n\
    tower-sessions-sqlx-store = { version = '0.15', features = ['postgres'] }";

fn ruts() -> String {
    inputs::ruts("features = ['redis-store', 'postgres-store']")
}

const TYPES: [&str; 3] = ["String", "u64", "Vec<String>"];

/// Returns the lines of all fields.
fn each(size: usize, mut line: impl FnMut(&mut String, usize, &str)) -> String {
    let mut text = String::new();
    for index in 0..size {
        line(&mut text, index, TYPES[index % TYPES.len()]);
    }
    text
}

// Here and below, writing to a string cannot fail.
fn on_ruts(size: usize) -> String {
    let fields = each(size, |text, index, ty| {
        let _ = writeln!(text, "    pub field_{index}: {ty},");
    });
    let uses = each(size, |text, index, ty| {
        let _ = writeln!(
            text,
            "    shop.field_{index}().set(&<{ty}>::default()).await?;\n    \
             shop.field_{index}().await?;"
        );
    });
    format!(
        "#[ruts::session]\npub struct Shop {{\n{fields}}}\n\
         pub async fn handler(shop: Shop) -> Result<(), ruts::Error> {{\n{uses}    Ok(())\n}}\n"
    )
}

fn on_upstream(size: usize) -> String {
    let uses = each(size, |text, index, ty| {
        let _ = writeln!(
            text,
            "    session.set(\"field_{index}\", &<{ty}>::default(), hour, None).await.ok()?;\n    \
             let _: Option<{ty}> = session.get(\"field_{index}\").await.ok()?;"
        );
    });
    format!(
        "use ruts::{{Session, store::{{SessionStore, Ttl}}}};\n\
         pub async fn handler<S: SessionStore>(session: Session<S>, hour: Ttl) -> Option<()> {{\n\
         {uses}    Some(())\n}}\n\
         type Store = ruts::store::postgres::PostgresStore;\n\
         pub async fn instance(session: Session<Store>, hour: Ttl) -> Option<()> {{\n    \
         handler(session, hour).await\n}}\n"
    )
}

fn on_tower_sessions(size: usize) -> String {
    let uses = each(size, |text, index, ty| {
        let _ = writeln!(
            text,
            "    session.insert(\"field_{index}\", <{ty}>::default()).await?;\n    \
             let _: Option<{ty}> = session.get(\"field_{index}\").await?;"
        );
    });
    format!(
        "use tower_sessions::{{Session, session::Error}};\n\
         pub async fn handler(session: Session) -> Result<(), Error> {{\n{uses}    Ok(())\n}}\n"
    )
}

/// A stack: its name, its dependencies, and the source of the app by number of fields.
type Peer = (&'static str, String, fn(usize) -> String);

pub(crate) fn print() -> Result<(), Failure> {
    let peers: [Peer; 3] = [
        ("ruts", ruts(), on_ruts),
        ("ruts 0.13 upstream", UPSTREAM.to_owned(), on_upstream),
        ("tower-sessions 0.14", TOWER_SESSIONS.to_owned(), on_tower_sessions),
    ];
    let mut table = Table::new(["fields", "stack", "`cargo check`, s", "release build, s"]);
    let mut clean = Table::new(["stack, with Redis and PostgreSQL", "crates", "clean build, s"]);
    for (name, dependency, source) in peers {
        // One workspace for each stack, because two of them depend on a crate called ruts.
        let crates: Vec<Crate> = (SIZES.iter())
            .map(|size| Crate::new(format!("app-{size}"), &dependency, source(*size)))
            .collect();
        let workspace = Workspace::new(&name.replace([' ', '.'], "-"), &crates)?;
        for member in &crates {
            workspace.cargo(&["check", "--package", &member.name])?;
            workspace.cargo(&["build", "--release", "--package", &member.name])?;
        }
        for (member, size) in crates.iter().zip(SIZES) {
            let times = |run: &dyn Fn() -> Result<f64, Failure>| {
                (0..ROUNDS).map(|_| run()).collect::<Result<Spread, _>>()
            };
            let checks = times(&|| workspace.check(member))?;
            let releases = times(&|| workspace.release(member))?;
            table.push([
                size.to_string(),
                name.to_owned(),
                checks.to_string(),
                releases.to_string(),
            ]);
        }
        let builds = (0..CLEAN_ROUNDS)
            .map(|_| workspace.build(&crates[0]))
            .collect::<Result<Vec<_>, _>>()?;
        let seconds: Spread = builds.iter().map(|(_, seconds)| *seconds).collect();
        clean.push([name.to_owned(), builds[0].0.to_string(), format!("{seconds:.1}")]);
    }
    println!("{table}");
    println!("One handler that writes and reads each field. Dependencies are compiled beforehand.");
    println!("\n{clean}");
    println!("`cargo build` with an empty target directory.");
    Ok(())
}
