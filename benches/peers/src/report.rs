//! What is printed, kept for the report.

use std::fmt::Display;

use benches::Table;

#[derive(Default)]
pub(crate) struct Report(pub(crate) String);

impl Report {
    pub(crate) fn say(&mut self, text: impl Display) {
        println!("{text}");
        self.0.push_str(&format!("{text}\n"));
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.say(format!("\n# {text}, beside the peers\n"));
    }

    pub(crate) fn table<const N: usize>(&mut self, table: &Table<N>) {
        self.say(table);
    }
}
