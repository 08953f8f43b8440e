//! [`Lock`]: the types of stored values, as text that is checked in.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::{
    describe::{Describe, Described},
    locked_type::{LockedType, parse_type},
    report::LockReport,
};
use crate::session::LockedSession;

const HEAD: &str = "\
# The types of stored session values, written by ruts. Check it in.
# To take over changes: RUTS_LOCK=accept cargo test
";

/// The types of the values that live sessions may hold: of the fields of some `#[session]` structs.
///
/// It is text, with one line for each type of a field, and below it values of this type as they are
/// stored. These are made by ruts, and hold no data of users. See [`assert_lock`](super::assert_lock).
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
/// assert!(text.contains("cart 1 messagepack 78aa2b09 [str]"));
/// assert_eq!(text.parse(), Ok(lock.clone()));
/// assert!(lock.compare::<Shop>().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// By the name of the struct.
    schemas: BTreeMap<String, Vec<LockedType>>,
}

impl Lock {
    /// Returns the lock of one struct, as this build declares it.
    pub fn of<S: LockedSession>() -> Self {
        let mut lock = Self::default();
        lock.take_over(S::SCHEMA.name(), &describe::<S>());
        lock
    }

    /// Compares the fields of a struct with the lock: whether they read what live sessions hold, and
    /// whether the release before reads what they write.
    pub fn compare<S: LockedSession>(&self) -> LockReport {
        LockReport::new(self.types(S::SCHEMA.name()), &describe::<S>())
    }

    /// Takes over the fields of a struct, as this build declares them. Former types of a field stay,
    /// because live sessions may hold their values.
    pub fn accept<S: LockedSession>(&mut self) {
        self.take_over(S::SCHEMA.name(), &describe::<S>());
    }

    fn types(&self, schema: &str) -> &[LockedType] {
        self.schemas.get(schema).map_or(&[], Vec::as_slice)
    }

    fn take_over(&mut self, schema: &str, fields: &[Described]) {
        let types = self.schemas.entry(schema.to_owned()).or_default();
        for field in fields {
            let field = LockedType::of(field);
            // The current type is the last one of its version.
            types.retain(|other| !other.is_same(&field));
            types.push(field);
        }
        types.sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
    }
}

fn describe<S: LockedSession>() -> Vec<Described> {
    let mut fields = Describe::default();
    S::visit_fields(&mut fields);
    fields.0
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        for (schema, types) in &self.schemas {
            writeln!(f, "\n[{schema}]")?;
            types.iter().try_for_each(|of| write!(f, "{of}"))?;
        }
        Ok(())
    }
}

/// A text is no [`Lock`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the lock cannot be read")]
pub struct ParseLockError {
    line: usize,
}

impl FromStr for Lock {
    type Err = ParseLockError;

    fn from_str(text: &str) -> Result<Self, ParseLockError> {
        let mut lock = Self::default();
        let mut types = None;
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let error = ParseLockError { line: at + 1 };
            if let Some(schema) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                types = Some(lock.schemas.entry(schema.to_owned()).or_default());
                continue;
            }
            let types: &mut Vec<LockedType> = types.as_mut().ok_or_else(|| error.clone())?;
            let is_read = match line.strip_prefix("  ") {
                Some(value) => types.last_mut().and_then(|last| last.parse_value(value)),
                None => parse_type(line).map(|of| types.push(of)),
            };
            is_read.ok_or(error)?;
        }
        Ok(lock)
    }
}
