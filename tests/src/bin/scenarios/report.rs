//! What a scenario showed.

use std::fmt;

use anyhow::Result;

/// What a scenario measured, and which of its expectations were met.
#[derive(Debug)]
pub(crate) struct Report {
    scenario: &'static str,
    host: &'static str,
    figures: Vec<String>,
    expectations: Vec<Expectation>,
}

#[derive(Debug)]
struct Expectation {
    what: &'static str,
    /// Why it was not met, if so.
    unmet: Option<String>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str, host: &'static str) -> Self {
        Self {
            scenario,
            host,
            figures: Vec::new(),
            expectations: Vec::new(),
        }
    }

    /// Adds something that was measured.
    pub(crate) fn figure(&mut self, figure: impl Into<String>) {
        self.figures.push(figure.into());
    }

    /// Adds an expectation, met or not. Gives what was found where it was met.
    pub(crate) fn expect<T>(&mut self, what: &'static str, found: Result<T>) -> Option<T> {
        let (found, unmet) = match found {
            Ok(found) => (Some(found), None),
            Err(reason) => (None, Some(format!("{reason:#}"))),
        };
        self.expectations.push(Expectation { what, unmet });
        found
    }

    /// Whether everything is as expected.
    pub(crate) fn is_good(&self) -> bool {
        self.expectations.iter().all(|it| it.unmet.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_good() { "ok" } else { "FAILED" };
        write!(f, "{word:<7}{}, {}", self.scenario, self.host)?;
        for figure in &self.figures {
            write!(f, "; {figure}")?;
        }
        for Expectation { what, unmet } in &self.expectations {
            if let Some(unmet) = unmet {
                write!(f, "\n       does not hold: {what}: {unmet}")?;
            }
        }
        Ok(())
    }
}
