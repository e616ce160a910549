//! What was tried, and why each way failed.

use std::fmt;

/// Why a way gave no credential, with the attempts that it depended on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.in_one_line())]
pub struct Failure {
    reason: String,
    below: Vec<Attempt>,
}

/// A way to a credential that was tried, or passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What the way is called, such as `az login`.
    pub way: String,
    /// Why it gave nothing.
    pub failure: Failure,
}

/// No way gave a credential for the service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NoCredential {
    /// The ways, in the order in which they were tried.
    pub attempts: Vec<Attempt>,
}

impl Failure {
    /// A failure for a reason that is worded to follow a colon.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            below: Vec::new(),
        }
    }

    /// A failure that follows from those of the attempts `below`.
    pub fn because(reason: impl Into<String>, below: Vec<Attempt>) -> Self {
        Self {
            reason: reason.into(),
            below,
        }
    }

    fn in_one_line(&self) -> String {
        if self.below.is_empty() {
            return self.reason.clone();
        }
        let below = self
            .below
            .iter()
            .map(|attempt| attempt.to_string())
            .collect::<Vec<_>>();
        format!("{} ({})", self.reason, below.join("; "))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way, self.failure)
    }
}

impl fmt::Display for NoCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no credential for the service; tried in this order:")?;
        list(f, &self.attempts, 1)
    }
}

/// One line an attempt, those that another one depended on below it.
fn list(f: &mut fmt::Formatter<'_>, attempts: &[Attempt], depth: usize) -> fmt::Result {
    for Attempt { way, failure } in attempts {
        write!(
            f,
            "\n{:indent$}- {way}: {}",
            "",
            failure.reason,
            indent = 2 * depth
        )?;
        list(f, &failure.below, depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts() -> Vec<Attempt> {
        let attempt = |way: &str, failure| Attempt {
            way: way.into(),
            failure,
        };
        let below = vec![
            attempt("managed identity", Failure::new("HTTP 400")),
            attempt("az login", Failure::new("az not found on PATH")),
        ];
        vec![
            attempt("the vault", Failure::because("no identity", below)),
            attempt("AZURE_OPENAI_API_KEY", Failure::new("not set")),
        ]
    }

    #[test]
    fn a_person_reads_a_list() {
        let text = NoCredential {
            attempts: attempts(),
        }
        .to_string();
        assert_eq!(
            text,
            "there is no credential for the service; tried in this order:\
             \n  - the vault: no identity\
             \n    - managed identity: HTTP 400\
             \n    - az login: az not found on PATH\
             \n  - AZURE_OPENAI_API_KEY: not set"
        );
    }

    #[test]
    fn a_log_has_it_in_one_line() {
        assert_eq!(
            attempts()[0].to_string(),
            "the vault: no identity (managed identity: HTTP 400; az login: az not found on PATH)"
        );
    }
}
