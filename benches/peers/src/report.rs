//! A page of the report.
//!
//! Filled by every measurement. Prints all text immediately, so that a long run shows its progress.

use std::fmt::Display;

use benches::Table;

/// The text of a page.
#[derive(Default)]
pub(crate) struct Report(pub(crate) String);

impl Report {
    /// Prints a text and adds it to the page.
    pub(crate) fn text(&mut self, text: impl Display) {
        println!("{text}");
        self.0.push_str(&format!("{text}\n"));
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.text(format!("\n# {text}, beside the peers\n"));
    }

    pub(crate) fn table<const N: usize>(&mut self, table: &Table<N>) {
        self.text(table);
    }
}
