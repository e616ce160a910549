//! `softlabel label`.

use super::open_files::OpenFiles;
use super::progress::{Bill, Display};
use super::screen::Screen;
use super::signals::Signals;
use super::table::{counted, number};
use super::watch::Watch;
use super::{Exit, confirm, dry_run, pilot, places, print, summary};
use crate::clock::Clock;
use crate::config::{LabelArgs, Only, UsageError};
use crate::dataset::layout;
use crate::dataset::metadata::{Cost, Status};
use crate::deployments::{self, Deployments};
use crate::labeling::task::Task;
use crate::run::RunError;
use crate::run::funds::MonthlyCap;
use crate::run::progress::Progress;
use crate::run::report::Metadata;
use crate::run::runs::Runs;
use crate::run::settings::Method;
use crate::single_process::{Claim, Job, Resume};
use crate::steps::report::Written;
use crate::steps::{Answers, App, Data, InTrouble, Named, Settings, Trouble};
use crate::store::{OwnFolder, StoreError};
use crate::teacher::transport::Transport;
use crate::text::visible;
use anyhow::anyhow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The longest time a result waits before it is appended, and so the work that a kill costs.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Labels what the arguments name.
///
/// # Errors
/// Why the run could not begin or go on; what was labelled until then is kept.
pub(super) async fn run(mut args: LabelArgs) -> anyhow::Result<Exit> {
    let screen = Screen::new(&args.log, args.progress)?;
    args.service = args.service.understood()?;
    let open_files = OpenFiles::raise();
    let concurrency = args.service.concurrency;
    args.service.concurrency = concurrency.at_most(open_files.calls());
    if args.service.concurrency != concurrency {
        screen.line(&format!(
            "at most {} calls are in flight, since this process may have no more than {open_files} files \
             open; for more, raise that limit (ulimit -n)",
            open_files.calls()
        ));
    }
    let started = Instant::now();
    if args.watch && args.dry_run {
        let text = "--watch shows a run, and --dry-run makes none; give one of them";
        return Err(UsageError(text.into()).into());
    }
    if args.restart && args.only.is_some() {
        return Err(UsageError("--only and --restart exclude each other; give one".into()).into());
    }
    if args.max_cost.is_some() && args.service.price().is_none() {
        return Err(UsageError(format!(
            "--max-cost needs a price, and none is known for the model {}; set --price-input and \
             --price-output",
            args.service.model
        ))
        .into());
    }
    if let Some(assumed) = args.service.assumed() {
        screen.line(&assumed);
    }
    let task = args.task.task()?;
    let pilot = pilot::wanted(&args, &task)?;
    let (named, work) = places::resolve(&args, pilot).await?;
    // Before the files are read, so that mistakes here are reported at once.
    let transport = match args.dry_run {
        true => None,
        false => Some(deployments::transport(&args.service).await?),
    };
    let progress = Arc::new(Progress::default());
    if args.dry_run {
        let app = app(
            &args,
            &task,
            &named,
            &work,
            transport,
            Arc::clone(&progress),
        );
        let job = plan(&args, &app, &named, &screen, &progress).await?;
        return dry_run::run(&args, &job, &screen, &progress).await;
    }
    let signals = Signals::listen();
    let claim = Claim::take(&named, &work, Clock::system()).await?;
    let named = Named {
        output: claim.only_ours(&named.output),
        metadata: claim.only_ours(&named.metadata),
        ..named
    };
    let work = claim.only_ours(&work);
    let app = app(
        &args,
        &task,
        &named,
        &work,
        transport,
        Arc::clone(&progress),
    );
    let command = Command {
        args: &args,
        screen: &screen,
        app,
        progress,
        claim: &claim,
        open_files,
    };
    let labeled = tokio::select! {
        labeled = command.label(&named, signals, started) => labeled,
        // Calls in flight end with this process; the process that took over asks again.
        lost = claim.lost() => Err(lost.into()),
    };
    claim.release().await;
    labeled
}

/// The steps with the settings of the arguments.
fn app(
    args: &LabelArgs,
    task: &Arc<Task>,
    named: &Named,
    work: &OwnFolder,
    transport: Option<Transport>,
    progress: Arc<Progress>,
) -> Arc<App> {
    let (labeling, service) = (args.labeling.clone(), args.service.clone());
    let settings = Settings {
        labels: deployments::label_settings(&labeling, &service, task),
        task_name: None,
        chunk: args.cut.limits(),
        salvage: args.cut.salvage,
        flush_every: FLUSH_EVERY,
        overwrite: args.overwrite,
        deadline: None,
        in_trouble: InTrouble::Halt,
        answers: Answers::OfAll,
        report: args.report.options(),
        quota: service.quota(),
        call_timeout: service.call_timeout,
        stall_after: Duration::MAX,
        tries: 0,
        dead_after: Duration::MAX,
        chunks_out: None,
        retention_days: 0,
        window: deployments::window(&args.cut, &service),
        price: service.set_price(),
        asks_first: false,
        max_cost: args.max_cost,
        max_cost_per_month: MonthlyCap::NotKept,
    };
    let deployments = Deployments::alone(labeling, service, transport, progress);
    Arc::new(App::new(
        Data::named(named.clone()),
        Runs::new(work.clone(), Clock::system()),
        Arc::new(deployments),
        settings,
        CancellationToken::new(),
    ))
}

/// Reads every file, and prints what a person should look at.
async fn plan(
    args: &LabelArgs,
    app: &Arc<App>,
    named: &Named,
    screen: &Screen,
    progress: &Arc<Progress>,
) -> anyhow::Result<Job> {
    let resume = match (args.dry_run, args.restart, args.only) {
        (true, ..) => Resume::DryRun,
        (_, true, _) => Resume::Restart,
        (_, _, Some(Only::Failed)) => Resume::OnlyFailed,
        _ => Resume::Continue,
    };
    let job = {
        let _display = Display::scanning(screen, progress);
        let (files, progress) = (named.files.clone(), Arc::clone(progress));
        Job::plan(Arc::clone(app), &named.dataset, files, resume, progress)
            .await
            .map_err(refused)?
    };
    for warning in job.warnings() {
        screen.line(&format!("warning: {warning}"));
    }
    Ok(job)
}

/// An output where writing is forbidden is wrong usage.
fn refused(error: RunError) -> anyhow::Error {
    match error {
        RunError::Foreign { .. } => UsageError(error.to_string()).into(),
        RunError::Store(StoreError::Forbidden { .. }) => {
            UsageError(format!("--output: {error}")).into()
        }
        error => error.into(),
    }
}

/// A command that has its work folder and output to itself.
struct Command<'a> {
    args: &'a LabelArgs,
    screen: &'a Screen,
    app: Arc<App>,
    progress: Arc<Progress>,
    claim: &'a Claim,
    open_files: OpenFiles,
}

impl Command<'_> {
    async fn label(
        &self,
        named: &Named,
        mut signals: Signals,
        started: Instant,
    ) -> anyhow::Result<Exit> {
        let Self {
            args,
            screen,
            app,
            progress,
            claim,
            open_files,
        } = self;
        let prepared = async {
            let job = plan(args, app, named, screen, progress).await?;
            confirm::restart(screen, args.yes, job.replaced()).await?;
            let settled = job.settle().await;
            let (profile, is_new) = settled.map_err(|trouble| anyhow!("{trouble}"))?;
            // The last reason only says that the probe was answered.
            let reasons = profile.api_profile_reasons.iter().rev().skip(1).rev();
            for reason in reasons.filter(|_| is_new) {
                screen.line(&format!("the deployment wants other parameters: {reason}"));
            }
            anyhow::Ok((job, profile))
        };
        let interrupted = async {
            let exit = signals.first().await;
            // While the bar of what is interrupted stands.
            screen.interrupted();
            exit
        };
        let (mut job, profile) = tokio::select! {
            prepared = prepared => prepared?,
            exit = interrupted => {
                screen.line("stopped before anything was labelled");
                return Ok(exit);
            }
        };
        let method = Method {
            settings: job.settings().clone(),
            api_profile: profile.api_profile.clone(),
            api_profile_reasons: profile.api_profile_reasons.clone(),
            answered_by: profile.answered_by.clone(),
        };
        let messages = job.begin(&profile).await.map_err(refused)?;
        let before = job.billed().await?;
        let labeler = app.labelers.get("", &method).await;
        let labeler = labeler.map_err(|trouble| anyhow!("{trouble}"))?;
        let teacher = &labeler.teacher;
        let stopped = signals.watch(screen, app.stop.clone());
        let watch = match args.watch {
            true => Some(Watch::open(Arc::clone(app), &named.dataset).await?),
            false => None,
        };
        if let Some(watch) = &watch {
            screen.line(&format!("watch it at {}", watch.address()));
        }
        let metadata = {
            let _display = Display::labeling(
                screen,
                progress,
                teacher,
                Bill {
                    before,
                    with_rationales: method.settings.with_rationales,
                },
            );
            job.drive(messages, open_files.steps(args.service.concurrency.most()))
                .await?
        };
        // What was read last may be the work of another process.
        claim.prove().await?;
        // A user who stops the run does not want to wait; `softlabel report` makes a report later.
        let report = match metadata.is_some() && stopped.exit().is_none() {
            true => Some(job.report().await),
            false => None,
        };
        if let Some(metadata) = &metadata {
            let seconds = started.elapsed().as_secs_f64();
            summary::print(metadata, teacher.meter(), seconds)?;
            let path = named.metadata.locate(layout::LABELED_METADATA);
            let (path, labels) = (visible(&path), named.labeled_at());
            let mut places = format!("\nmetadata: {path}\nlabels:   {}\n", visible(&labels));
            match &report {
                Some(Written::There(place)) => {
                    places.push_str(&format!("report:   {}\n", visible(place)));
                }
                Some(Written::Foreign(place)) => screen.line(&format!(
                    "warning: {place} is left as it is, since softlabel did not write it or it \
                     was changed afterwards; move it away, or replace it with --overwrite"
                )),
                Some(Written::Failed(reason)) => {
                    screen.line(&format!("warning: the report was not written: {reason}"));
                }
                None => {}
            }
            print(&places)?;
        }
        if let Some(watch) = watch.filter(|_| stopped.exit().is_none()) {
            watch.ended(matches!(report, Some(Written::There(_)))).await;
        }
        // While a run takes the place of another, the metadata tell of that one.
        let unpublished = job.unpublished().await?;
        let is_complete = metadata
            .as_ref()
            .is_some_and(|metadata| metadata.status == Status::Complete && unpublished.is_empty());
        // With --restart the same command would discard what it should continue.
        let again = match args.restart {
            true => "the same command without --restart",
            false => "the same command",
        };
        match app.halted() {
            Some(trouble @ Trouble::Cost { .. }) => {
                screen.line(&format!("the run stopped early: {trouble}"));
                return Ok(match is_complete {
                    true => Exit::Complete,
                    false => Exit::Partial,
                });
            }
            Some(Trouble::Service(stop)) => {
                let kept = kept(&job, progress).await?;
                let text = format!("the run stopped early, {kept}, and {again} continues");
                return Err(anyhow::Error::new(stop.clone()).context(text));
            }
            Some(trouble) => return Err(anyhow!("{trouble}")),
            None => {}
        }
        if let Some(exit) = stopped.exit().filter(|_| !is_complete) {
            let kept = kept(&job, progress).await?;
            screen.line(&format!("stopped: {kept}, and {again} continues"));
            return Ok(exit);
        }
        if is_complete {
            return Ok(Exit::Complete);
        }
        if let Some(metadata) = &metadata {
            explain(metadata, &unpublished, screen);
        }
        Ok(Exit::Partial)
    }
}

/// What a stopped run has answered and will not ask again.
async fn kept(job: &Job, progress: &Progress) -> Result<String, RunError> {
    let (answered, turns) = (job.billed().await?.turns, progress.read().turns_total);
    let verb = if answered == 1 { "is" } else { "are" };
    Ok(format!(
        "{} of {} {verb} answered and kept",
        number(answered),
        counted(turns, "turn")
    ))
}

/// Says why a dataset is not labelled completely.
fn explain(metadata: &Metadata, unpublished: &[Option<String>], screen: &Screen) {
    for reason in unpublished.iter().flatten() {
        screen.line(reason);
    }
    let totals = &metadata.totals;
    if totals.failed > 0 {
        screen.line(&format!(
            "{} failed, and their lines say why (labeling_error); the same command with --only \
             failed asks again",
            counted(totals.failed, "turn")
        ));
    }
    let is_open = metadata.completed.is_none() || unpublished.contains(&None);
    if totals.failed == 0 && is_open {
        screen.line("some turns were not finished; the same command asks for them");
    }
    let reports = metadata.splits.values().flat_map(BTreeMap::values);
    for report in reports {
        if let Some(reason) = &report.salvaged {
            screen.line(&format!(
                "{} was labelled in part: {reason}",
                report.source.path
            ));
        }
    }
    if totals.broken_conversations > 0 {
        screen.line(&format!(
            "{} could not be read; the metadata says where",
            counted(totals.broken_conversations, "conversation")
        ));
    }
}

pub(super) fn usd(cost: Cost) -> String {
    match cost {
        Cost::Usd(usd) => format!("{usd:.4} USD"),
        Cost::Unknown(_) => "unknown; set --price-input and --price-output".into(),
    }
}
