//! [`Report`]: the findings of a run of all checks, one for each rule.
//!
//! Filled by `security`, read by tests. Knows nothing about clients or scenarios.

use std::fmt;

/// The findings of [`check_session_security`](crate::testing::check_session_security). `Display`
/// shows them as a table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// All findings, in the order of the checks.
    pub findings: Vec<Finding>,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Requirements that the check covers: OWASP ASVS 5.0, NIST SP 800-63B-4, OWASP Session
    /// Management Cheat Sheet (CS).
    pub ids: &'static str,
    /// The rule that has to hold.
    pub rule: &'static str,
    /// Whether it holds.
    pub outcome: Outcome,
}

/// Whether a rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The application follows the rule.
    Kept,
    /// The application breaks the rule. The text says how.
    Broken(String),
    /// The scenario does not have this part, so the rule was not checked.
    NotChecked(&'static str),
}

impl Report {
    pub(super) const fn new() -> Self {
        Self { findings: Vec::new() }
    }

    pub(super) fn note(&mut self, ids: &'static str, rule: &'static str, outcome: Outcome) {
        self.findings.push(Finding { ids, rule, outcome });
    }

    /// Returns the findings of broken rules.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Broken(_)))
    }

    /// Returns the first finding about a requirement, if there is one.
    pub fn about(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.ids.split(' ').any(|other| other == id))
    }
}

impl Outcome {
    /// Returns `Kept` if `is_kept`, otherwise `Broken` with an explanation.
    pub(super) fn kept_if(is_kept: bool, explain: impl FnOnce() -> String) -> Self {
        if is_kept { Self::Kept } else { Self::Broken(explain()) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { ids, rule, outcome } in &self.findings {
            match outcome {
                Outcome::Kept => writeln!(f, "kept         {rule} [{ids}]")?,
                Outcome::Broken(how) => {
                    writeln!(f, "BROKEN       {rule} [{ids}]\n             {how}")?
                }
                Outcome::NotChecked(part) => {
                    writeln!(f, "not checked  {rule} [{ids}]\n             needs `{part}`")?;
                }
            }
        }
        Ok(())
    }
}
