//! [`LockedSchema`]: one section of a lock, with the field types of one `#[session]` struct.
//!
//! Used by `file` and `report`. Knows the lines of `locked_type`.

use std::{collections::BTreeSet, fmt};

use super::{
    describe::Described,
    locked_type::{LockedType, parse_type},
    text::write_name,
};
use crate::{codec::parse_name, field::SessionSchema};

const RETIRED: &str = " retired";

/// The types of the fields of one `#[session]` struct.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LockedSchema {
    /// Sorted by name and version. The current type is the last one of its version.
    pub(super) types: Vec<LockedType>,
    /// Retired names, which no new field may have.
    pub(super) retired: BTreeSet<String>,
}

impl LockedSchema {
    /// Accepts the fields of this build.
    pub(super) fn take_over(&mut self, schema: &SessionSchema, fields: &[Described]) {
        for field in fields {
            let formers = self.types.iter_mut().filter(|of| of.name == field.spec.name());
            for former in formers.filter(|of| of.version < field.spec.version()) {
                // From this release on, the field refuses unencrypted values of that version.
                former.is_encrypted |= field.spec.encrypts(former.version);
            }
            let mut field = LockedType::of(field);
            let is_of_version =
                |of: &LockedType| of.name == field.name && of.version == field.version;
            // If an earlier release has written this version, live sessions hold its values even
            // after a rollback.
            field.is_unwritten &=
                !self.types.iter().any(|of| is_of_version(of) && !of.is_unwritten);
            // Live sessions do not hold values of a type that was never written, so the lock drops
            // such types.
            let is_current = |of: &LockedType| is_of_version(of) && of.is_same(&field);
            self.types.retain(|of| {
                !of.is_unwritten
                    || of.name != field.name
                    || of.version < field.version
                    || is_current(of)
            });
            if let Some(at) = self.types.iter().position(|other| other.is_same(&field)) {
                field.keep_values(self.types.remove(at));
            }
            self.types.push(field);
        }
        self.retired.extend(schema.retired().iter().map(|&name| name.to_owned()));
        self.types.retain(|of| !self.retired.contains(&of.name));
        self.types
            .sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
    }

    /// Reads a line of the section. `None` if it is malformed.
    pub(super) fn parse_line(&mut self, line: &str) -> Option<()> {
        if let Some(value) = line.strip_prefix("  ") {
            return self.types.last_mut()?.parse_value(value);
        }
        match parse_name(line)? {
            (name, RETIRED) => drop(self.retired.insert(name)),
            _ => self.types.push(parse_type(line)?),
        }
        Some(())
    }
}

impl fmt::Display for LockedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.types.iter().try_for_each(|of| write!(f, "{of}"))?;
        for name in &self.retired {
            write_name(name, f)?;
            writeln!(f, "{RETIRED}")?;
        }
        Ok(())
    }
}
