//! Which scenarios there are, and how they are run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use futures::StreamExt as _;
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::functions_host::{Groups, Host};
use softlabel_doubles::local_cloud::Instance;
use softlabel_doubles::product;
use softlabel_doubles::real_host::{self, RealHost};
use softlabel_doubles::scripted_worker;
use tokio::signal::unix::{SignalKind, signal};

use crate::report::Report;
use crate::stage::{App, Ending, Stage};
use crate::{compare, instances, places, poison, requests, storage, uploads};

/// No scenario takes longer, nor with --long.
const HANG: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(3600)];

/// Run the function app under the real listeners of Azure Functions and under their double.
///
/// The packages of `cargo xtask zip` are run, or what --app or --debug says. The real host is $REAL_HOST, or real-host on the
/// path; tests/real-host/README.md says how it is made.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask real-host", max_term_width = 100)]
struct Args {
    /// Take the packages in this folder; by default target/package
    #[arg(long, value_name = "FOLDER")]
    app: Option<PathBuf>,
    /// Build softlabel without optimisation and run that, laid out as in a package
    #[arg(long, conflicts_with = "app")]
    debug: bool,
    /// Take this executable, laid out as in a package
    #[arg(long, value_name = "PATH", conflicts_with_all = ["app", "debug"])]
    executable: Option<PathBuf>,
    /// Run only scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Run them on one kind of host only
    #[arg(long, value_enum)]
    host: Option<Kind>,
    /// Also wait for what takes ten minutes: messages whose instance died, and poison queues
    #[arg(long)]
    long: bool,
    /// Scenarios at a time: most of one is waiting
    #[arg(long, default_value_t = 6)]
    jobs: usize,
    /// Print what hosts and app say
    #[arg(long)]
    echo: bool,
    /// Be the worker of the app with which both hosts are compared
    #[arg(long, hide = true)]
    worker: bool,
}

/// What runs the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// The double.
    Double,
    /// The double, with function groups that start cold.
    Groups,
    /// The real listeners.
    Real,
}

/// Something that happens to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Polled,
    Notified,
    TwiceAndLate,
    OtherEtag,
    Marker,
    OneFunctionAnInstance,
    Requests,
    SameAgain,
    Mended,
    NothingToDo,
    NotWritable,
    Refusals,
    NotThere,
    Touched,
    Renamed,
    Elsewhere,
    InstanceDies,
    WorkerCrashes,
    HostDiesAlone,
    ForeignMessages,
}

impl Scenario {
    /// The longest first, as they run side by side.
    const ALL: [Self; 20] = [
        Self::Refusals,
        Self::Elsewhere,
        Self::Mended,
        Self::InstanceDies,
        Self::HostDiesAlone,
        Self::WorkerCrashes,
        Self::ForeignMessages,
        Self::NotThere,
        Self::SameAgain,
        Self::NotWritable,
        Self::Touched,
        Self::Renamed,
        Self::OtherEtag,
        Self::NothingToDo,
        Self::Marker,
        Self::Polled,
        Self::OneFunctionAnInstance,
        Self::Notified,
        Self::TwiceAndLate,
        Self::Requests,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Polled => "an upload, found by polling and events",
            Self::Notified => "an upload whose marker alone is told of",
            Self::TwiceAndLate => "events twice and late",
            Self::OtherEtag => "an event with another ETag",
            Self::Marker => "a large marker, after a cancel, beside what is not read",
            Self::OneFunctionAnInstance => "one function an instance",
            Self::Requests => "approve, relabel, cancel",
            Self::SameAgain => "the same again, and settings put back",
            Self::Mended => "what failed or was cancelled, asked for again",
            Self::NothingToDo => "requests that are refused, or leave things as they were",
            Self::NotWritable => "an output that may not be written, and the same bytes again",
            Self::Refusals => "storage that refuses at every step",
            Self::NotThere => "RAW is not there for a moment",
            Self::Touched => "metadata and tier set while it is labelled",
            Self::Renamed => "buckets and a dataset that are renamed",
            Self::Elsewhere => "the same name in another place",
            Self::InstanceDies => "an instance dies",
            Self::WorkerCrashes => "a worker crashes",
            Self::HostDiesAlone => "a host dies alone",
            Self::ForeignMessages => "foreign messages",
        }
    }

    fn hosts(self) -> &'static [Kind] {
        match self {
            // Groups start and end instances themselves.
            Self::Polled | Self::Notified => &[Kind::Real, Kind::Double, Kind::Groups],
            // The double lives in this process, and cannot die without it.
            Self::HostDiesAlone => &[Kind::Real],
            _ => &[Kind::Real, Kind::Double],
        }
    }

    async fn run_on(self, kind: Kind, stage: &Stage) -> Report {
        match kind {
            Kind::Double => self.run::<Host>(stage).await,
            Kind::Groups => self.run::<Groups>(stage).await,
            Kind::Real if self == Self::HostDiesAlone => {
                let play =
                    async |report: &mut Report| instances::a_host_dies_alone(stage, report).await;
                self.to_its_end::<RealHost>(stage, play).await
            }
            Kind::Real => self.run::<RealHost>(stage).await,
        }
    }

    async fn run<H: Instance>(self, stage: &Stage) -> Report {
        let play = async |report: &mut Report| self.play::<H>(stage, report).await;
        self.to_its_end(stage, play).await
    }

    /// What happens in it.
    async fn play<H: Instance>(self, stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
        match self {
            Self::Polled => uploads::polled(stage, report).await,
            Self::Notified => uploads::notified(stage, report).await,
            Self::TwiceAndLate => uploads::twice_and_late(stage, report).await,
            Self::OtherEtag => uploads::other_etag(stage).await,
            Self::Marker => uploads::marker(stage, report).await,
            Self::OneFunctionAnInstance => uploads::one_function_an_instance(stage, report).await,
            Self::Requests => requests::all(stage, report).await,
            Self::SameAgain => requests::same_again(stage, report).await,
            Self::Mended => requests::mended(stage).await,
            Self::NothingToDo => requests::nothing_to_do(stage, report).await,
            Self::NotWritable => storage::not_writable(stage, report).await,
            Self::Refusals => storage::refusals(stage, report).await,
            Self::NotThere => storage::not_there(stage, report).await,
            Self::Touched => storage::touched(stage, report).await,
            Self::Renamed => places::renamed(stage, report).await,
            Self::Elsewhere => places::elsewhere(stage, report).await,
            Self::InstanceDies => instances::one_dies(stage, report).await,
            Self::WorkerCrashes => instances::a_worker_crashes(stage, report).await,
            Self::ForeignMessages => poison::foreign_messages(stage, report).await,
            Self::HostDiesAlone => bail!("it is for the real host alone"),
        }
    }

    /// Plays it, and checks what must hold in the end of every scenario.
    async fn to_its_end<H: Instance>(
        self,
        stage: &Stage,
        play: impl AsyncFnOnce(&mut Report) -> Result<Ending<H>>,
    ) -> Report {
        let mut report = Report::new(self.name(), H::NAME);
        let began = Instant::now();
        let outcome = async {
            play(&mut report).await?.check(&mut report).await;
            Ok(())
        };
        let patience = HANG[usize::from(stage.long)];
        let outcome = match tokio::time::timeout(patience, outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("it takes longer than {patience:?}")),
        };
        report.expect("it runs to its end", outcome);
        report.figure(format!("{:.0} s in all", began.elapsed().as_secs_f64()));
        report
    }
}

pub(crate) async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.worker {
        scripted_worker::serve().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminated = signal(SignalKind::terminate())?;
    // What runs when it is stopped is dropped, and so killed.
    tokio::select! {
        done = run(&args) => done,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
        _ = terminated.recv() => Ok(ExitCode::from(143)),
    }
}

async fn run(args: &Args) -> Result<ExitCode> {
    let began = Instant::now();
    if args.host.is_none_or(|kind| kind == Kind::Real) {
        println!("real host: {}", real_host::executable()?.display());
    }
    let stage = Stage {
        app: app(args)?,
        echo: args.echo,
        long: args.long,
    };
    // Installed before anything is timed.
    Azurite::shared().await?;
    let wanted = |name: &str| {
        args.only
            .as_ref()
            .is_none_or(|text| name.contains(text.as_str()))
    };
    let scenarios = Scenario::ALL.into_iter().filter(|it| wanted(it.name()));
    let jobs = scenarios.flat_map(|scenario| {
        let hosts = scenario.hosts().iter().copied();
        hosts.map(move |kind| (scenario, kind))
    });
    let jobs = jobs.filter(|(_, kind)| args.host.is_none_or(|host| host == *kind));
    let stage = &stage;
    let jobs = jobs.map(|(scenario, kind)| scenario.run_on(kind, stage));
    let mut jobs = futures::stream::iter(jobs).buffer_unordered(args.jobs.max(1));
    let (mut all, mut good) = (0, 0);
    while let Some(report) = jobs.next().await {
        println!("{report}");
        all += 1;
        good += usize::from(report.is_good());
    }
    if args.host.is_none() && wanted(compare::NAME) {
        let report = compare::both(stage).await;
        println!("{report}");
        all += 1;
        good += usize::from(report.is_good());
    }
    ensure!(all > 0, "no scenario is called like that");
    println!(
        "{good} of {all} as expected, in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    Ok(match good == all {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The app that is run.
fn app(args: &Args) -> Result<App> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let repository = repository.context("the package lies in the repository")?;
    if let Some(executable) = &args.executable {
        let executable = std::path::absolute(executable)
            .with_context(|| format!("cannot find {}", executable.display()))?;
        return App::of_executable(repository, executable);
    }
    if args.debug {
        return App::of_executable(repository, product::built()?);
    }
    let folder = match &args.app {
        Some(folder) => folder.clone(),
        None => {
            let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            let target = target.unwrap_or_else(|| repository.join("target"));
            target.join("package")
        }
    };
    App::of_packages(repository, &folder)
}
