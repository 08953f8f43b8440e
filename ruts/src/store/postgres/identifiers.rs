//! The names of the tables, indexes and functions of one store.
//!
//! Used by `templates` and `migrate`. Knows nothing of statements.

use crate::store::{ENDED_RETENTION, REVOKED_RETENTION};

/// A schema or table name that is too long, or has other characters than those that are allowed.
#[derive(Debug, thiserror::Error)]
#[error(
    "invalid schema or table name {0:?}: use at most 50 of the characters A-Z, a-z, 0-9, _ and -"
)]
pub struct InvalidName(String);

/// Maximum number of sessions of a principal that a statement ends or looks at, beside those that a
/// limit lets it keep. It takes the server about 3 ms.
const STEP: usize = 100;

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
            // Every statement quotes it.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if name.is_empty() || name.len() > 50 || !name.bytes().all(is_plain) {
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
            "revoked_retention_ms" => Some(REVOKED_RETENTION.as_millis().to_string()),
            "step" => Some(STEP.to_string()),
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
    fn names_that_end_a_quotation_are_invalid() {
        for name in ["sessions", "_s", "2s", "Sessions", "a-b", &"n".repeat(50)] {
            assert!(Identifiers::new("public", name).is_ok(), "{name}");
        }
        for name in ["", "a.b", "a\"b", "a'b", "a$b", "größe", "a b", &"n".repeat(51)] {
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
