//! Statements as text: [`Script`], and the literals in it.
//!
//! Used by every file that writes a statement. All values are numbers or hexadecimal literals. No
//! value can end its literal early, and no setting of the server changes the meaning of a literal.

use std::fmt::{self, Display, Formatter, Write};

/// Statements that are sent together, in one round trip.
#[derive(Default)]
pub(super) struct Script {
    text: String,
    /// For each statement, the minimum number of rows that it has to find.
    expected: Vec<u64>,
}

impl Script {
    /// Creates a script of one statement.
    pub(super) fn of(statement: impl Display) -> Self {
        let mut script = Self::default();
        script.push(statement);
        script
    }

    /// Adds a statement and returns its index, which is also the index of its answer.
    pub(super) fn push(&mut self, statement: impl Display) -> usize {
        self.push_for(0, statement)
    }

    /// Adds a statement that has to find at least this number of rows, because the transaction has
    /// locked them. If MariaDB aborts the statement without an error, the statement finds no row.
    pub(super) fn push_for(&mut self, rows: u64, statement: impl Display) -> usize {
        let separator = if self.text.is_empty() { "" } else { "; " };
        // The result is ignored, because writing to a string does not fail.
        let _ = write!(self.text, "{separator}{statement}");
        self.expected.push(rows);
        self.expected.len() - 1
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    /// Returns whether each statement has found the rows that it has to find.
    pub(super) fn has_found(&self, rows: impl Iterator<Item = u64>) -> bool {
        self.expected.iter().zip(rows).all(|(expected, found)| found >= *expected)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Bytes as a literal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        const CHUNK: usize = 64;
        f.write_str("x'")?;
        for chunk in self.0.chunks(CHUNK) {
            let mut digits = [b'0'; 2 * CHUNK];
            for (pair, byte) in digits.chunks_exact_mut(2).zip(chunk) {
                pair[0] = DIGITS[usize::from(byte >> 4)];
                pair[1] = DIGITS[usize::from(byte & 15)];
            }
            let text = std::str::from_utf8(&digits[..2 * chunk.len()]).map_err(|_| fmt::Error)?;
            f.write_str(text)?;
        }
        f.write_str("'")
    }
}

/// A list with a separator between its items.
pub(super) struct Separated<'a, T>(pub(super) &'a [T], pub(super) &'a str);

impl<T: Display> Display for Separated<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(self.1)?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_hexadecimal_digits() {
        assert_eq!(Hex(&[]).to_string(), "x''");
        assert_eq!(Hex(&[0, 0x27, 0x5c, 0xff]).to_string(), "x'00275cff'");
        let long: Vec<u8> = (0..=255).collect();
        let expected: String = long.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Hex(&long).to_string(), format!("x'{expected}'"));
    }

    #[test]
    fn statements_are_numbered() {
        let mut script = Script::of("start transaction");
        assert_eq!(script.push(format_args!("select {}", Separated(&[1, 2], ", "))), 1);
        assert_eq!(script.text(), "start transaction; select 1, 2");
    }
}
