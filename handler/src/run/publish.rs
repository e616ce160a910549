//! Publishing a bucket: one labelled file from all of its parts, in one commit.
//!
//! Safe to run twice: the same parts give the same file. Memory holds one chunk at a time.

use super::RunError;
use super::entry::{TurnRecord, fold};
use super::manifest::Manifest;
use super::paths::BucketPaths;
use crate::clock::Clock;
use crate::dataset::figures::Figures;
use crate::dataset::line::{Line, Verdict};
use crate::dataset::metadata::{BucketReport, LabeledFile, Status};
use crate::labeling::label::{Label, contradicts};
use crate::store::{OwnFolder, Publication, PutMode, StoreError};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// "0" and "1" together below this: the model wanted to say something else.
const LOW_MASS: f64 = 0.5;

/// A labelled file that is complete but has not appeared yet. Dropped, it never does.
#[derive(Debug)]
pub struct Draft {
    publication: Publication,
    report: BucketReport,
    /// What the first bytes of it are, as many as were asked for.
    beginning: Option<LabeledFile>,
}

impl Draft {
    /// What will be published.
    pub fn report(&self) -> &BucketReport {
        &self.report
    }

    /// Whether `file` is a beginning of it; [`draft`] must have been told its length.
    pub fn begins_with(&self, file: &LabeledFile) -> bool {
        self.beginning.as_ref() == Some(file)
    }

    /// Makes the file appear, or gives `None` where `mode` leaves the file that is there alone.
    ///
    /// # Errors
    /// If it cannot be committed.
    pub async fn commit(self, mode: PutMode) -> Result<Option<BucketReport>, RunError> {
        let committed = self.publication.commit(mode).await?;
        Ok(committed.then_some(self.report))
    }
}

/// Drafts the labelled file of the bucket of `manifest`, whose parts are at `paths` of `work`, to be
/// `path` of `output`. Of its first `beginning` bytes it notes what they are.
///
/// # Errors
/// If a part or the file cannot be read or written, or a turn has no entry; then nothing appears.
pub async fn draft(
    manifest: &Manifest,
    (work, paths): (&OwnFolder, &BucketPaths),
    (output, path): (&OwnFolder, &str),
    beginning: u64,
    clock: Clock,
) -> Result<Draft, RunError> {
    let mut publication = output.publish(path).await?;
    let mut written = Written::new(beginning);
    let mut lines = Lines {
        split: manifest.split.clone(),
        bucket: manifest.bucket.clone(),
        figures: Figures {
            conversations: manifest.conversations,
            broken_conversations: manifest.broken_conversations,
            ..Figures::default()
        },
        soft_labels: 0.0,
        // All of it at once: growing would take twice as much for a moment.
        keys: Vec::with_capacity(usize::try_from(manifest.turns).unwrap_or_default()),
    };
    for (number, chunk) in manifest.chunks.iter().enumerate() {
        let part = paths.part(number);
        let content = work.read(&part).await?.unwrap_or_default();
        let turns = chunk.turns;
        let added = tokio::task::spawn_blocking(move || {
            let (records, _) = fold(&content, turns);
            lines.add(&records).map(|text| (lines, text))
        });
        let text;
        (lines, text) = match added.await {
            Ok(Ok(added)) => added,
            Ok(Err(turn)) => {
                let path = work.locate(&part);
                return Err(RunError::Incomplete { path, turn });
            }
            Err(error) => {
                return Err(StoreError::broken_off("write", output.locate(path), error).into());
            }
        };
        written.add(&text);
        publication.write(&text).await?;
    }
    let Lines {
        mut figures,
        soft_labels,
        mut keys,
        ..
    } = lines;
    keys.sort_unstable();
    figures.duplicate_keys = keys
        .windows(2)
        .filter(|pair| pair.first() == pair.last())
        .count() as u64;
    figures.mean_soft_label = (figures.labeled > 0).then(|| soft_labels / figures.labeled as f64);
    let report = BucketReport {
        labeled_file: Some(LabeledFile::new(written.length, &written.hash)),
        ..report(manifest, figures, clock)
    };
    Ok(Draft {
        publication,
        report,
        beginning: written.beginning,
    })
}

/// What was written so far.
struct Written {
    length: u64,
    hash: Xxh3Default,
    /// The length of the beginning that is looked for, and what it is once it is written.
    wanted: u64,
    beginning: Option<LabeledFile>,
}

impl Written {
    fn new(wanted: u64) -> Self {
        Self {
            length: 0,
            hash: Xxh3Default::new(),
            wanted,
            beginning: None,
        }
    }

    fn add(&mut self, text: &[u8]) {
        let left = usize::try_from(self.wanted - self.length.min(self.wanted));
        let (first, rest) = text.split_at(left.unwrap_or(usize::MAX).min(text.len()));
        self.hash.update(first);
        if self.beginning.is_none() && self.length + first.len() as u64 == self.wanted {
            self.beginning = Some(LabeledFile::new(self.wanted, &self.hash));
        }
        self.hash.update(rest);
        self.length += text.len() as u64;
    }
}

fn report(manifest: &Manifest, figures: Figures, clock: Clock) -> BucketReport {
    let nothing = figures.labeled == 0 && (figures.failed > 0 || figures.turns == 0);
    let status = if figures.is_complete() && manifest.salvaged.is_none() {
        Status::Complete
    } else if nothing {
        Status::Failed
    } else {
        Status::Partial
    };
    BucketReport {
        status,
        source: manifest.source.clone(),
        published: Some(clock.now()),
        salvaged: manifest.salvaged.clone(),
        broken: manifest.broken.clone(),
        figures,
        ..BucketReport::default()
    }
}

/// A bucket that is not published yet, as the metadata shows it.
pub fn pending(manifest: &Manifest) -> BucketReport {
    BucketReport {
        status: Status::Partial,
        source: manifest.source.clone(),
        published: None,
        salvaged: manifest.salvaged.clone(),
        broken: manifest.broken.clone(),
        figures: Figures {
            conversations: manifest.conversations,
            broken_conversations: manifest.broken_conversations,
            turns: manifest.turns,
            ..Figures::default()
        },
        ..BucketReport::default()
    }
}

/// The labelled file in the making.
struct Lines {
    split: Option<String>,
    bucket: Option<String>,
    figures: Figures,
    soft_labels: f64,
    /// 48 bits of the hash of conversation and message id: the only thing here that grows with the
    /// file. Among 320,000 turns a pair that only seems equal is one in 5,000 runs.
    keys: Vec<[u8; 6]>,
}

impl Lines {
    /// The lines of a chunk's turns, or the number of a turn of which nothing is known.
    fn add(&mut self, records: &[TurnRecord]) -> Result<Vec<u8>, usize> {
        let mut text = Vec::new();
        for (turn, record) in records.iter().enumerate() {
            self.line(record, &mut text).ok_or(turn)?;
        }
        Ok(text)
    }

    /// Appends the line of one turn and counts it; `None` if nothing is known of it.
    fn line(&mut self, record: &TurnRecord, text: &mut Vec<u8>) -> Option<()> {
        let label = record.label.as_ref()?;
        let (conversation_id, message_id) = match label {
            Ok(label) => (&label.conversation_id, &label.message_id),
            Err(failure) => (&failure.conversation_id, &failure.message_id),
        };
        let rationale = record
            .rationale
            .as_ref()
            .and_then(|rationale| rationale.as_ref().ok());
        let verdict = match label {
            Ok(label) => Verdict::Labeled {
                hard_label: label.hard_label.into(),
                soft_label: label.estimate.soft,
                rationale: rationale.map(|rationale| rationale.text.as_str()),
            },
            Err(failure) => Verdict::Error(&failure.error),
        };
        let line = Line {
            conversation_id,
            message_id,
            split: self.split.as_deref(),
            bucket: self.bucket.as_deref(),
            verdict,
        };
        line.write_to(text).ok()?;
        let key = xxh3_64(&[conversation_id.as_bytes(), b"\0", message_id.as_bytes()].concat());
        self.count(
            record,
            key,
            conversation_id.is_empty() || message_id.is_empty(),
        );
        Some(())
    }

    fn count(&mut self, record: &TurnRecord, key: u64, id_missing: bool) {
        let figures = &mut self.figures;
        figures.turns += 1;
        figures.tokens += record.tokens;
        figures.missing_ids += u64::from(id_missing);
        // Without ids there is no key that could be there twice.
        if !id_missing {
            let [a, b, c, d, e, f, ..] = key.to_le_bytes();
            self.keys.push([a, b, c, d, e, f]);
        }
        match &record.label {
            Some(Ok(label)) => {
                let estimate = &label.estimate;
                figures.labeled += 1;
                self.soft_labels += estimate.soft;
                match label.hard_label {
                    Label::RequiresReasoning => figures.label_0 += 1,
                    Label::NoReasoning => figures.label_1 += 1,
                }
                figures.censored += u64::from(estimate.censored);
                figures.low_mass += u64::from(estimate.mass < LOW_MASS);
                figures.contradictions += u64::from(contradicts(label.hard_label, estimate.soft));
                figures.cut_messages += u64::from(label.cut > 0);
                figures.reused += u64::from(label.reused);
                match &record.rationale {
                    Some(Ok(_)) => figures.rationales += 1,
                    Some(Err(_)) => figures.rationale_failures += 1,
                    None => {}
                }
            }
            Some(Err(failure)) => {
                let code = failure.error.code;
                *figures.errors.entry(code).or_default() += 1;
                if code.is_not_labelable() {
                    figures.not_labelable += 1;
                } else {
                    figures.failed += 1;
                }
            }
            None => {}
        }
    }
}
