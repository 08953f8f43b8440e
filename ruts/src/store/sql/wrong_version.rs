//! [`WrongVersion`]: the error of a store whose tables do not have the version that this release
//! needs.
//!
//! Created by the migrations of the stores. Knows nothing about statements.

use std::fmt;

/// The tables do not have the version that this release needs.
#[derive(Debug)]
pub(in crate::store) struct WrongVersion {
    /// The version of the tables. Zero if there are no tables.
    pub(in crate::store) found: i32,
    /// The version that this release needs.
    pub(in crate::store) needed: i32,
    /// The name of the store's builder.
    pub(in crate::store) builder: &'static str,
}

impl std::error::Error for WrongVersion {}

impl fmt::Display for WrongVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, needed, builder } = self;
        match found {
            0 => write!(f, "the tables do not exist: ")?,
            later if later > needed => {
                write!(f, "the tables have version {later} of a later release: ")?;
                return write!(f, "this release needs {needed}");
            }
            _ => write!(f, "the tables have version {found} and version {needed} is needed: ")?,
        }
        write!(f, "call `create_tables(true)` on the builder, or run the SQL of `{builder}::sql`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_what_to_do() {
        let text =
            |found| WrongVersion { found, needed: 3, builder: "PostgresStoreBuilder" }.to_string();
        let to_do = "call `create_tables(true)` on the builder, or run the SQL of `PostgresStoreBuilder::sql`";
        assert_eq!(text(0), format!("the tables do not exist: {to_do}"));
        assert_eq!(text(1), format!("the tables have version 1 and version 3 is needed: {to_do}"));
        assert_eq!(text(4), "the tables have version 4 of a later release: this release needs 3");
    }
}
