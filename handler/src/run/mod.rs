//! The steps of a run: plan, label, publish.
//!
//! `plan` cuts a bucket file into chunks and writes them into a [`manifest`], `chunk` labels one of
//! them turn by turn into its part, `publish` makes the labelled file of all parts. Every step is
//! safe to run twice: what is there already is taken as it is.
//!
//! Invariants: RAW is only read; a turn has exactly one line; an answer that was paid for is in a
//! part two seconds later at most.

pub mod answers;
pub mod budget;
pub mod card;
pub mod chunk;
pub mod entry;
pub mod forecast;
pub mod format_number;
pub mod funds;
mod gathered;
pub mod ledger;
pub mod list;
pub mod manifest;
pub mod month;
pub mod paths;
pub mod plan;
pub mod progress;
pub mod projection;
pub mod publish;
pub mod record;
pub mod report;
pub mod results;
pub mod runs;
mod seed;
pub mod settings;
pub mod switch;
pub mod turn;
pub mod work;

use crate::store::StoreError;

/// Why a run could not go on. Everything labelled until then is kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// RAW could not be read.
    #[error(transparent)]
    Raw(StoreError),
    /// The task that runs are to ask cannot be used.
    #[error("the task that SOFTLABEL_TASK_NAME names cannot be asked: {0}")]
    Task(String),
    /// RAW is not what the run was planned for.
    #[error(
        "{path} is not the file this run began with: its content was {planned} and is {found}; \
         put the old file back, or start over with --restart"
    )]
    RawChanged {
        /// The RAW file.
        path: String,
        /// Fingerprint in the manifest.
        planned: String,
        /// Fingerprint now.
        found: String,
    },
    /// A chunk gives other conversations than it was planned for, though RAW did not change.
    #[error(
        "{place} gives {found} where another version of softlabel planned {planned}; continue \
         with that version, or start over with --restart"
    )]
    OtherThanPlanned {
        /// File and bytes.
        place: String,
        /// What the manifest says.
        planned: String,
        /// What is found.
        found: String,
    },
    /// Preparing a chunk panicked. The panic's message is left out because it may hold a text.
    #[error(
        "internal error while preparing {place}; please report it, then run the same command again"
    )]
    BrokeOff {
        /// File and bytes.
        place: String,
    },
    /// Labelling some turns of a chunk panicked.
    #[error(
        "internal error while labelling {turns} turns of {part}; please report it, then run the \
         same command again, which asks them again"
    )]
    TurnsBrokeOff {
        /// Where the others are recorded.
        part: String,
        /// How many.
        turns: usize,
    },
    /// Settings that decide what labels are differ from those the run began with.
    #[error(
        "the run in {work} began with other settings ({}); use those, or start over with \
         --restart", differences.join("; ")
    )]
    OtherSettings {
        /// The work folder.
        work: String,
        /// One phrase a difference.
        differences: Vec<String>,
    },
    /// A pilot of this name is another one.
    #[error(
        "the pilot {pilot} in {work} began with other settings ({}); give this one another name with \
         --pilot, or start over with --restart", differences.join("; ")
    )]
    OtherPilot {
        /// Its name.
        pilot: String,
        /// The work folder.
        work: String,
        /// One phrase a difference.
        differences: Vec<String>,
    },
    /// The work folder is laid out as an earlier version of softlabel did it.
    #[error(
        "the work folder {work} was made by an earlier version of softlabel, whose runs cannot be \
         continued; remove it, or give another one with --work"
    )]
    OldLayout {
        /// The work folder.
        work: String,
    },
    /// There is no run whose failed turns could be taken up again.
    #[error(
        "--only failed needs a finished run, but {missing} in {work} is not labelled yet; run without it"
    )]
    NothingToRedo {
        /// The work folder.
        work: String,
        /// What is not labelled.
        missing: String,
    },
    /// Something is missing in a part that was there before.
    #[error(
        "{path} has lost the record of turn {turn}; run the same command again, which asks it again"
    )]
    Incomplete {
        /// The part.
        path: String,
        /// The turn's number in its chunk.
        turn: usize,
    },
    /// The results that a run begins with were removed.
    #[error("{path} is gone, and this run starts from the results in it; relabel all turns")]
    BaseGone {
        /// The part of the run it begins with.
        path: String,
    },
    /// Files that cannot be labelled as they are.
    #[error("{}", problems.join("\n"))]
    BadInput {
        /// One sentence a file.
        problems: Vec<String>,
    },
    /// A labelled file that no run made.
    #[error(
        "{path} already exists, and no run wrote it or it was changed afterwards; remove it, give \
         another name, or replace it with --overwrite (over HTTP: relabel with \"overwrite\": true)"
    )]
    Foreign {
        /// The labelled file.
        path: String,
    },
    /// Something of ours was written by a newer version of softlabel.
    #[error(
        "{path} was written by a newer version of softlabel, in format {format}, and this version \
         knows {}; continue with the newer version",
        format_number::own()
    )]
    Newer {
        /// The file, or the message.
        path: String,
        /// Its format.
        format: u32,
    },
    /// Something of ours in the work folder cannot be read.
    #[error("{path} in the work folder cannot be read ({source}); start over with --restart")]
    Damaged {
        /// The file.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl RunError {
    /// Whether storage fails for now, through no fault of the run.
    pub fn is_storage_down(&self) -> bool {
        let error = match self {
            Self::Store(error) | Self::Raw(error) => error,
            _ => return false,
        };
        error.is_passing() || error.is_refused()
    }

    /// Whether what was looked for in storage is not there.
    pub fn is_storage_not_found(&self) -> bool {
        match self {
            Self::Store(error) | Self::Raw(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// The format of what is newer than this version of softlabel, if that is why.
    pub fn newer(&self) -> Option<u32> {
        match self {
            Self::Newer { format, .. } => Some(*format),
            _ => None,
        }
    }

    /// Whether RAW is gone, or another version than the run was planned for.
    pub fn is_raw_changed(&self) -> bool {
        match self {
            Self::RawChanged { .. } => true,
            Self::Raw(error) => error.is_changed() || error.is_not_found(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_is_changed_where_raw_is_not_there_and_not_where_work_is_not() {
        let missing = || StoreError::NotFound {
            place: "there".into(),
        };
        let changed = || StoreError::Changed {
            place: "there".into(),
            expected: "1".into(),
            found: "2".into(),
        };
        assert!(RunError::Raw(missing()).is_raw_changed());
        assert!(RunError::Raw(changed()).is_raw_changed());
        assert!(!RunError::Store(missing()).is_raw_changed());
        assert!(!RunError::Store(changed()).is_raw_changed());
        let forbidden = StoreError::forbidden("there", "no");
        assert!(!RunError::Raw(forbidden).is_raw_changed());
    }
}
