//! What keeps a run from going on, through no fault of its own.

use crate::money::Usd;
use crate::run::RunError;
use crate::store::{StoreError, sentence};
use crate::teacher::stop::Stop;
use std::fmt;

/// Why nothing can be done for a run now. Its paid results are kept, and it continues once the cause is
/// mended.
#[derive(Debug)]
pub enum Trouble {
    /// The service cannot be asked.
    Service(Stop),
    /// There is no connection to the service; the reason is a sentence.
    Connection(String),
    /// The cap does not allow another call.
    Cost {
        /// What the runs of the dataset may cost.
        cap: Usd,
        /// What the next call may cost.
        next: Usd,
    },
    /// Storage does not do what it should, or RAW is not what the run was planned for.
    Storage(RunError),
    /// RAW is not there now.
    Absent {
        /// The file.
        place: String,
    },
}

impl Trouble {
    /// What storage said.
    pub(crate) fn storage(error: RunError) -> Self {
        match error {
            RunError::Raw(StoreError::NotFound { place }) => Self::Absent { place },
            error => Self::Storage(error),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(stop) => stop.fmt(f),
            Self::Connection(why) => f.write_str(why),
            Self::Cost { cap, next } => write!(
                f,
                "too little of {cap} USD is left for the next call, which may cost up to {next} \
                 USD; raise --max-cost"
            ),
            Self::Storage(error) => f.write_str(&sentence(error)),
            Self::Absent { place } => write!(
                f,
                "{place} is missing; put it back, and the run continues with what it has, or cancel the run"
            ),
        }
    }
}
