//! Labelling one turn: the classification, then the rationale that sees its label.

use super::answers::{Answers, Asked};
use super::entry::{Event, FailureRecord, LabelRecord, RationaleRecord, Todo};
use super::progress::Progress;
use super::settings::LabelSettings;
use super::switch::Switch;
use crate::dataset::details::Place;
use crate::dataset::figures::Tokens;
use crate::dataset::line::{ErrorCode, LabelingError};
use crate::labeling::cut::TokenCounter;
use crate::labeling::label::{HardLabel, Label};
use crate::labeling::prompt::{Mark, Prompts, Sizes};
use crate::labeling::rationale::{self, Finish};
use crate::labeling::soft_label::{Estimate, estimate};
use crate::labeling::strategy::{Input, Limits, Strategy};
use crate::money::Usd;
use crate::teacher::meter::Reading;
use crate::teacher::purse::Purse;
use crate::teacher::stop::Stop;
use crate::teacher::tariff::Tariff;
use crate::teacher::tokens::ENVELOPE;
use crate::teacher::{AskError, Kind, Question, Reply, Teacher};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::borrow::Cow;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often an answer that names no label is asked for.
const CLASSIFICATIONS: u32 = 2;

/// After this many answers in a row without token probabilities, the deployment counts as giving none.
const WITHOUT_LOGPROBS: u32 = 20;

/// After this many different rationales that failed, and none that did not, no more are asked
/// for.
const FAILED_RATIONALES: usize = 20;

/// What all turns of a run share.
pub struct Labeler {
    /// Whom to ask.
    pub teacher: Arc<Teacher>,
    /// What its calls cost.
    pub tariff: Arc<Tariff>,
    /// Which part of a conversation is shown.
    pub strategy: &'static dyn Strategy,
    /// Limits of what is shown.
    pub limits: Limits,
    /// What is asked.
    prompts: Prompts,
    /// Counts tokens as the model does.
    pub tokens: Arc<dyn TokenCounter>,
    /// Which of two answers the hard label is.
    pub hard_label: HardLabel,
    /// Whether a rationale is asked for.
    pub with_rationales: bool,
    /// How far the run is.
    pub progress: Arc<Progress>,
    /// Known when the first question is asked, as the tokens of what is constant take a while.
    sizes: OnceLock<Sizes>,
    labels: Answers<LabelAnswer>,
    rationales: Answers<RationaleAnswer>,
    /// Answers in a row that came without token probabilities.
    without_logprobs: AtomicU32,
    /// The rationales that failed since the last one that did not; once there are
    /// [`FAILED_RATIONALES`] they stay.
    failed_rationales: Mutex<HashSet<u128>>,
    /// Cancelled when no more rationales are asked for.
    no_rationales: CancellationToken,
    /// The reading of the meter that was last logged.
    told: Mutex<Reading>,
}

/// A label as it was answered.
#[derive(Debug)]
pub struct LabelAnswer {
    /// The label.
    pub estimate: Estimate,
    /// What was billed, for all that was asked until it was there.
    pub tokens: Tokens,
    /// How long the answer took, in milliseconds.
    pub latency_ms: u64,
    /// `x-ms-client-request-id` of the call.
    pub request_id: String,
    /// `apim-request-id` of the call.
    pub service_request_id: Option<String>,
}

/// A rationale as it was answered.
#[derive(Debug)]
pub struct RationaleAnswer {
    /// The text.
    pub text: String,
    /// What was billed.
    pub tokens: Tokens,
}

/// How the work on a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnEnd {
    /// All that was to be done is done.
    Finished,
    /// Sending has stopped; the rest is still to be done.
    Stopped,
    /// Asking panicked; the rest is still to be done.
    BrokeOff,
}

/// A turn to be labelled.
pub struct TurnJob {
    /// As in RAW.
    pub conversation_id: String,
    /// As in RAW.
    pub message_id: String,
    /// Where it stands in RAW.
    pub place: Place,
    /// What the model is shown, or why it is shown nothing.
    pub input: Result<Arc<Input>, LabelingError>,
    /// What is left to be done.
    pub todo: Todo,
    /// The label, where only the rationale is left.
    pub label: Option<Label>,
}

impl Labeler {
    /// A labeler for one run, whose `settings` name the `strategy`. If `dedupe`, identical questions
    /// are asked once.
    pub fn new(
        teacher: Arc<Teacher>,
        settings: &LabelSettings,
        strategy: &'static dyn Strategy,
        dedupe: bool,
        progress: Arc<Progress>,
        tariff: Tariff,
    ) -> Self {
        Self {
            teacher,
            tariff: Arc::new(tariff),
            strategy,
            limits: settings.limits,
            prompts: Prompts::of(&settings.task),
            tokens: Arc::new(settings.encoding),
            hard_label: settings.hard_label,
            with_rationales: settings.with_rationales,
            progress,
            sizes: OnceLock::new(),
            labels: Answers::new(dedupe),
            rationales: Answers::new(dedupe),
            without_logprobs: AtomicU32::new(0),
            failed_rationales: Mutex::default(),
            no_rationales: CancellationToken::new(),
            told: Mutex::default(),
        }
    }

    /// The most that the calls of `job` are expected to cost, each sent once.
    pub fn most(&self, job: &TurnJob) -> Usd {
        let Ok(input) = &job.input else {
            return Usd::ZERO;
        };
        let mark = self.teacher.with_rng(|rng| Mark::fresh(rng, input));
        let sizes = self.sizes();
        let most = |prompt: usize, answer: u32| {
            let prompt = u64::from(with_envelope(prompt));
            self.tariff.most(prompt, u64::from(answer))
        };
        let label = match job.todo {
            Todo::All => {
                let answer = self.teacher.profile().classification_tokens;
                most(sizes.classification(input, &mark), answer)
            }
            Todo::Rationale | Todo::Nothing => Usd::ZERO,
        };
        let rationale = match self.with_rationales {
            true => most(
                sizes.rationale(input, &mark),
                self.prompts.rationale_tokens(),
            ),
            false => Usd::ZERO,
        };
        label + rationale
    }

    /// What went over the line since this was last asked, by all who share this labeler.
    pub fn spent_since(&self) -> Reading {
        let reading = self.teacher.meter();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let since = reading.since(&told);
        *told = reading;
        since
    }

    /// Labels the turn of `job`, passing `record` each event as it becomes known; `purse` pays. If
    /// sending has stopped, or once `switch` is off, it returns early and leaves the rest to be done.
    pub async fn label(
        self: &Arc<Self>,
        job: &TurnJob,
        switch: &Switch,
        purse: &Arc<Purse>,
        mut record: impl FnMut(Event<'static>),
    ) -> TurnEnd {
        let failure = |error: LabelingError, tokens| FailureRecord {
            conversation_id: job.conversation_id.clone(),
            message_id: job.message_id.clone(),
            place: Some(job.place),
            error,
            tokens,
        };
        let input = match &job.input {
            Ok(input) => input,
            Err(error) => {
                self.progress.label_done(false);
                self.progress.turn_done(Some(error.code));
                record(Event::Error(failure(error.clone(), Tokens::default())));
                return TurnEnd::Finished;
            }
        };
        let label = match (job.todo, job.label) {
            (Todo::Rationale, Some(label)) => label,
            _ => {
                let ask = || {
                    let asking = Arc::clone(self).ask_label(
                        input.clone(),
                        switch.clone(),
                        Arc::clone(purse),
                    );
                    asking.boxed()
                };
                match self.asked(&self.labels, input.key(), ask, switch).await {
                    (Asked::Stopped, _) => return TurnEnd::Stopped,
                    (Asked::BrokeOff, _) => return TurnEnd::BrokeOff,
                    (Asked::Failure(error, tokens), reused) => {
                        self.progress.label_done(false);
                        self.progress.turn_done(Some(error.code));
                        let tokens = if reused { Tokens::default() } else { tokens };
                        record(Event::Error(failure(error, tokens)));
                        return TurnEnd::Finished;
                    }
                    (Asked::Answer(answer), reused) => {
                        let label = self.label_record(job, input, &answer, reused);
                        let hard_label = label.hard_label;
                        record(Event::Label(Cow::Owned(label)));
                        self.progress.label_done(true);
                        hard_label
                    }
                }
            }
        };
        if self.with_rationales {
            let key = rationale_key(input, label);
            let ask = || {
                let asking = Arc::clone(self).ask_rationale(
                    input.clone(),
                    label,
                    switch.clone(),
                    Arc::clone(purse),
                );
                asking.boxed()
            };
            match self.asked(&self.rationales, key, ask, switch).await {
                (Asked::Stopped, _) => return TurnEnd::Stopped,
                (Asked::BrokeOff, _) => return TurnEnd::BrokeOff,
                (Asked::Failure(error, tokens), reused) => {
                    self.progress.rationale_failed();
                    let tokens = if reused { Tokens::default() } else { tokens };
                    record(Event::RationaleError(failure(error, tokens)));
                }
                (Asked::Answer(answer), reused) => record(Event::Rationale(RationaleRecord {
                    text: answer.text.clone(),
                    reused,
                    tokens: if reused {
                        Tokens::default()
                    } else {
                        answer.tokens
                    },
                })),
            }
            self.progress.rationale_done();
        }
        self.progress.turn_done(None);
        TurnEnd::Finished
    }

    /// The outcome of the question `key`, which is boxed: on its way it is large, and most turns wait
    /// long before they ask theirs. If another caller asked it and was stopped, it is asked again.
    async fn asked<T: Send + Sync + 'static>(
        &self,
        answers: &Answers<T>,
        key: u128,
        ask: impl Fn() -> BoxFuture<'static, Asked<T>>,
        switch: &Switch,
    ) -> (Asked<T>, bool) {
        loop {
            let (asked, reused) = answers.get(key, &ask).await;
            let nobody_asks = switch.is_off() || self.teacher.is_closed();
            if !(reused && matches!(asked, Asked::Stopped)) || nobody_asks {
                return (asked, reused);
            }
        }
    }

    /// Asks for the label of one input, and for its rationale where wanted.
    ///
    /// # Errors
    /// If there is no label.
    pub async fn ask_once(
        self: &Arc<Self>,
        input: Arc<Input>,
    ) -> Result<
        (
            Arc<LabelAnswer>,
            Option<Result<Arc<RationaleAnswer>, LabelingError>>,
        ),
        LabelingError,
    > {
        let stopped = || LabelingError::new(ErrorCode::Transient, "Sending has stopped.");
        let switch = Switch::new(&CancellationToken::new());
        let purse = Arc::new(Purse::unlimited(Arc::clone(&self.tariff)));
        let ask = Arc::clone(self);
        let ask = ask.ask_label(Arc::clone(&input), switch.clone(), Arc::clone(&purse));
        let label = match ask.await {
            Asked::Answer(label) => label,
            Asked::Failure(error, _) => return Err(error),
            Asked::Stopped | Asked::BrokeOff => return Err(stopped()),
        };
        if !self.with_rationales {
            return Ok((label, None));
        }
        let hard = self.hard_label.choose(&label.estimate);
        let asked = Arc::clone(self).ask_rationale(input, hard, switch, purse);
        let rationale = match asked.await {
            Asked::Answer(rationale) => Ok(rationale),
            Asked::Failure(error, _) => Err(error),
            Asked::Stopped | Asked::BrokeOff => Err(stopped()),
        };
        Ok((label, Some(rationale)))
    }

    /// Remembers what an earlier process was answered, so that identical turns are not asked again.
    pub fn remember(
        &self,
        input: &Input,
        label: &LabelRecord,
        rationale: Option<&RationaleRecord>,
    ) {
        let answer = LabelAnswer {
            estimate: label.estimate.clone(),
            tokens: label.tokens,
            latency_ms: label.latency_ms,
            request_id: label.request_id.clone(),
            service_request_id: None,
        };
        self.labels.put(input.key(), Arc::new(answer));
        if let Some(rationale) = rationale {
            let answer = RationaleAnswer {
                text: rationale.text.clone(),
                tokens: rationale.tokens,
            };
            self.rationales
                .put(rationale_key(input, label.hard_label), Arc::new(answer));
        }
    }

    fn label_record(
        &self,
        job: &TurnJob,
        input: &Input,
        answer: &LabelAnswer,
        reused: bool,
    ) -> LabelRecord {
        if reused {
            self.progress.reused();
        }
        LabelRecord {
            conversation_id: job.conversation_id.clone(),
            message_id: job.message_id.clone(),
            place: Some(job.place),
            hard_label: self.hard_label.choose(&answer.estimate),
            estimate: answer.estimate.clone(),
            cut: input.cut(),
            reused,
            tokens: if reused {
                Tokens::default()
            } else {
                answer.tokens
            },
            latency_ms: answer.latency_ms,
            request_id: answer.request_id.clone(),
        }
    }

    fn sizes(&self) -> &Sizes {
        self.sizes
            .get_or_init(|| Sizes::new(Arc::clone(&self.tokens), &self.prompts))
    }

    /// Asks `question`, once `switch` is on and again where a pause began before an answer was
    /// on its way.
    async fn ask(
        &self,
        question: Question<'_>,
        switch: &Switch,
        purse: &Purse,
    ) -> Result<Reply, AskError> {
        let mut no_rationales = pin!(async {
            match question.kind {
                Kind::Label => std::future::pending().await,
                Kind::Rationale { .. } => self.no_rationales.cancelled().await,
            }
        });
        while let Some(granted) = switch.on().await {
            let stop = granted.child_token();
            let mut asked = pin!(self.teacher.ask(question, purse, &stop));
            let asked = tokio::select! {
                biased;
                asked = &mut asked => asked,
                () = &mut no_rationales => {
                    stop.cancel();
                    return match asked.await {
                        Err(AskError::Stopped) if !self.teacher.is_closed() => {
                            Err(AskError::Turn(not_asked_for(), Tokens::default()))
                        }
                        asked => asked,
                    };
                }
            };
            match asked {
                Err(AskError::Stopped) if granted.is_cancelled() && !self.teacher.is_closed() => {}
                asked => return asked,
            }
        }
        Err(AskError::Stopped)
    }

    async fn ask_label(
        self: Arc<Self>,
        input: Arc<Input>,
        switch: Switch,
        purse: Arc<Purse>,
    ) -> Asked<LabelAnswer> {
        let mut tokens = Tokens::default();
        let mut nothing = LabelingError::new(ErrorCode::NoLabel, "The model was not asked.");
        for _ in 0..CLASSIFICATIONS {
            let mark = self.teacher.with_rng(|rng| Mark::fresh(rng, &input));
            let prompt = self.prompts.classification(&input, &mark);
            let question = Question {
                kind: Kind::Label,
                message: input.key(),
                system: &prompt.system,
                user: &prompt.user,
                tokens: with_envelope(self.sizes().classification(&input, &mark)),
            };
            match self.ask(question, &switch, &purse).await {
                Err(AskError::Stopped | AskError::Unaffordable(_)) => {
                    purse.add_beside(tokens);
                    return Asked::Stopped;
                }
                Err(AskError::Turn(error, billed)) => {
                    self.progress.label_answered(billed, Duration::ZERO);
                    tokens += billed;
                    return Asked::Failure(error, tokens);
                }
                Ok(mut reply) => {
                    self.progress.label_answered(reply.tokens, reply.latency);
                    tokens += reply.tokens;
                    match read_label(&mut reply, self.teacher.profile().top_logprobs) {
                        Ok(estimate) => {
                            self.without_logprobs.store(0, Relaxed);
                            return Asked::Answer(Arc::new(LabelAnswer {
                                estimate,
                                tokens,
                                latency_ms: u64::try_from(reply.latency.as_millis())
                                    .unwrap_or(u64::MAX),
                                request_id: reply.client_request_id.to_string(),
                                service_request_id: reply.service_request_id,
                            }));
                        }
                        Err(error) if self.is_one_too_many(&error) => {
                            purse.add_beside(tokens);
                            return Asked::Stopped;
                        }
                        Err(error) => nothing = error,
                    }
                }
            }
        }
        Asked::Failure(nothing, tokens)
    }

    /// Whether answers lacked token probabilities so often that no answer will have them; then sending
    /// stops.
    fn is_one_too_many(&self, error: &LabelingError) -> bool {
        if error.code != ErrorCode::BadAnswer {
            return false;
        }
        let many = self.without_logprobs.fetch_add(1, Relaxed) + 1 >= WITHOUT_LOGPROBS;
        if many {
            let text = format!("the last {WITHOUT_LOGPROBS} answers came without them");
            self.teacher.halt(Stop::NoLogprobs(text));
        }
        many
    }

    /// Counts rationales that fail while labels succeed.
    fn count_rationale(&self, rationale: u128, asked: &Result<Reply, AskError>) {
        use ErrorCode::{Rejected, Throttled, Transient};
        let failed = match asked {
            Err(AskError::Turn(error, _)) => {
                matches!(error.code, Transient | Throttled | Rejected)
            }
            Ok(_) => false,
            Err(AskError::Stopped | AskError::Unaffordable(_)) => return,
        };
        let mut rationales = self.failed_rationales();
        if rationales.len() >= FAILED_RATIONALES {
            return;
        }
        match failed {
            true => rationales.insert(rationale),
            false => return rationales.clear(),
        };
        if rationales.len() == FAILED_RATIONALES {
            self.no_rationales.cancel();
            tracing::warn!(
                failed = FAILED_RATIONALES,
                "no more rationales are asked for: the last ones all failed"
            );
        }
    }

    fn failed_rationales(&self) -> MutexGuard<'_, HashSet<u128>> {
        let rationales = self.failed_rationales.lock();
        rationales.unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_rationale(
        self: Arc<Self>,
        input: Arc<Input>,
        label: Label,
        switch: Switch,
        purse: Arc<Purse>,
    ) -> Asked<RationaleAnswer> {
        if self.no_rationales.is_cancelled() {
            return Asked::Failure(not_asked_for(), Tokens::default());
        }
        let mark = self.teacher.with_rng(|rng| Mark::fresh(rng, &input));
        let prompt = self.prompts.rationale(&input, label, &mark);
        let question = Question {
            kind: Kind::Rationale {
                tokens: self.prompts.rationale_tokens(),
            },
            message: input.key(),
            system: &prompt.system,
            user: &prompt.user,
            tokens: with_envelope(self.sizes().rationale(&input, &mark)),
        };
        let asked = self.ask(question, &switch, &purse).await;
        self.count_rationale(rationale_key(&input, label), &asked);
        match asked {
            Err(AskError::Stopped | AskError::Unaffordable(_)) => Asked::Stopped,
            Err(AskError::Turn(error, billed)) => {
                self.progress.rationale_answered(billed, Duration::ZERO);
                Asked::Failure(error, billed)
            }
            Ok(reply) => {
                let tokens = reply.tokens;
                self.progress.rationale_answered(tokens, reply.latency);
                match read_rationale(&reply) {
                    Ok(text) => Asked::Answer(Arc::new(RationaleAnswer { text, tokens })),
                    Err(error) => Asked::Failure(error, tokens),
                }
            }
        }
    }
}

/// The failure of a rationale that is not worth a call.
fn not_asked_for() -> LabelingError {
    let message = format!("It was not asked for: the last {FAILED_RATIONALES} rationales failed.");
    LabelingError::new(ErrorCode::Transient, message)
}

/// The tokens of a request whose texts have `texts` tokens.
fn with_envelope(texts: usize) -> u32 {
    u32::try_from(texts)
        .unwrap_or(u32::MAX)
        .saturating_add(ENVELOPE)
}

/// A rationale depends on the label it explains.
fn rationale_key(input: &Input, label: Label) -> u128 {
    input.key() ^ (u128::from(u8::from(label)) + 1)
}

/// The label in an answer.
fn read_label(reply: &mut Reply, requested: u8) -> Result<Estimate, LabelingError> {
    refusal(reply)?;
    let empty = text(reply).is_empty();
    let first = reply
        .choice
        .take_first_token(requested)
        .ok_or_else(|| match empty {
            true => LabelingError::new(ErrorCode::NoLabel, "The answer is empty."),
            false => LabelingError::new(
                ErrorCode::BadAnswer,
                "The answer has no token probabilities.",
            ),
        })?;
    estimate(&first)
        .map_err(|nothing| LabelingError::new(ErrorCode::NoLabel, format!("No label: {nothing}.")))
}

/// The rationale in an answer.
fn read_rationale(reply: &Reply) -> Result<String, LabelingError> {
    refusal(reply)?;
    let finish = match reply.choice.finish_reason.as_deref() {
        Some("length") => Finish::Length,
        _ => Finish::Complete,
    };
    rationale::tidy(text(reply), finish).ok_or_else(|| {
        let message = "The rationale is empty or has no full sentence.";
        LabelingError::new(ErrorCode::BadAnswer, message)
    })
}

/// What the model said; empty where it said nothing.
fn text(reply: &Reply) -> &str {
    &reply.choice.text
}

fn refusal(reply: &Reply) -> Result<(), LabelingError> {
    match reply.choice.refusal.as_deref() {
        Some(text) if !text.trim().is_empty() => Err(LabelingError::new(
            ErrorCode::Refused,
            "The model declined to answer.",
        )),
        _ => Ok(()),
    }
}
