//! `softlabel serve`: the custom handler of an Azure Functions app.

use super::Exit;
use super::open_files::OpenFiles;
use super::signals::Signals;
use crate::clock::Clock;
use crate::config::{DataPath, LogArgs, ServeArgs, UsageError};
use crate::functions::{self, FunctionApp};
use crate::host::{self, HostProcess};
use crate::identity::{Secret, Surroundings};
use crate::run::runs::Runs;
use crate::steps::Data;
use crate::store::azure::{Account, Area, Connection, Guard, Tuning};
use crate::store::{OwnFolder, StoreError};
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

/// How long a part belongs to a process that died.
const LEASE: Duration = Duration::from_secs(15);

/// Longer than a lease: the message of a killed process comes back at once, and waits for the lease to end.
const LEASE_PATIENCE: Duration = Duration::from_secs(20);

/// Serves the host until a signal comes, or the host is gone.
///
/// # Errors
/// If settings are missing or wrong, or the port is taken.
pub(super) async fn run(mut args: ServeArgs) -> anyhow::Result<Exit> {
    // Ask first: a host that is already gone would go unnoticed later.
    let host = HostProcess::of_process();
    let open_files = OpenFiles::raise();
    log_to_stdout(&args.log)?;
    let concurrency = args.service.concurrency;
    args.service.concurrency = concurrency.at_most(open_files.calls());
    if args.service.concurrency != concurrency {
        tracing::warn!(
            calls = open_files.calls(),
            "fewer calls are in flight than set, since this process may have no more than {open_files} files \
             open"
        );
    }
    let mut signals = Signals::listen();
    let stop = CancellationToken::new();
    let port = args.port;
    make_work_container(&args)?;
    args.service = args.service.understood()?;
    if let Some(assumed) = args.service.assumed() {
        tracing::warn!(event = "model_unknown", "{assumed}");
    }
    let app = app(args, stop.clone())?;
    // Listen last: the host takes any answer as readiness.
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}; is another process there?"))?;
    tracing::info!(event = "started", port, "softlabel takes invocations");
    let mut serving = tokio::spawn(host::serve(listener, Arc::new(app), stop.clone()));
    let exit = tokio::select! {
        exit = signals.first() => exit,
        () = host.gone() => {
            tracing::warn!(event = "host_gone", "the Functions host that started this process is gone");
            Exit::CouldNotRun
        }
        served = &mut serving => {
            served.context("the server ended unexpectedly")??;
            anyhow::bail!("the server ended without a signal");
        }
    };
    tracing::info!(
        event = "stopping",
        "this process ends once the work in flight is finished"
    );
    stop.cancel();
    tokio::select! {
        served = serving => served.context("the server ended unexpectedly")??,
        _ = signals.first() => {}
    }
    Ok(exit)
}

/// One JSON object a line, to stdout: the host logs lines of stderr as errors.
fn log_to_stdout(log: &LogArgs) -> anyhow::Result<()> {
    let filter = log.filter("info").map_err(|error| {
        UsageError(format!(
            "SOFTLABEL_LOG is not a log filter ({error}); try info"
        ))
    })?;
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .finish();
    // Only a second call in one process fails, and there the first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn app(args: ServeArgs, stop: CancellationToken) -> anyhow::Result<FunctionApp> {
    let (data, work, shared) = storage(&args)?;
    let runs = Runs::new(work, Clock::system());
    let runs = runs.sharing(shared).remembering();
    Ok(functions::over(data, runs, args, stop))
}

/// The account of a connection, by the values of its settings: connection string, address,
/// credential, client id.
fn account(
    args: &ServeArgs,
    name: &'static str,
    parts: [Option<&str>; 4],
) -> anyhow::Result<Account> {
    let setting = |setting: &str| {
        let names = ["", "__blobServiceUri", "__credential", "__clientId"];
        let part = setting.strip_prefix(name)?;
        let (_, value) = names.iter().zip(parts).find(|(name, _)| **name == part)?;
        value.map(str::to_owned)
    };
    let patience = Tuning {
        lease: LEASE,
        lease_patience: LEASE_PATIENCE,
        ..Tuning::default()
    };
    let connection = Connection::from_settings(name, setting).map_err(usage)?;
    let identities = args.service.identities(Surroundings::of_process());
    Ok(Account::new(&connection, identities, patience).map_err(usage)?)
}

fn usage(error: impl std::fmt::Display) -> UsageError {
    UsageError(error.to_string())
}

fn data_account(args: &ServeArgs) -> anyhow::Result<Account> {
    let parts = [
        args.data_connection.as_ref().map(Secret::expose),
        args.data_blobs.as_deref(),
        args.data_credential.as_deref(),
        args.data_client_id.as_deref(),
    ];
    account(args, "SoftlabelData", parts)
}

fn work_account(args: &ServeArgs) -> anyhow::Result<Account> {
    let parts = [
        args.work_connection.as_ref().map(Secret::expose),
        args.work_blobs.as_deref(),
        args.work_credential.as_deref(),
        args.work_client_id.as_deref(),
    ];
    account(args, "AzureWebJobsStorage", parts)
}

/// Where the data lies, where the app keeps its runs, and where it keeps what is not about this data.
fn storage(args: &ServeArgs) -> anyhow::Result<(Data, OwnFolder, OwnFolder)> {
    let DataPath { container, base } = &args.data;
    let account = data_account(args)?;
    let place = place(account.endpoint(), container, base);
    let data = Data::azure(account, container, base).map_err(usage)?;
    let work = work_account(args)?;
    let area = |folder| work_area(&work, args, folder).map_err(usage);
    Ok((data, area(&place)?, area("")?))
}

/// Makes the work container in an emulator; in the cloud the deployment makes it.
fn make_work_container(args: &ServeArgs) -> anyhow::Result<()> {
    if args.work_connection.is_none() {
        return Ok(());
    }
    let (account, container) = (work_account(args)?, args.work_container.clone());
    tokio::spawn(async move {
        if let Err(error) = account.create_container(&container).await {
            tracing::warn!(%error, "the work container cannot be made");
        }
    });
    Ok(())
}

/// The folder in the work container for all that is known of datasets in one place: the same name in another account,
/// container or folder is another dataset.
fn place(endpoint: &str, container: &str, base: &str) -> String {
    let place = format!("{endpoint}\0{container}\0{base}");
    format!("{container}-{:016x}", xxh3_64(place.as_bytes()))
}

/// A folder of the work container, or all of it. Where the data has the same name, even in another account, it is refused.
fn work_area(account: &Account, args: &ServeArgs, folder: &str) -> Result<OwnFolder, StoreError> {
    let DataPath { container, base } = &args.data;
    let work = Area::new(&args.work_container, "")?;
    let guard = Guard::default()
        .work_in(work)
        .never(Area::new(container, base)?);
    OwnFolder::azure(account, &args.work_container, folder, &guard)
}
