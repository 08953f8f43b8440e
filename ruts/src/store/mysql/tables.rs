//! The names of the tables of one store: [`Tables`].
//!
//! Used by every file that writes a statement. Knows nothing about sessions.

use crate::store::sql::{InvalidName, check_name};

/// Number of rows of the table of locks. The first byte of a principal chooses its row.
pub(super) const LOCKS: usize = 256;

/// Quoted names. The tables are in the database of the connection.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    /// Unquoted name of the table of sessions. It is the prefix of the other names.
    pub(super) prefix: String,
    pub(super) sessions: String,
    pub(super) fields: String,
    pub(super) epoch: String,
    pub(super) locks: String,
    pub(super) migrations: String,
}

impl Tables {
    pub(super) fn new(table: &str) -> Result<Self, InvalidName> {
        check_name(table)?;
        Ok(Self {
            prefix: table.to_owned(),
            sessions: format!("`{table}`"),
            fields: format!("`{table}_fields`"),
            epoch: format!("`{table}_epoch`"),
            locks: format!("`{table}_locks`"),
            migrations: format!("`{table}_migrations`"),
        })
    }

    /// Returns the quoted names of all tables.
    pub(super) fn all(&self) -> [&str; 5] {
        [&self.sessions, &self.fields, &self.epoch, &self.locks, &self.migrations]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_fits() {
        let tables = Tables::new(&"n".repeat(50)).unwrap();
        let quotes = 2;
        assert!(tables.all().iter().all(|name| name.len() <= 64 + quotes));
    }
}
