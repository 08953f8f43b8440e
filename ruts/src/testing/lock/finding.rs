//! [`LockFinding`]: a difference between a field and its lock, with the advice.
//!
//! Made by `report` and `field_report`. Plain data.

use std::fmt;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LockLevel {
    /// The lock is out of date, but the change does not affect live sessions.
    Stale,
    /// The change has an effect to be aware of before the deploy.
    Warning,
    /// Live sessions would lose a value, or requests would fail. The change cannot be accepted:
    /// change the code instead.
    Breaks,
}

/// A finding about one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFinding {
    level: LockLevel,
    field: String,
    text: String,
}

impl LockFinding {
    pub(super) fn new(level: LockLevel, field: &str, text: impl Into<String>) -> Self {
        Self { level, field: field.to_owned(), text: text.into() }
    }

    /// Returns the severity of the finding.
    pub const fn level(&self) -> LockLevel {
        self.level
    }

    /// Returns the stored name of the field.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for LockFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<7} `{}` {}", format!("{:?}", self.level), self.field, self.text)
    }
}
