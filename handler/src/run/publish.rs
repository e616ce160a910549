//! Publishing a bucket: its labelled file from all of its parts, in one commit, and the details of it.
//!
//! Safe to run twice: the same parts give the same files. Memory holds one chunk at a time.

use super::RunError;
use super::entry::{Part, TurnRecord};
use super::manifest::Manifest;
use super::paths::BucketPaths;
use crate::clock::Clock;
use crate::dataset::details::Details;
use crate::dataset::figures::Figures;
use crate::dataset::line::{Line, Verdict};
use crate::dataset::metadata::{BucketReport, LabeledFile, Status};
use crate::labeling::label::{Label, contradicts};
use crate::store::{OwnFolder, Publication, PutMode, StoreError};
use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// "0" and "1" together below this: the model wanted to say something else.
const LOW_MASS: f64 = 0.5;

/// A file that is to appear.
#[derive(Clone, Debug)]
pub struct Target {
    /// The folder of it.
    pub folder: OwnFolder,
    /// Its path there.
    pub path: String,
    /// The number of first bytes whose hash is recorded.
    pub beginning: u64,
}

/// A labelled file and its details, complete, that have not appeared yet. Dropped, they never do.
#[derive(Debug)]
pub struct Draft {
    labels: Written,
    details: Written,
    report: BucketReport,
}

impl Draft {
    /// What will be published.
    pub fn report(&self) -> &BucketReport {
        &self.report
    }

    /// The labelled file and the details.
    pub fn files(&self) -> [LabeledFile; 2] {
        [self.labels.file(), self.details.file()]
    }

    /// Whether these are beginnings of the labelled file and of its details; [`draft`] must have been told
    /// their lengths.
    pub fn begin_with(&self) -> [Option<&LabeledFile>; 2] {
        [&self.labels, &self.details].map(|written| written.beginning.as_ref())
    }

    /// Publishes the files, or gives `None` if the mode of one keeps an existing file. The details come
    /// first, so that labels never appear without them.
    ///
    /// # Errors
    /// If one cannot be committed.
    pub async fn commit(
        self,
        [labels, details]: [PutMode; 2],
    ) -> Result<Option<BucketReport>, RunError> {
        let committed = self.details.publication.commit(details).await?
            && self.labels.publication.commit(labels).await?;
        Ok(committed.then_some(self.report))
    }
}

/// Drafts the labelled file of the bucket of `manifest`, and its details, whose parts are at `paths` of
/// `work`.
///
/// # Errors
/// If a part or a file cannot be read or written, or a turn has no entry; then nothing appears.
pub async fn draft(
    manifest: &Manifest,
    (work, paths): (&OwnFolder, &BucketPaths),
    [to_labels, to_details]: &[Target; 2],
    clock: Clock,
) -> Result<Draft, RunError> {
    let mut labels = Written::begin(to_labels).await?;
    let mut details = Written::begin(to_details).await?;
    let mut lines = Lines::new(manifest);
    for (number, chunk) in manifest.chunks.iter().enumerate() {
        let part = paths.part(number);
        let content = work.read(&part).await?.unwrap_or_default();
        let turns = chunk.turns;
        let added = tokio::task::spawn_blocking(move || {
            let part = Part::read(&content, turns);
            lines.add(&part).map(|texts| (lines, texts))
        });
        let texts;
        (lines, texts) = match added.await {
            Ok(Ok(added)) => added,
            Ok(Err(turn)) => {
                let path = work.locate(&part);
                return Err(RunError::Incomplete { path, turn });
            }
            Err(error) => {
                let place = to_labels.folder.locate(&to_labels.path);
                return Err(StoreError::broken_off("write", place, error).into());
            }
        };
        labels.add(&texts.labels).await?;
        details.add(&texts.details).await?;
    }
    let report = BucketReport {
        labeled_file: Some(labels.file()),
        details_file: Some(details.file()),
        ..report(manifest, lines.figures(), clock)
    };
    Ok(Draft {
        labels,
        details,
        report,
    })
}

/// A file in the making.
struct Written {
    publication: Publication,
    length: u64,
    hash: Box<Xxh3Default>,
    /// The length of the beginning that is looked for, and what it is once it is written.
    wanted: u64,
    beginning: Option<LabeledFile>,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Written");
        shown.field("length", &self.length).finish_non_exhaustive()
    }
}

impl Written {
    async fn begin(target: &Target) -> Result<Self, StoreError> {
        Ok(Self {
            publication: target.folder.publish(&target.path).await?,
            length: 0,
            hash: Box::default(),
            wanted: target.beginning,
            beginning: None,
        })
    }

    fn file(&self) -> LabeledFile {
        LabeledFile::new(self.length, &self.hash)
    }

    async fn add(&mut self, text: &[u8]) -> Result<(), StoreError> {
        let left = usize::try_from(self.wanted - self.length.min(self.wanted));
        let (first, rest) = text.split_at(left.unwrap_or(usize::MAX).min(text.len()));
        self.hash.update(first);
        if self.beginning.is_none() && self.length + first.len() as u64 == self.wanted {
            self.beginning = Some(LabeledFile::new(self.wanted, &self.hash));
        }
        self.hash.update(rest);
        self.length += text.len() as u64;
        self.publication.write(text).await
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
        format: manifest.format,
        ids: manifest.ids.clone(),
        pilot: manifest.pilot.clone(),
        of_turns: manifest.of_turns,
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
        format: manifest.format,
        ids: manifest.ids.clone(),
        pilot: manifest.pilot.clone(),
        of_turns: manifest.of_turns,
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

/// The lines of some turns.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) labels: Vec<u8>,
    pub(crate) details: Vec<u8>,
}

/// The lines that an unfinished run would publish now, for readers: those of turns about which something
/// is known.
#[derive(Debug)]
pub(crate) struct SoFar {
    manifest: Arc<Manifest>,
    work: OwnFolder,
    paths: BucketPaths,
    chunk: usize,
    lines: Lines,
}

impl SoFar {
    pub(crate) fn new(manifest: Arc<Manifest>, work: OwnFolder, paths: BucketPaths) -> Self {
        Self {
            lines: Lines::new(&manifest),
            manifest,
            work,
            paths,
            chunk: 0,
        }
    }

    /// The lines of the next chunk; `None` after the last one.
    ///
    /// # Errors
    /// If its part cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Texts>, StoreError> {
        let Some(chunk) = self.manifest.chunks.get(self.chunk) else {
            return Ok(None);
        };
        let part = self.work.read(&self.paths.part(self.chunk)).await?;
        self.chunk += 1;
        let mut part = Part::read(&part.unwrap_or_default(), chunk.turns);
        part.turns.retain(|turn| turn.label.is_some());
        Ok(Some(self.lines.add(&part).unwrap_or_default()))
    }

    /// The figures of the lines that were read.
    pub(crate) fn figures(self) -> Figures {
        self.lines.figures()
    }
}

/// The labelled file in the making.
#[derive(Debug)]
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
    fn new(manifest: &Manifest) -> Self {
        Self {
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
        }
    }

    /// The figures of the turns that were added.
    fn figures(self) -> Figures {
        let Self {
            mut figures,
            soft_labels,
            mut keys,
            ..
        } = self;
        keys.sort_unstable();
        figures.duplicate_keys = keys
            .windows(2)
            .filter(|pair| pair.first() == pair.last())
            .count() as u64;
        let labeled = figures.labeled;
        figures.mean_soft_label = (labeled > 0).then(|| soft_labels / labeled as f64);
        figures
    }

    /// The lines of a chunk's turns, or the number of a turn about which nothing is known.
    fn add(&mut self, part: &Part) -> Result<Texts, usize> {
        self.figures.tokens += part.tokens;
        let mut texts = Texts::default();
        for (turn, record) in part.turns.iter().enumerate() {
            self.line(record, &mut texts).ok_or(turn)?;
        }
        Ok(texts)
    }

    /// Appends the lines of one turn and counts it; `None` if nothing is known of it.
    fn line(&mut self, record: &TurnRecord, texts: &mut Texts) -> Option<()> {
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
        line.write_to(&mut texts.labels).ok()?;
        let details = details(record)?;
        details.write_to(&mut texts.details).ok()?;
        let key = xxh3_64(&[conversation_id.as_bytes(), b"\0", message_id.as_bytes()].concat());
        self.count(
            record,
            &details,
            key,
            conversation_id.is_empty() || message_id.is_empty(),
        );
        Some(())
    }

    fn count(&mut self, record: &TurnRecord, details: &Details<'_>, key: u64, id_missing: bool) {
        let figures = &mut self.figures;
        figures.turns += 1;
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
                    Label::Zero => figures.label_0 += 1,
                    Label::One => figures.label_1 += 1,
                }
                figures
                    .soft_labels
                    .count(label.hard_label.into(), estimate.soft);
                figures.censored += u64::from(details.censored);
                figures.low_mass += u64::from(details.low_mass);
                figures.contradictions += u64::from(details.contradicting);
                figures.cut_messages += u64::from(details.cut > 0);
                figures.reused += u64::from(details.reused);
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

/// What is known of a turn beside its line; `None` if nothing is.
fn details(record: &TurnRecord) -> Option<Details<'_>> {
    let label = match record.label.as_ref()? {
        Ok(label) => label,
        Err(failure) => {
            return Some(Details {
                conversation_id: failure.conversation_id.as_str().into(),
                message_id: failure.message_id.as_str().into(),
                position: failure.place.map(|place| place.position),
                turn: failure.place.map(|place| place.turn),
                turn_index: failure.place.and_then(|place| place.turn_index),
                error_code: Some(failure.error.code),
                ..Details::default()
            });
        }
    };
    let estimate = &label.estimate;
    let no_rationale = record.rationale.as_ref().and_then(|it| it.as_ref().err());
    Some(Details {
        conversation_id: label.conversation_id.as_str().into(),
        message_id: label.message_id.as_str().into(),
        position: label.place.map(|place| place.position),
        turn: label.place.map(|place| place.turn),
        turn_index: label.place.and_then(|place| place.turn_index),
        low: Some(estimate.low),
        high: Some(estimate.high),
        p0: Some(estimate.p0),
        p1: Some(estimate.p1),
        mass: Some(estimate.mass),
        generated: Some(estimate.generated.as_str().into()),
        censored: estimate.censored,
        low_mass: estimate.mass < LOW_MASS,
        contradicting: contradicts(label.hard_label, estimate.soft),
        cut: label.cut,
        reused: label.reused,
        error_code: None,
        rationale_error: no_rationale.map(|failure| failure.error.code),
    })
}
