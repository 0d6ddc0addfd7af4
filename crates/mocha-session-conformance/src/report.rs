//! The report of a run: each case by name, with its outcome and the reason.

use std::fmt;
use std::time::Duration;

/// The outcome of a case.
///
/// ```
/// use mocha_session_conformance::Outcome;
/// assert!(!Outcome::Skipped("the engine cannot list".to_owned()).is_failed());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store meets the contract.
    Passed,
    /// The case does not apply to this store, for this reason.
    Skipped(String),
    /// The store broke the contract in this way.
    Failed(String),
}

impl Outcome {
    /// Returns whether the store broke the contract.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "FAILED",
        }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Skipped(why) | Self::Failed(why) => why,
        }
    }
}

/// One case of a [`Report`].
///
/// ```
/// # fn show(report: &mocha_session_conformance::Report) -> Vec<String> {
/// report.findings().iter().map(|finding| format!("{} took {:?}", finding.name(),
/// finding.took())).collect()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Finding {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

impl Finding {
    pub(crate) fn new(name: &'static str, outcome: Outcome, took: Duration) -> Self {
        Self { name, outcome, took }
    }

    /// Returns the case's name, which states the requirement.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the case's outcome.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Returns the case's duration.
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// The result of [`run`](crate::run). `Display` prints a table.
///
/// ```
/// # use mocha_session_conformance::Report;
/// fn must_be_right(report: &Report) {
///     assert!(report.is_ok(), "{report}");
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a report proves nothing unless it is checked"]
pub struct Report {
    engine: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(engine: &'static str, findings: Vec<Finding>) -> Self {
        Self { engine, findings }
    }

    /// Returns whether no case failed.
    pub fn is_ok(&self) -> bool {
        self.failed().next().is_none()
    }

    /// Returns every case, in the order in which they ran.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the outcome of the case of this name, if there is one.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.findings.iter().find(|finding| finding.name == name).map(Finding::outcome)
    }

    /// Returns the names of the cases that passed.
    pub fn passed(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.findings.iter().filter(|finding| finding.outcome == Outcome::Passed).map(Finding::name)
    }

    /// Returns the names of the cases that failed, and the reasons.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, &str)> + '_ {
        self.findings.iter().filter(|f| f.outcome.is_failed()).map(|f| (f.name, f.outcome.reason()))
    }

    /// Returns the names of the cases that do not apply to this store, and the reasons.
    pub fn skipped(&self) -> impl Iterator<Item = (&'static str, &str)> + '_ {
        self.findings
            .iter()
            .filter(|finding| matches!(finding.outcome, Outcome::Skipped(_)))
            .map(|finding| (finding.name, finding.outcome.reason()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} passed, {} failed, {} skipped",
            self.engine,
            self.passed().count(),
            self.failed().count(),
            self.skipped().count()
        )?;
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        for Finding { name, outcome, took } in &self.findings {
            let line = format!(
                "{:7}  {name:width$}  {:>6} ms  {}",
                outcome.word(),
                took.as_millis(),
                outcome.reason()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_case_and_why() {
        let report = Report::new(
            "mine",
            vec![
                Finding::new("one", Outcome::Passed, Duration::from_millis(3)),
                Finding::new("another", Outcome::Skipped("cannot list".to_owned()), Duration::ZERO),
                Finding::new("third", Outcome::Failed("lost".to_owned()), Duration::from_secs(2)),
            ],
        );
        assert_eq!(
            report.to_string(),
            "mine: 1 passed, 1 failed, 1 skipped\n\
             passed   one           3 ms\n\
             skipped  another       0 ms  cannot list\n\
             FAILED   third      2000 ms  lost\n"
        );
        assert!(!report.is_ok());
        assert_eq!(report.outcome("third"), Some(&Outcome::Failed("lost".to_owned())));
        assert_eq!(report.outcome("fourth"), None);
    }
}
