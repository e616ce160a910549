//! `softlabel serve`: the custom handler of an Azure Functions app.

use super::signals::Signals;
use super::{Exit, UsageError, connect};
use crate::clock::Clock;
use crate::config::{DataPath, LabelingArgs, LogArgs, ServeArgs, ServiceArgs};
use crate::functions::{App, Connect, Data, Settings};
use crate::host;
use crate::identity::{Secret, Surroundings};
use crate::labeling::strategy;
use crate::run::record::ApiProfile;
use crate::run::runs::Runs;
use crate::run::settings::{LabelSettings, Method};
use crate::run::turn::Labeler;
use crate::store::azure::{Account, Area, Connection, Guard, Tuning};
use crate::store::{OwnFolder, StoreError};
use anyhow::Context;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long a part belongs to a process that died.
const LEASE: Duration = Duration::from_secs(15);

/// A message that a killed process had comes back at once; its lease is waited for.
const LEASE_PATIENCE: Duration = Duration::from_secs(20);

/// Serves the host until a signal comes.
///
/// # Errors
/// If settings are missing or wrong, or the port is taken.
pub(super) async fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    log_to_stdout(&args.log)?;
    let mut signals = Signals::listen();
    let stop = CancellationToken::new();
    let port = args.port;
    let app = app(args, stop.clone())?;
    // Last: the host takes any answer for readiness.
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}; is another process there?"))?;
    tracing::info!(event = "started", port, "softlabel takes invocations");
    let serving = tokio::spawn(host::serve(listener, Arc::new(app), stop.clone()));
    let exit = signals.first().await;
    tracing::info!(
        event = "stopping",
        "what is in flight is finished, then this process ends"
    );
    stop.cancel();
    tokio::select! {
        served = serving => served.context("the server broke off")??,
        _ = signals.first() => {}
    }
    Ok(exit)
}

/// One JSON object a line: the host takes lines of stderr for errors.
fn log_to_stdout(log: &LogArgs) -> anyhow::Result<()> {
    let filter = log
        .filter("info")
        .map_err(|error| UsageError(format!("SOFTLABEL_LOG is no filter ({error}); try info")))?;
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

fn app(args: ServeArgs, stop: CancellationToken) -> anyhow::Result<App> {
    let (data, work) = storage(&args)?;
    Ok(app_over(data, Runs::new(work, Clock::system()), args, stop))
}

/// The app over any storage.
pub(crate) fn app_over(data: Data, runs: Runs, args: ServeArgs, stop: CancellationToken) -> App {
    let settings = Settings {
        labels: connect::label_settings(&args.labeling, &args.service),
        chunk: args.cut.limits(),
        salvage: args.cut.salvage,
        deadline: args.invocation_deadline,
        stall_after: args.stall_after,
        tries: args.tries,
        retention_days: args.retention_days,
        window: connect::window(&args.cut, &args.service),
        price: args.service.price(),
        max_cost: args.max_cost,
    };
    let connect = Arc::new(Deployments {
        slots: connect::slots(&args.service),
        labeling: args.labeling,
        service: args.service,
    });
    App::new(data, runs, connect, settings, stop)
}

/// Where the data lies, and where the app keeps its runs.
fn storage(args: &ServeArgs) -> anyhow::Result<(Data, OwnFolder)> {
    let identities = args.service.identities(Surroundings::of_process());
    let account = |name: &'static str, parts: [Option<&str>; 4]| {
        let setting = |setting: &str| {
            let names = ["", "__blobServiceUri", "__credential", "__clientId"];
            let part = setting.strip_prefix(name)?;
            let (_, value) = names.iter().zip(parts).find(|(name, _)| **name == part)?;
            value.map(str::to_owned)
        };
        let connection = Connection::from_settings(name, setting)?;
        let patience = Tuning {
            lease: LEASE,
            lease_patience: LEASE_PATIENCE,
            ..Tuning::default()
        };
        Account::new(&connection, identities.clone(), patience)
    };
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let data = [
        args.data_connection.as_ref().map(Secret::expose),
        args.data_blobs.as_deref(),
        args.data_credential.as_deref(),
        args.data_client_id.as_deref(),
    ];
    let work = [
        args.work_connection.as_ref().map(Secret::expose),
        args.work_blobs.as_deref(),
        args.work_credential.as_deref(),
        args.work_client_id.as_deref(),
    ];
    let data = account("SoftlabelData", data).map_err(|error| usage(&error))?;
    let work = account("AzureWebJobsStorage", work).map_err(|error| usage(&error))?;
    let DataPath { container, base } = &args.data;
    let data = Data::azure(data, container, base).map_err(|error| usage(&error))?;
    let work = work_area(&work, args).map_err(|error| usage(&error))?;
    Ok((data, work))
}

/// The work container. Where the data has the same name, even in another account, it is refused.
fn work_area(account: &Account, args: &ServeArgs) -> Result<OwnFolder, StoreError> {
    let DataPath { container, base } = &args.data;
    let work = Area::new(&args.work_container, "")?;
    let guard = Guard::default()
        .work_in(work)
        .never(Area::new(container, base)?);
    OwnFolder::azure(account, &args.work_container, "", &guard)
}

/// The deployments of the account that the settings name.
#[derive(Debug)]
struct Deployments {
    labeling: LabelingArgs,
    service: ServiceArgs,
    /// One for each call that may be in flight, whoever makes it.
    slots: Arc<Semaphore>,
}

impl Deployments {
    /// The settings of the service for a run, which may be about another deployment.
    fn service_of(&self, settings: &LabelSettings) -> ServiceArgs {
        ServiceArgs {
            deployment: Some(settings.deployment.clone()),
            model: settings.model.clone(),
            model_family: Some(settings.model_family),
            encoding: Some(settings.encoding),
            ..self.service.clone()
        }
    }
}

#[async_trait]
impl Connect for Deployments {
    async fn settle(&self, settings: &LabelSettings) -> Result<ApiProfile, String> {
        let service = self.service_of(settings);
        let transport = connect::transport(&service).await;
        let transport = transport.map_err(|error| super::sentence(&error))?;
        let settled = connect::settle(&transport, &self.labeling, &service)
            .await
            .map_err(|stop| stop.to_string())?;
        Ok(ApiProfile {
            api_profile: settled.profile,
            api_profile_reasons: settled.reasons,
        })
    }

    async fn labeler(&self, method: &Method) -> Result<Labeler, String> {
        let settings = &method.settings;
        let strategy = strategy::by_name(&settings.strategy).map_err(|error| error.to_string())?;
        let service = self.service_of(settings);
        let transport = connect::transport(&service).await;
        let transport = transport.map_err(|error| super::sentence(&error))?;
        let teacher = connect::teacher(
            transport,
            method.api_profile.clone(),
            &self.labeling,
            &service,
            Arc::clone(&self.slots),
        )
        .map_err(|stop| stop.to_string())?;
        Ok(Labeler::new(
            Arc::new(teacher),
            settings,
            strategy,
            !self.labeling.no_dedupe,
            Arc::default(),
        ))
    }
}
