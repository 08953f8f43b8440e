//! [`Lock`]: the text format, comparison and update of a whole lock.
//!
//! Used by `assert` and by applications. Knows the other files here, and nothing about codecs.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::{
    describe::{Describe, Described, Sample},
    locked_schema::LockedSchema,
    report::LockReport,
};
use crate::session::LockedSession;

const HEAD: &str = "\
# The types of stored session values, written by ruts. Check it in.
# To take over changes: RUTS_LOCK=accept cargo test
";

/// The types of the values that live sessions may hold in the fields of some `#[session]` structs.
///
/// A lock is text. It has one line for each type of a field, and below that line sample values of
/// the type in their stored form. The samples come from ruts or from a
/// [`LockTest`](super::LockTest), and hold no data of users. See
/// [`assert_lock`](super::assert_lock).
///
/// ```
/// use ruts::{session, testing::Lock};
///
/// #[session(lock)]
/// struct Shop {
///     #[field(default)]
///     cart: Vec<String>,
/// }
///
/// let lock = Lock::of::<Shop>();
/// let text = lock.to_string();
/// assert!(text.contains("cart 1 messagepack 78aa2b08 [str]"));
/// assert_eq!(text.parse(), Ok(lock.clone()));
/// assert!(lock.compare::<Shop>().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The sections, by the name of the struct.
    schemas: BTreeMap<String, LockedSchema>,
}

impl Lock {
    /// Returns the lock of one struct, as this build declares it.
    pub fn of<S: LockedSession>() -> Self {
        let mut lock = Self::default();
        lock.accept::<S>();
        lock
    }

    /// Compares the fields of a struct with the lock. Checks whether the fields read the values
    /// that live sessions hold, and whether the previous release reads the values that the fields
    /// write.
    pub fn compare<S: LockedSession>(&self) -> LockReport {
        self.compare_with::<S>(&describe::<S>(&[]))
    }

    pub(super) fn compare_with<S: LockedSession>(&self, fields: &[Described]) -> LockReport {
        LockReport::new(&self.schemas, S::SCHEMA, fields)
    }

    /// Accepts the fields of a struct, as this build declares them. Former types of a field stay in
    /// the lock, because live sessions may hold their values. The types of a retired name are
    /// removed.
    pub fn accept<S: LockedSession>(&mut self) {
        self.accept_with::<S>(&describe::<S>(&[]));
    }

    pub(super) fn accept_with<S: LockedSession>(&mut self, fields: &[Described]) {
        let locked = self.schemas.entry(S::SCHEMA.name().to_owned()).or_default();
        locked.take_over(S::SCHEMA, fields);
    }
}

#[track_caller]
pub(super) fn describe<S: LockedSession>(samples: &[Sample]) -> Vec<Described> {
    let mut describe = Describe { fields: Vec::new(), samples };
    S::visit_fields(&mut describe);
    let mut fields = describe.fields;
    samples.iter().for_each(|sample| sample.add_to(&mut fields));
    fields
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        self.schemas.iter().try_for_each(|(schema, locked)| write!(f, "\n[{schema}]\n{locked}"))
    }
}

/// The error of text that is not a [`Lock`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the lock cannot be read")]
pub struct ParseLockError {
    line: usize,
}

impl FromStr for Lock {
    type Err = ParseLockError;

    fn from_str(text: &str) -> Result<Self, ParseLockError> {
        let mut lock = Self::default();
        let mut locked = None;
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(schema) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                locked = Some(lock.schemas.entry(schema.to_owned()).or_default());
                continue;
            }
            let locked = locked.as_mut();
            let is_read = locked.and_then(|locked: &mut &mut LockedSchema| locked.parse_line(line));
            is_read.ok_or(ParseLockError { line: at + 1 })?;
        }
        Ok(lock)
    }
}
