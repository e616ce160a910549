//! What a scenario showed.

use std::fmt;

use anyhow::Result;

use crate::not_yet;

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

    /// Whether everything is as it is known to be: what is expected holds, and what does not hold yet does not.
    pub(crate) fn is_good(&self) -> bool {
        self.expectations.iter().all(|it| {
            let known = not_yet::reason(self.scenario, it.what);
            it.unmet.is_some() == known.is_some()
        })
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
            match (unmet, not_yet::reason(self.scenario, what)) {
                (None, None) => {}
                (None, Some(_)) => {
                    let list = "tests/src/bin/scenarios/not_yet.rs";
                    write!(
                        f,
                        "\n       holds by now: {what}; take it off the list in {list}"
                    )?;
                }
                (Some(_), Some(reason)) => write!(f, "\n       not yet: {what}: {reason}")?,
                (Some(unmet), None) => write!(f, "\n       does not hold: {what}: {unmet}")?,
            }
        }
        Ok(())
    }
}
