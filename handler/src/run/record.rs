//! The record of a run of the function app: one bucket file in one version under one set of
//! settings, and how far it is.
//!
//! A record is changed by compare-and-swap only, through the transitions here. Each gives whether it
//! changed anything, so that a step that comes twice does no harm, and a run that has ended never
//! begins again.

use super::settings::{LabelSettings, Method};
use crate::dataset::figures::Tokens;
use crate::dataset::metadata::{BucketReport, LabeledFile, SourceFile, Status};
use crate::money::Usd;
use crate::store::Version;
use crate::teacher::profile::Profile;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use xxhash_rust::xxh3::Xxh3Default;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its file is not cut into chunks yet.
    Planning,
    /// Its chunks are labelled.
    Labeling,
    /// Nothing can be done before some time, such as in an outage of the service.
    Waiting,
    /// It would cost more than its dataset may, and waits for approval.
    AwaitingApproval,
    /// Every turn that can be labelled has its label.
    Complete,
    /// It is published, but turns failed or conversations could not be read.
    Partial,
    /// Nothing could be labelled.
    Failed,
    /// Another run, or another version of RAW, took its place.
    Superseded,
    /// It was cancelled by a request.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Planning,
        Self::Labeling,
        Self::Waiting,
        Self::AwaitingApproval,
        Self::Complete,
        Self::Partial,
        Self::Failed,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// Whether the run is at its end.
    pub fn is_over(self) -> bool {
        let open = [
            Self::Planning,
            Self::Labeling,
            Self::Waiting,
            Self::AwaitingApproval,
        ];
        !open.contains(&self)
    }

    /// The state as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Labeling => "labeling",
            Self::Waiting => "waiting",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Its file was uploaded.
    Upload,
    /// A request asked for it.
    Relabel,
}

/// The request parameters that a probe settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiProfile {
    /// The request parameters.
    pub api_profile: Profile,
    /// Why they are what they are, a sentence a step.
    pub api_profile_reasons: Vec<String>,
    /// The model that answers, as the service names it.
    #[serde(default)]
    pub answered_by: Option<String>,
    /// What it cost to settle them.
    #[serde(default)]
    pub probe_tokens: Tokens,
}

/// What the reconciler remembers of a run from one look to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Chunks that were finished when it, or a chunk that ended, last looked.
    pub finished: u64,
    /// When the run last moved: began, finished a chunk, changed its state.
    pub moved: Timestamp,
    /// When its messages were last sent.
    pub sent: Timestamp,
    /// How often they were sent again since it last moved.
    pub tries: u32,
}

impl Watch {
    /// Takes note that `finished` chunks are finished now.
    pub fn see(&mut self, finished: u64, now: Timestamp) {
        if finished > self.finished {
            self.finished = finished;
            self.moved = now;
            self.tries = 0;
        }
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub run: String,
    /// The RAW dataset.
    pub dataset: String,
    /// The bucket file in it, such as `train/short_3_to_5_turns.json`.
    pub file: String,
    /// Which version of the file.
    pub source: Version,
    /// Why it began.
    pub origin: Origin,
    /// Everything that decides what its labels are.
    pub settings: LabelSettings,
    /// The request parameters, once they are settled.
    #[serde(flatten, default)]
    pub profile: Option<ApiProfile>,
    /// The run whose results it begins with.
    pub base: Option<String>,
    /// The runs that one began with and may not have taken everything from, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_base: Vec<String>,
    /// The run that was its file's current one when it was asked for.
    #[serde(default)]
    pub replaces: Option<String>,
    /// When a request asked to label the whole dataset in this way: once this run is published, later
    /// uploads are labelled like it.
    #[serde(default)]
    pub sets_dataset: Option<Timestamp>,
    /// 0, or one more than that of `base`.
    pub round: u32,
    /// When it began.
    pub created: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why it waits, or why it ended as it did.
    pub reason: Option<String>,
    /// Why it last waited.
    #[serde(default)]
    pub waited_for: Option<String>,
    /// It waits until storage does what it should, however long that takes.
    #[serde(default)]
    pub waits_for_storage: bool,
    /// It made no progress whatever was tried: unlabelled turns get no further try.
    #[serde(default)]
    pub given_up: bool,
    /// Before that nothing is tried, while it waits.
    pub not_before: Option<Timestamp>,
    /// How many chunks there are, once it is planned.
    pub chunks: Option<u64>,
    /// The number of first chunks that were sent. `None` if an earlier version of softlabel sent all.
    #[serde(default)]
    pub sent: Option<u64>,
    /// What it will cost at most, once that is estimated.
    #[serde(default)]
    pub estimated_usd: Option<Usd>,
    /// That, as it was before the first call.
    #[serde(default)]
    pub forecast_usd: Option<Usd>,
    /// What a call may cost that there was no money for.
    #[serde(default)]
    pub next_usd: Usd,
    /// It waits for the next month, or a higher cap on a month: the month could not pay a call of this
    /// cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_in_month_usd: Option<Usd>,
    /// What is known of its bucket: after planning what there is to label, at the end the result.
    pub report: Option<BucketReport>,
    /// The labelled file and the details that it is about to publish: whatever happens then, they are known
    /// as its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishing: Option<[LabeledFile; 2]>,
    /// What a run was billed that ended without being published, and for how many turns, once that is settled.
    #[serde(default)]
    pub billed: Option<(Tokens, u64)>,
    /// It may write over a labelled file that no run made.
    #[serde(default)]
    pub overwrite: bool,
    /// Its work was removed.
    #[serde(default)]
    pub swept: bool,
    /// What it may spend is given back: nothing is left to do about its dataset's budget and the month.
    #[serde(default)]
    pub settled: bool,
    /// For the reconciler.
    pub watch: Watch,
    /// Of which version of its file this is the content, where it was read.
    #[serde(skip)]
    pub read_as: Option<Version>,
}

/// What makes a run the one it is.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Where the data lies.
    pub data: &'a str,
    /// The RAW dataset.
    pub dataset: &'a str,
    /// The bucket file in it.
    pub file: &'a str,
    /// The file's ETag.
    pub etag: &'a str,
    /// What was asked for; empty for a run that an upload began.
    pub request: &'a str,
}

impl Identity<'_> {
    /// The run's name: the same for the same identity.
    pub fn name(&self) -> String {
        let mut hash = Xxh3Default::new();
        for part in [self.data, self.dataset, self.file, self.etag, self.request] {
            hash.update(part.as_bytes());
            hash.update(b"\0");
        }
        format!("{:016x}", hash.digest())
    }
}

/// The run whose results another one begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The run.
    pub run: String,
    /// The runs that it began with itself, where it may not have taken everything from them.
    pub before: Vec<String>,
    /// The round of the run that begins with them: that of the base, or one more to ask its failed turns
    /// again.
    pub round: u32,
}

/// What a run begins with.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Why it begins.
    pub origin: Origin,
    /// The RAW dataset.
    pub dataset: String,
    /// The bucket file in it.
    pub file: String,
    /// Which version of the file.
    pub source: Version,
    /// Everything that decides what its labels are.
    pub settings: LabelSettings,
    /// The run whose results it begins with, if there is one.
    pub base: Option<Base>,
}

impl Record {
    /// A run that begins now.
    pub fn new(run: String, beginning: Beginning, now: Timestamp) -> Self {
        let Beginning {
            origin,
            dataset,
            file,
            source,
            settings,
            base,
        } = beginning;
        Self {
            run,
            dataset,
            file,
            source,
            origin,
            settings,
            profile: None,
            round: base.as_ref().map_or(0, |base| base.round),
            before_base: base
                .as_ref()
                .map_or_else(Vec::new, |base| base.before.clone()),
            base: base.map(|base| base.run),
            replaces: None,
            sets_dataset: None,
            created: now,
            state: State::Planning,
            since: now,
            reason: None,
            waited_for: None,
            waits_for_storage: false,
            given_up: false,
            not_before: None,
            chunks: None,
            sent: None,
            estimated_usd: None,
            forecast_usd: None,
            next_usd: Usd::ZERO,
            next_in_month_usd: None,
            report: None,
            publishing: None,
            billed: None,
            overwrite: false,
            swept: false,
            settled: false,
            read_as: None,
            watch: Watch {
                finished: 0,
                moved: now,
                sent: now,
                tries: 0,
            },
        }
    }

    /// How its labels are made, once the request parameters are settled.
    pub fn method(&self) -> Option<Method> {
        let profile = self.profile.clone()?;
        Some(Method {
            settings: self.settings.clone(),
            api_profile: profile.api_profile,
            api_profile_reasons: profile.api_profile_reasons,
            answered_by: profile.answered_by,
        })
    }

    /// What is known of a bucket whose file was not read to its end.
    pub fn unread(&self, status: Status) -> BucketReport {
        BucketReport {
            status,
            source: SourceFile {
                path: self.file.clone(),
                etag: self.source.etag.clone(),
                length: self.source.length,
                fingerprint: String::new(),
            },
            ..BucketReport::default()
        }
    }

    /// The runs whose results it begins with, the latest first: of a chunk the first that has something
    /// counts.
    pub fn bases(&self) -> impl Iterator<Item = &String> {
        self.base.iter().chain(&self.before_base)
    }

    /// It, as what another run begins with. What was published has taken everything from those before it.
    pub fn as_base(&self, round: u32) -> Base {
        let before = match self.is_published() {
            true => Vec::new(),
            false => self.bases().cloned().collect(),
        };
        Base {
            run: self.run.clone(),
            before,
            round,
        }
    }

    /// Whether its result is final: failed turns are asked again only on request, but the turns of a run
    /// that published nothing or was given up are still wanted.
    pub fn is_satisfying(&self) -> bool {
        let report = self
            .report
            .as_ref()
            .filter(|report| report.published.is_some());
        report.is_some_and(|report| match report.status {
            Status::Complete => true,
            Status::Partial => !self.given_up,
            Status::Failed => false,
        })
    }

    /// Whether turns or rationales failed in it that can be asked again.
    pub fn has_failures(&self) -> bool {
        let figures = self.report.as_ref().map(|report| &report.figures);
        figures.is_some_and(|figures| figures.failed > 0 || figures.rationale_failures > 0)
    }

    /// Whether its bucket was published by it.
    pub fn is_published(&self) -> bool {
        let report = self.report.as_ref();
        report.is_some_and(|report| report.published.is_some())
    }

    /// Whether a labelled file, or the details of one, is what it published, or was about to.
    pub fn made(&self, file: &LabeledFile) -> bool {
        let published = self.report.iter().flat_map(BucketReport::files).flatten();
        published
            .chain(self.publishing.iter().flatten())
            .any(|made| made == file)
    }

    fn enter(&mut self, state: State, reason: Option<String>, now: Timestamp) -> bool {
        if self.state.is_over() {
            return false;
        }
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        // Why it was given up stays.
        if reason.is_some() || !self.given_up {
            self.reason = reason;
        }
        self.not_before = None;
        self.next_in_month_usd = None;
        self.waits_for_storage = false;
        true
    }

    /// Its file is cut into `chunks`, and the request parameters are settled.
    pub fn planned(
        &mut self,
        profile: ApiProfile,
        report: BucketReport,
        chunks: u64,
        now: Timestamp,
    ) -> bool {
        if self.state == State::Labeling || !self.enter(State::Labeling, None, now) {
            return false;
        }
        self.profile.get_or_insert(profile);
        self.report.get_or_insert(report);
        if self.chunks.replace(chunks).is_none() {
            self.sent = Some(0);
        }
        self.watch.moved = now;
        self.watch.sent = now;
        true
    }

    /// How many of its chunks are out: sent and, as far as the record knows, not finished.
    pub fn out(&self) -> u64 {
        let sent = self.sent.or(self.chunks).unwrap_or_default();
        sent.saturating_sub(self.watch.finished)
    }

    /// Whether all that was sent of it is finished, and there is more.
    pub fn is_in_line(&self) -> bool {
        self.state == State::Labeling && self.has_more() && self.out() == 0
    }

    /// Whether chunks of it were not sent yet.
    pub fn has_more(&self) -> bool {
        self.sent.is_some_and(|sent| self.chunks > Some(sent))
    }

    /// Lets `out` of its chunks be out, which means sent and not among the `finished`. Gives the further
    /// chunks to send.
    pub fn let_out(&mut self, out: u64, finished: u64) -> Range<u64> {
        let chunks = self.chunks.unwrap_or_default();
        let sent = self.sent.unwrap_or(chunks).min(chunks);
        let until = finished.saturating_add(out).clamp(sent, chunks);
        if until > sent {
            self.sent = Some(until);
        }
        sent..until
    }

    /// One of its chunks is finished, with which `finished` are: gives the next chunk to send, if there is one.
    pub fn let_next_out(&mut self, finished: u64, now: Timestamp) -> Option<u64> {
        let next = self
            .sent
            .filter(|_| self.has_more() && !self.state.is_over())?;
        self.sent = Some(next + 1);
        self.watch.see(finished, now);
        Some(next)
    }

    /// Nothing can be done before `until`. One chunk that reports it is enough; a run that waits for
    /// approval keeps doing so.
    pub fn wait(&mut self, reason: String, until: Timestamp, now: Timestamp) -> bool {
        let waits = matches!(self.state, State::Waiting | State::AwaitingApproval);
        if waits || self.given_up || !self.enter(State::Waiting, Some(reason), now) {
            return false;
        }
        self.waited_for.clone_from(&self.reason);
        self.not_before = Some(until);
        true
    }

    /// What all datasets may cost in a month has no money for a call of up to `next`, and the month ends at
    /// `until`. It says nothing about the run.
    pub fn wait_for_month(
        &mut self,
        next: Usd,
        reason: String,
        until: Timestamp,
        now: Timestamp,
    ) -> bool {
        let waited_for = self.waited_for.clone();
        if !self.wait(reason, until, now) {
            return false;
        }
        self.waited_for = waited_for;
        self.next_in_month_usd = Some(next);
        true
    }

    /// What it will cost is estimated, before the first call.
    pub fn estimate(&mut self, usd: Option<Usd>) {
        self.estimated_usd = self.estimated_usd.or(usd);
        self.forecast_usd = self.forecast_usd.or(usd);
    }

    /// It would cost more than it may: `usd`, where a price is known.
    pub fn await_approval(&mut self, usd: Option<Usd>, reason: String, now: Timestamp) -> bool {
        let waits = self.state == State::AwaitingApproval || self.given_up;
        if waits || !self.enter(State::AwaitingApproval, Some(reason), now) {
            return false;
        }
        self.estimated_usd = usd;
        true
    }

    /// It may go on where it was.
    pub fn resume(&mut self, now: Timestamp) -> bool {
        let state = match self.chunks {
            Some(_) => State::Labeling,
            None => State::Planning,
        };
        self.state == State::Waiting && self.enter(state, None, now)
    }

    /// A month has money again: the run continues as if it had not waited.
    pub fn resume_in_month(&mut self, now: Timestamp) -> bool {
        if self.next_in_month_usd.is_none() || !self.resume(now) {
            return false;
        }
        self.watch.moved = now;
        self.watch.sent = now;
        true
    }

    /// It made no progress whatever was tried: unlabelled turns get no further try, and the run does not
    /// wait again.
    pub fn give_up(&mut self, now: Timestamp) {
        self.resume(now);
        if !std::mem::replace(&mut self.given_up, true) {
            let why = match &self.waited_for {
                Some(why) => format!("it last waited because {why}"),
                None => match self.chunks {
                    Some(chunks) => format!(
                        "{} of its {chunks} chunks were finished, and its record does not say why \
                         it stopped; see the app's log",
                        self.watch.finished
                    ),
                    None => {
                        "it was not planned, and its record does not say why; see the app's log"
                            .to_owned()
                    }
                },
            };
            self.reason = Some(format!(
                "it made no progress in {} tries: {why}; relabel the bucket once that is mended",
                self.watch.tries
            ));
        }
    }

    /// It is at its end.
    pub fn end(&mut self, state: State, reason: Option<String>, now: Timestamp) -> bool {
        self.enter(state, reason, now)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::labeling::label::HardLabel;
    use crate::labeling::strategy::Limits;
    use crate::labeling::task::Task;
    use crate::teacher::endpoint::Api;
    use crate::teacher::model::Family;
    use crate::teacher::tokens::Encoding;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    pub(crate) fn settings() -> LabelSettings {
        LabelSettings {
            api: Api::Azure,
            base_url: None,
            model: "gpt-5.2".into(),
            model_family: Family::Gpt5None,
            deployment: "d".into(),
            encoding: Encoding::O200kBase,
            strategy: "user_message_only".into(),
            strategy_version: 1,
            prompt_version: "1".into(),
            task: Task::built_in(),
            with_rationales: true,
            hard_label: HardLabel::Generated,
            limits: Limits {
                message_tokens: 4000,
                context_tokens: 4000,
            },
        }
    }

    pub(crate) fn record(run: &str) -> Record {
        let beginning = Beginning {
            origin: Origin::Upload,
            dataset: "v4".into(),
            file: "train/short.json".into(),
            source: Version {
                etag: "e1".into(),
                length: 10,
            },
            settings: settings(),
            base: None,
        };
        Record::new(run.into(), beginning, at(0))
    }

    pub(crate) fn planned(run: &str, chunks: u64) -> Record {
        let mut record = record(run);
        record.chunks = Some(chunks);
        record.state = State::Labeling;
        record
    }

    #[test]
    fn a_run_that_ended_never_begins_again() {
        let mut record = planned("r", 3);
        assert!(record.end(State::Cancelled, Some("why".into()), at(5)));
        assert!(!record.end(State::Complete, None, at(6)));
        assert!(!record.wait("x".into(), at(9), at(7)));
        assert!(!record.resume(at(8)));
        assert_eq!((record.state, record.since), (State::Cancelled, at(5)));
    }

    #[test]
    fn so_many_chunks_are_out_at_a_time() {
        let mut run = planned("r", 10);
        run.sent = Some(0);
        assert_eq!(run.let_out(4, 0), 0..4);
        assert_eq!(run.let_out(4, 0), 4..4);
        assert_eq!(run.let_next_out(1, at(1)), Some(4));
        assert_eq!(run.let_next_out(2, at(2)), Some(5));
        // What ended is out no longer, and the run moved.
        assert_eq!((run.out(), run.watch.moved), (4, at(2)));
        // Three are finished, and one of them sent nothing.
        assert_eq!(run.let_out(4, 3), 6..7);
        // More may be out by now, or fewer.
        assert_eq!(run.let_out(6, 3), 7..9);
        assert_eq!(run.let_out(1, 3), 9..9);
        assert_eq!(run.let_next_out(4, at(3)), Some(9));
        assert_eq!(run.let_next_out(5, at(4)), None);
        assert_eq!(run.let_out(u64::MAX, 9), 10..10);
        // All of an earlier version's were sent.
        let mut run = planned("r", 10);
        assert_eq!(run.let_out(4, 0), 10..10);
        assert_eq!(run.let_next_out(1, at(1)), None);
    }

    #[test]
    fn waiting_ends_where_it_began() {
        let mut unplanned = record("a");
        assert!(unplanned.wait("no credential".into(), at(60), at(1)));
        assert!(!unplanned.wait("another word".into(), at(90), at(2)));
        assert_eq!(unplanned.not_before, Some(at(60)));
        assert!(unplanned.resume(at(61)));
        assert_eq!(unplanned.state, State::Planning);
        let mut labeling = planned("b", 3);
        labeling.wait("outage".into(), at(60), at(1));
        labeling.resume(at(61));
        assert_eq!((labeling.state, labeling.reason), (State::Labeling, None));
    }

    #[test]
    fn the_name_follows_from_what_is_labelled_and_how() {
        let identity = Identity {
            data: "c/base",
            dataset: "v4",
            file: "train/short.json",
            etag: "e1",
            request: "",
        };
        assert_eq!(identity.name(), identity.name());
        assert_eq!(identity.name().len(), 16);
        for other in [
            Identity {
                etag: "e2",
                ..identity
            },
            Identity {
                request: "{}",
                ..identity
            },
            Identity {
                data: "c/basev",
                dataset: "4",
                ..identity
            },
        ] {
            assert_ne!(other.name(), identity.name());
        }
    }
}
