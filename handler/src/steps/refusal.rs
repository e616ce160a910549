//! Why a request of a person is not done.

use crate::run::RunError;
use crate::store::StoreError;

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request cannot be understood, or contradicts itself.
    Wrong,
    /// What it is about is not there.
    NotFound,
    /// It cannot be done as things stand.
    Conflict,
}

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is refused.
    #[error("{message}")]
    Refused {
        /// What is wrong with it.
        refusal: Refusal,
        /// A sentence for who asked.
        message: String,
    },
    /// It failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl RequestError {
    /// The request is wrong.
    pub fn wrong(message: impl Into<String>) -> Self {
        Self::refused(Refusal::Wrong, message)
    }

    /// What it is about is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::refused(Refusal::NotFound, message)
    }

    /// It cannot be done as things stand.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::refused(Refusal::Conflict, message)
    }

    fn refused(refusal: Refusal, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Refused { refusal, message }
    }
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        Self::Run(error.into())
    }
}
