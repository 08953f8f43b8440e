//! The names of the tables, indexes and functions of one store.
//!
//! Used by `templates` and `migrate`. Knows nothing of statements.

use crate::store::ENDED_RETENTION;

/// A schema or table name that PostgreSQL would not accept unquoted.
#[derive(Debug, thiserror::Error)]
#[error(
    "invalid schema or table name {0:?}: use at most 50 of the characters a-z, 0-9 and _, \
     and no digit at the beginning"
)]
pub struct InvalidName(String);

/// Tables beside the table of sessions. The longest name, of a table or a function, has 63 bytes,
/// which is the limit of PostgreSQL.
const TABLES: [&str; 3] = ["fields", "epoch", "migrations"];

const FUNCTIONS: [&str; 7] =
    ["create", "touch", "update", "update_batch", "take", "delete", "revoke"];

/// Indexes, which are created in the schema of their table.
const INDEXES: [&str; 2] = ["cleanup_hour", "principal"];

/// A valid schema and table name.
#[derive(Debug, Clone)]
pub(super) struct Identifiers {
    pub(super) schema: String,
    pub(super) table: String,
}

impl Identifiers {
    pub(super) fn new(schema: &str, table: &str) -> Result<Self, InvalidName> {
        for name in [schema, table] {
            let first = name.as_bytes().first();
            let fits = first.is_some_and(|byte| !byte.is_ascii_digit()) && name.len() <= 50;
            let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
            if !fits || !name.bytes().all(is_plain) {
                return Err(InvalidName(name.to_owned()));
            }
        }
        Ok(Self { schema: schema.to_owned(), table: table.to_owned() })
    }

    /// Returns the unquoted names of the functions.
    pub(super) fn functions(&self) -> Vec<String> {
        FUNCTIONS.iter().map(|name| format!("{}_{name}", self.table)).collect()
    }

    /// Returns the SQL for a placeholder of a template.
    pub(super) fn get(&self, placeholder: &str) -> Option<String> {
        let Self { schema, table } = self;
        match placeholder {
            "schema" => Some(format!("\"{schema}\"")),
            "sessions" => Some(format!("\"{schema}\".\"{table}\"")),
            "ended_retention_ms" => Some(ENDED_RETENTION.as_millis().to_string()),
            name if TABLES.contains(&name) || FUNCTIONS.contains(&name) => {
                Some(format!("\"{schema}\".\"{table}_{name}\""))
            }
            name if INDEXES.contains(&name) => Some(format!("\"{table}_{name}\"")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unquoted_names_are_valid() {
        for name in ["sessions", "_s", "s2", &"n".repeat(50)] {
            assert!(Identifiers::new("public", name).is_ok(), "{name}");
        }
        for name in ["", "2s", "Sessions", "a-b", "a.b", "a\"b", "größe", "a b", &"n".repeat(51)]
        {
            assert!(Identifiers::new("public", name).is_err(), "{name}");
            assert!(Identifiers::new(name, "sessions").is_err(), "{name}");
        }
    }

    #[test]
    fn the_longest_name_fits() {
        for name in TABLES.iter().chain(&FUNCTIONS).chain(&INDEXES) {
            assert!(50 + 1 + name.len() <= 63, "{name}");
        }
    }
}
