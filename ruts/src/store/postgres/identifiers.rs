//! The names of the tables, indexes and functions of one store.
//!
//! Made by the builder of the store, used by every file that fills in a template. Knows nothing
//! about statements.

use crate::store::{
    DELETED_RETENTION, REVOKED_RETENTION,
    sql::{InvalidName, check_name},
};

/// Maximum number of sessions of a principal that a statement ends or checks, besides the sessions
/// that may stay under a limit. A step takes the server about 3 ms.
const STEP: usize = 100;

/// Suffixes of the tables besides the table of sessions. The names of tables and functions have at
/// most 63 bytes, the limit of PostgreSQL.
const TABLES: [&str; 3] = ["fields", "epoch", "migrations"];

const FUNCTIONS: [&str; 8] =
    ["create", "touch", "update", "update_batch", "take", "delete", "revoke", "next_epoch"];

/// Indexes, which are created in the schema of their table.
const INDEXES: [&str; 3] = ["cleanup_hour", "no_deadline", "principal"];

/// A valid schema and table name.
#[derive(Debug, Clone)]
pub(super) struct Identifiers {
    pub(super) schema: String,
    pub(super) table: String,
}

impl Identifiers {
    pub(super) fn new(schema: &str, table: &str) -> Result<Self, InvalidName> {
        check_name(schema)?;
        check_name(table)?;
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
            "deleted_retention_ms" => Some(DELETED_RETENTION.as_millis().to_string()),
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
    fn the_longest_name_fits() {
        for name in TABLES.iter().chain(&FUNCTIONS).chain(&INDEXES) {
            assert!(50 + 1 + name.len() <= 63, "{name}");
        }
    }
}
