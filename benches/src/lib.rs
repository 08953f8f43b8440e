//! Medians and Markdown tables for all benchmarks, and [`visits`], the requests of the benchmark
//! `sql`.

pub mod visits;

use std::fmt;

/// The median of some measurements, and the quartiles.
///
/// The minimum and the maximum would depend on other processes of a shared machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The lower quartile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub high: f64,
}

impl FromIterator<f64> for Spread {
    /// Without measurements, all three are NaN.
    fn from_iter<I: IntoIterator<Item = f64>>(measurements: I) -> Self {
        let mut sorted: Vec<f64> = measurements.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Self { low: at(last / 4), median: at(last / 2), high: at(last - last / 4) }
    }
}

/// Writes `median (low to high)`, with two digits or the given precision.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { low, median, high } = self;
        write!(f, "{median:.digits$} ({low:.digits$} to {high:.digits$})")
    }
}

/// A table with `N` columns, written as Markdown.
#[derive(Debug)]
pub struct Table<const N: usize> {
    header: [String; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Creates a table without rows.
    pub fn new(header: [&str; N]) -> Self {
        Self { header: header.map(str::to_owned), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.header.join(" | "))?;
        writeln!(f, "|{}", " --- |".repeat(N))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_taken_from_the_measurements() {
        let spread: Spread = [5.0, 1.0, 4.0, 2.0, 3.0].into_iter().collect();
        assert_eq!(spread, Spread { low: 2.0, median: 3.0, high: 4.0 });
        let spread: Spread = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(spread, Spread { low: 1.0, median: 2.0, high: 3.0 });
        let spread: Spread = [7.0].into_iter().collect();
        assert_eq!(format!("{spread:.1}"), "7.0 (7.0 to 7.0)");
        let spread: Spread = [].into_iter().collect();
        assert!(spread.median.is_nan());
    }

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(["a", "b"]);
        table.push(["1".to_owned(), "2".to_owned()]);
        assert_eq!(table.to_string(), "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    }
}
