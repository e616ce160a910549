//! What the scenarios expect and the app does not do yet. A scenario fails when something here holds, so that the
//! list is emptied.

/// Scenario, expectation, and why it does not hold.
const NOT_YET: [(&str, &str, &str); 1] = [(
    "an instance dies",
    "what it held is labelled within two minutes",
    "its chunks lie still until their messages are visible again, up to ten minutes",
)];

/// Why an expectation of a scenario does not hold yet; `None` where it does.
pub(crate) fn reason(scenario: &str, expectation: &str) -> Option<&'static str> {
    let mut known = NOT_YET.iter();
    let known = known.find(|(of, what, _)| *of == scenario && *what == expectation);
    known.map(|(_, _, reason)| *reason)
}
