//! Creates the tables, and refuses tables of a different version.
//!
//! Used when a store is opened.

use super::{
    connection::Database,
    error::{corrupt, unsupported},
    statements::{TABLES, TABLES_VERSION, VERSION},
};
use crate::store::StoreError;

/// Creates the tables that are missing. Any number of processes may call this concurrently.
pub(super) fn prepare(database: &Database) -> Result<(), StoreError> {
    database.begin_write()?;
    let prepared = database.execute_all(TABLES).and_then(|()| check_version(database));
    match prepared {
        Ok(()) => database.commit(),
        Err(error) => {
            database.roll_back();
            Err(error)
        }
    }
}

fn check_version(database: &Database) -> Result<(), StoreError> {
    match database.row(TABLES_VERSION, [], |row| row.get::<_, i64>(0))?.ok_or_else(corrupt)? {
        VERSION => Ok(()),
        _ => Err(unsupported("the tables do not have the version that this release of ruts needs")),
    }
}
