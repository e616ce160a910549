//! A wish about a bucket: the published labels should be made in a certain way, of what RAW holds now.
//!
//! A wish pays for nothing while a run under way grants it, or while the published file comes from such a
//! run. Otherwise a run begins with the paid results of earlier runs for the same wish.
//!
//! Safe to wish twice and in parallel: a run's name follows from the wish and from the run that it replaces,
//! so that equal wishes get equal names.

use super::world::App;
use crate::dataset::metadata::BucketReport;
use crate::run::RunError;
use crate::run::record::{Beginning, Origin, Record};
use crate::run::settings::LabelSettings;
use crate::store::Version;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// Earlier runs of a file that are read at a time.
const READ_AT_ONCE: usize = 16;

/// How often a wish is weighed again after something changed while its run began.
const WEIGHED: u32 = 4;

/// Which turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Only {
    /// All of them.
    #[default]
    All,
    /// Those that failed in what is published.
    Failed,
}

/// A wish about one bucket file.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) dataset: String,
    pub(crate) file: String,
    /// Who wishes it. An upload is content with labels of any settings.
    pub(crate) origin: Origin,
    /// How to make the labels. For failed turns it is how their bucket was labelled.
    pub(crate) settings: LabelSettings,
    pub(crate) only: Only,
    /// Ask everything again, and replace a run under way.
    pub(crate) force: bool,
    /// It may write over a labelled file that no run made.
    pub(crate) overwrite: bool,
    /// See [`Record::sets_dataset`].
    pub(crate) sets_dataset: Option<Timestamp>,
    /// When it was wished. A run that has ended since was the answer.
    pub(crate) made: Option<Timestamp>,
}

/// What a wish comes to.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// This run grants it.
    UnderWay(Record),
    /// What this run published is it.
    Published(Record),
    /// This run was the answer, and has ended otherwise.
    Answered(Record),
    /// This run is under way with other settings.
    Busy(Record),
    /// No run over what RAW holds now has turns that could be asked again.
    NoRun,
    /// This run should begin.
    Begins(Box<Record>),
}

impl App {
    /// What a wish comes to, while RAW is `version`. Nothing begins.
    pub(crate) async fn weigh(&self, wish: &Wish, version: &Version) -> Result<Verdict, RunError> {
        self.weigh_again(wish, version, 0).await
    }

    /// Has a run begin that [`weigh`](Self::weigh) named. Gives what the wish comes to by then.
    pub(crate) async fn grant(&self, wish: &Wish, record: Record) -> Result<Verdict, RunError> {
        let mut begins = record;
        let mut again = 0;
        for weighed in 1.. {
            let record = self.begin(begins).await?;
            if !record.state.is_over() {
                return Ok(Verdict::UnderWay(record));
            }
            if record.is_published() {
                return Ok(Verdict::Published(record));
            }
            // Another run, or another version of RAW, was faster.
            let version = self.raw_version(&wish.dataset, &wish.file).await?;
            let (Some(version), true) = (version, weighed < WEIGHED) else {
                return Ok(Verdict::Answered(record));
            };
            let mut verdict = self.weigh_again(wish, &version, again).await?;
            if matches!(&verdict, Verdict::Begins(next) if next.run == record.run) {
                // Everything is as it was, and this run has ended: the next needs a name of its own.
                again += 1;
                verdict = self.weigh_again(wish, &version, again).await?;
            }
            match verdict {
                Verdict::Begins(next) => begins = *next,
                verdict => return Ok(verdict),
            }
        }
        Ok(Verdict::NoRun)
    }

    async fn weigh_again(
        &self,
        wish: &Wish,
        version: &Version,
        again: u32,
    ) -> Result<Verdict, RunError> {
        let (dataset, file) = (&wish.dataset, &wish.file);
        let Some(current) = self.runs.current(dataset, file).await? else {
            return Ok(match wish.only {
                Only::All => self.begins(wish, version, None, None, again),
                Only::Failed => Verdict::NoRun,
            });
        };
        let former = self.runs.read(&current.run).await?;
        if let Some(former) = former.as_ref().filter(|former| !former.state.is_over())
            && !wish.force
            && self.is_of(former, version).await?
        {
            return self.beside(wish, former.clone()).await;
        }
        let before = current.before.iter().rev().cloned();
        let before = before.map(|run| async move { self.runs.read(&run).await });
        let before = stream::iter(before.collect::<Vec<_>>()).buffered(READ_AT_ONCE);
        let before = before.try_collect::<Vec<_>>().await?;
        let mut history = Vec::new();
        for record in former.iter().chain(before.iter().flatten()) {
            // Results of a run that is under way over another version are of no use.
            if record.state.is_over() && self.is_of(record, version).await? {
                history.push(record);
            }
        }
        // Labels of another version may have been published since.
        let all = former.iter().chain(before.iter().flatten());
        let published = all.clone().find(|record| record.is_published());
        let published =
            published.filter(|shown| history.iter().any(|record| record.run == shown.run));
        let base = match (wish.only, wish.origin) {
            _ if wish.force => None,
            (Only::Failed, _) => match with_failures(&history, published) {
                None => return Ok(Verdict::NoRun),
                Some(last) => match last.is_published() && !last.has_failures() {
                    true if self.is_shown(last).await? => {
                        return Ok(Verdict::Published(last.clone()));
                    }
                    true => Some((last, last.round)),
                    false => Some((last, last.round + 1)),
                },
            },
            (Only::All, Origin::Upload) => {
                let last = history.first().copied();
                let last = last.filter(|last| last.run == current.run);
                let is_late = |last: &Record| wish.made.is_none_or(|made| made <= last.since);
                match (published, last) {
                    (Some(published), last) => {
                        if last.is_some_and(is_late) || self.is_shown(published).await? {
                            return Ok(Verdict::Published(published.clone()));
                        }
                    }
                    (None, Some(last)) if is_late(last) => {
                        return Ok(Verdict::Answered(last.clone()));
                    }
                    (None, _) => {}
                }
                base(&history, &wish.settings)
            }
            (Only::All, Origin::Relabel) => {
                if let Some(published) = published
                    && published.settings == wish.settings
                    && published.is_satisfying()
                    && self.is_shown(published).await?
                {
                    return Ok(Verdict::Published(published.clone()));
                }
                base(&history, &wish.settings)
            }
        };
        let base = match base {
            Some((base, round)) if self.has_work(base).await? => Some((base, round)),
            _ => None,
        };
        Ok(self.begins(wish, version, Some(&current.run), base, again))
    }

    /// The verdict on a wish while `former` is under way over the same version.
    async fn beside(&self, wish: &Wish, former: Record) -> Result<Verdict, RunError> {
        let grants = match (wish.origin, wish.only) {
            (Origin::Upload, _) => true,
            (Origin::Relabel, Only::All) => former.settings == wish.settings,
            (Origin::Relabel, Only::Failed) => former.round > 0,
        };
        if !grants {
            return Ok(Verdict::Busy(former));
        }
        if !wish.overwrite && wish.sets_dataset.is_none() {
            return Ok(Verdict::UnderWay(former));
        }
        let adds = self.runs.update(&former.run, |record| {
            let before = (record.overwrite, record.sets_dataset);
            record.overwrite |= wish.overwrite;
            record.sets_dataset = record.sets_dataset.max(wish.sets_dataset);
            !record.state.is_over() && before != (record.overwrite, record.sets_dataset)
        });
        Ok(Verdict::UnderWay(adds.await?.unwrap_or(former)))
    }

    /// Whether the labelled file and the details that are there are those that this run published.
    async fn is_shown(&self, record: &Record) -> Result<bool, RunError> {
        let Some(name) = self.data.bucket(&record.file) else {
            return Ok(false);
        };
        let there = self.published_files(&record.dataset, &name).await?;
        let published = record.report.as_ref().map(BucketReport::files);
        let [labels, details] = published.unwrap_or_default();
        // Earlier versions of softlabel published no details.
        let mut files = there.iter().zip([labels, details]);
        Ok(labels.is_some() && files.all(|(there, made)| made.is_none() || there.as_ref() == made))
    }

    /// Whether the results of a run are there to begin with.
    async fn has_work(&self, record: &Record) -> Result<bool, RunError> {
        Ok(!record.swept && self.planned_manifest(&record.run).await?.is_some())
    }

    /// The run that begins.
    fn begins(
        &self,
        wish: &Wish,
        version: &Version,
        former: Option<&String>,
        base: Option<(&Record, u32)>,
        again: u32,
    ) -> Verdict {
        let settings = match (wish.only, &base) {
            (Only::Failed, Some((base, _))) => base.settings.clone(),
            _ => wish.settings.clone(),
        };
        let request = match (wish.origin, former, again) {
            (Origin::Upload, None, 0) => String::new(),
            _ => {
                // A forced run gets a name of its own.
                let once = wish.force.then(|| Uuid::new_v4().to_string());
                json!({
                    "only": wish.only, "settings": settings, "overwrite": wish.overwrite,
                    "once": once, "former": former, "again": again, "by": wish.origin,
                })
                .to_string()
            }
        };
        let beginning = Beginning {
            origin: wish.origin,
            dataset: wish.dataset.clone(),
            file: wish.file.clone(),
            source: version.clone(),
            settings,
            base: base.map(|(base, round)| base.as_base(round)),
        };
        Verdict::Begins(Box::new(Record {
            overwrite: wish.overwrite,
            sets_dataset: wish.sets_dataset,
            replaces: former.cloned(),
            ..self.new_record(beginning, &request)
        }))
    }
}

/// The run whose failed turns are asked again: what is published or, where a run was to mend that, or there is
/// nothing, the last that was planned.
fn with_failures<'a>(history: &[&'a Record], published: Option<&'a Record>) -> Option<&'a Record> {
    let mut planned = history.iter().filter(|record| record.chunks.is_some());
    let last = planned.next().copied();
    match (last, published) {
        (Some(last), Some(_)) if last.round > 0 => Some(last),
        (last, published) => published.or(last),
    }
}

/// The run whose results a run under these settings starts from, and the round in which it asks: one more
/// if it asks failed turns again.
fn base<'a>(history: &[&'a Record], settings: &LabelSettings) -> Option<(&'a Record, u32)> {
    let planned = |record: &&&'a Record| record.chunks.is_some() && record.settings == *settings;
    let mut candidates = history.iter().filter(planned).copied();
    let last = candidates.next()?;
    let published = std::iter::once(last)
        .chain(candidates)
        .find(|record| record.is_published());
    // A run that did not start from the published results has fewer.
    let base = match published {
        Some(published) if !last.bases().any(|base| *base == published.run) => published,
        _ => last,
    };
    let round = base.round + u32::from(!base.is_satisfying());
    Some((base, round))
}
