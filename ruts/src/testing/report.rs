use std::fmt;

/// What [`SessionSecurity::check`](super::SessionSecurity::check) found, as a table.
#[derive(Debug, Clone)]
pub struct Report {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The requirements it is about: OWASP ASVS 5.0, NIST SP 800-63B-4, OWASP Session Management Cheat Sheet
    /// (CS).
    pub ids: &'static str,
    /// What should be.
    pub rule: &'static str,
    /// What is.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be.
    Kept,
    /// It is not, and in what way.
    Broken(String),
    /// It was not looked at, for want of this in the scenario.
    NotChecked(&'static str),
}

impl Report {
    /// Those that were found broken.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Broken(_)))
    }

    /// The finding about a requirement, if there is one.
    pub fn about(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.ids.split(' ').any(|other| other == id))
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
                Outcome::NotChecked(what) => {
                    writeln!(f, "not checked  {rule} [{ids}]\n             needs `{what}`")?;
                }
            }
        }
        Ok(())
    }
}
