//! The whole cloud of the function app on this machine: storage, Event Grid, the Functions host and
//! Azure OpenAI, with the app in it as it is deployed.
//!
//! Azurite keeps the blobs and queues; everything else is a double of this package, or the real listeners of
//! Functions in the place of the host. The app itself is the real executable, laid out as in its package.

mod instance;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_package::script_root::{Hosting, ScriptRoot};
use tempfile::TempDir;

use crate::azure_openai::{self, Config, Double};
use crate::azurite::Account;
use crate::event_grid::{self, EventGrid, Filter, Webhook};
use crate::functions_host::{Chaos, Host, Scaling};
use crate::storage::{Container, Storage};
use crate::until;

pub use instance::{Instance, Setup};

/// What the keys begin with that open the double of Azure OpenAI, as it opens for any. Each instance has
/// one of its own, so that its calls can be told from those of others.
const API_KEY: &str = "a-key-for-the-double";

/// The setting that holds it.
const API_KEY_SETTING: &str = "AZURE_OPENAI_API_KEY";

/// How the cloud is made up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The repository, with `host.json` and `functions/`.
    pub repository: PathBuf,
    /// The app's executable.
    pub executable: PathBuf,
    /// What lies beside the executable, where it is not what the repository has.
    pub script_root: Option<ScriptRoot>,
    /// How the blob trigger learns of blobs: [`Hosting::Flex`] by a webhook that Event Grid calls.
    pub hosting: Hosting,
    /// What differs from `host.json` as it is deployed: members are replaced one by one.
    pub host_json: Value,
    /// The container with the datasets.
    pub container: String,
    /// The path in it below which the datasets lie; may be empty.
    pub base: String,
    /// How the service behaves.
    pub service: Config,
    /// Settings of the app, beside those that say where everything is.
    pub settings: BTreeMap<String, String>,
    /// Where the app reaches blobs, if not where they are: a proxy before Azurite.
    pub blob_endpoint: Option<String>,
    /// How many instances of the app there are at first, each with all functions.
    pub instances: usize,
    /// Or one for each of these, with these functions alone.
    pub groups: Vec<Vec<String>>,
    /// How the function groups of [`Groups`](crate::functions_host::Groups) scale.
    pub scaling: Scaling,
    /// What goes wrong with messages.
    pub chaos: Chaos,
    /// What goes wrong with events.
    pub event_faults: event_grid::Faults,
    /// Time between two looks of Event Grid and of the blob trigger at the container.
    pub looks: Duration,
    /// Time between two runs of the reconciler; `None` for its schedule.
    pub reconcile_every: Option<Duration>,
    /// How long a message is gone that a crashed host had.
    pub message_lease: Duration,
    /// Prints the app's log to stderr.
    pub echo: bool,
}

impl Options {
    /// One instance, times that suit a test, nothing going wrong.
    pub fn new(repository: impl Into<PathBuf>, executable: impl Into<PathBuf>) -> Self {
        Self {
            repository: repository.into(),
            executable: executable.into(),
            script_root: None,
            hosting: Hosting::Local,
            // Waits that suit a test.
            host_json: json!({ "extensions": { "queues": {
                "visibilityTimeout": "00:00:01",
                "maxPollingInterval": "00:00:00.200",
            } } }),
            container: "datasets".to_owned(),
            base: "experiments/v4".to_owned(),
            service: Config::default(),
            settings: BTreeMap::new(),
            blob_endpoint: None,
            instances: 1,
            groups: Vec::new(),
            scaling: Scaling::default(),
            chaos: Chaos::default(),
            event_faults: event_grid::Faults::default(),
            looks: Duration::from_millis(50),
            reconcile_every: Some(Duration::from_millis(500)),
            message_lease: Duration::from_secs(4),
            echo: false,
        }
    }

    /// Adds a setting of the app, or changes it.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }
}

/// The running cloud. Dropping it ends it.
#[derive(Debug)]
pub struct LocalCloud<H: Instance = Host> {
    options: Options,
    account: Account,
    storage: Storage,
    service: Option<Double>,
    events: EventGrid,
    /// What tells the blob trigger of blobs, where it does not look for them itself.
    notices: Option<EventGrid>,
    /// Where they are sent: the app's front end.
    webhook: Webhook,
    hosts: Vec<Arc<H>>,
    /// Those that were replaced.
    former: Vec<Arc<H>>,
    root: TempDir,
}

/// Time between two looks at all runs: each look reads something of every run.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// The container in which the app keeps its runs.
const WORK: &str = "softlabel-work";

/// The function that a blob wakes.
const BLOB_FUNCTION: &str = "dataset-uploaded";

/// A function that answers HTTP.
const HTTP_FUNCTION: &str = "runs";

/// What an HTTP function answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl LocalCloud {
    /// Starts everything, over an account of Azurite's that nobody else uses, with the double of the host.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(account: Account, options: Options) -> Result<Self> {
        Self::with(account, options).await
    }

    /// The messages that were lost on purpose, by any instance so far, as queue and text.
    pub fn lost_messages(&self) -> Vec<(String, String)> {
        let hosts = self.former.iter().chain(&self.hosts);
        hosts.flat_map(|host| host.lost_messages()).collect()
    }
}

impl<H: Instance> LocalCloud<H> {
    /// Starts everything, over an account of Azurite's that nobody else uses, with that kind of instances.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn with(account: Account, options: Options) -> Result<Self> {
        let storage = account.storage();
        for container in [options.container.as_str(), WORK] {
            storage.container(container).create().await?;
        }
        let service = Double::start(options.service.clone()).await?;
        let root = tempfile::tempdir().context("cannot make a folder for the app")?;
        let mut cloud = Self {
            events: events(&storage, &options).await?,
            notices: None,
            webhook: Webhook::default(),
            account,
            storage,
            service: Some(service),
            hosts: Vec::new(),
            former: Vec::new(),
            root,
            options,
        };
        cloud.lay_out()?;
        cloud.start_all().await?;
        Ok(cloud)
    }

    /// Starts what runs the app, and what tells its blob trigger of blobs.
    async fn start_all(&mut self) -> Result<()> {
        match self.options.groups.clone() {
            groups if groups.is_empty() => {
                for _ in 0..self.options.instances {
                    self.start_instance().await?;
                }
            }
            groups => {
                for functions in groups {
                    self.start_group(functions).await?;
                }
            }
        }
        if self.options.hosting == Hosting::Flex {
            let options = &self.options;
            let marker = serde_json::from_value::<Filter>(filter(options, "/metadata.json"))?;
            let webhook = self.webhook.clone();
            let notices = EventGrid::start(event_grid::Options {
                polling: options.looks,
                ..event_grid::Options::new(self.data(), marker, webhook)
            });
            self.notices = Some(notices.await?);
        }
        Ok(())
    }

    /// Lets the app look for datasets in another place, as an operator does who changes its settings: its
    /// instances end, others start, and the subscriptions are about the new place.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn look_elsewhere(&mut self, container: &str, base: &str) -> Result<()> {
        for host in &self.hosts {
            host.stop().await;
        }
        self.former.append(&mut self.hosts);
        container.clone_into(&mut self.options.container);
        base.clone_into(&mut self.options.base);
        self.data().create().await?;
        self.events = events(&self.storage, &self.options).await?;
        self.start_all().await
    }

    /// Lays the app out as it is deployed, but for what is to differ in its `host.json`.
    fn lay_out(&self) -> Result<()> {
        let options = &self.options;
        let script_root = match &options.script_root {
            Some(script_root) => script_root.clone(),
            None => ScriptRoot::read(&options.repository, options.hosting)?,
        };
        script_root.lay_out(&self.app_folder(), &options.executable)?;
        let path = self.app_folder().join("host.json");
        let mut host = serde_json::from_slice::<Value>(&std::fs::read(&path)?)?;
        merge(&mut host, options.host_json.clone());
        std::fs::write(&path, host.to_string()).context("cannot write host.json")
    }

    /// The folder with the app as it is deployed.
    fn app_folder(&self) -> PathBuf {
        self.root.path().join("app")
    }

    /// Starts one more instance of the app.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_instance(&mut self) -> Result<Arc<H>> {
        self.start_group(Vec::new()).await
    }

    /// Starts one more instance of the app, with these functions alone.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_group(&mut self, functions: Vec<String>) -> Result<Arc<H>> {
        let setup = Setup {
            root: self.app_folder(),
            settings: self.settings(),
            functions,
            options: &self.options,
        };
        let host = Arc::new(H::start(setup).await?);
        self.hosts.push(Arc::clone(&host));
        self.lead_webhook();
        Ok(host)
    }

    /// Lets the webhook lead to an instance that is there.
    fn lead_webhook(&self) {
        let host = self.hosts.iter().find(|host| host.runs(BLOB_FUNCTION));
        self.webhook.leads_to(host.map(|host| {
            let endpoint = host.endpoint();
            format!("{endpoint}/runtime/webhooks/blobs?functionName=Host.Functions.{BLOB_FUNCTION}")
        }));
    }

    /// Starts an instance in the place of the first one, which has crashed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn replace_first_instance(&mut self) -> Result<()> {
        self.replace_instance(0).await
    }

    /// Starts an instance in the place of another, which has crashed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn replace_instance(&mut self, place: usize) -> Result<()> {
        self.start_instance().await?;
        let gone = self.hosts.swap_remove(place);
        self.former.push(gone);
        self.lead_webhook();
        Ok(())
    }

    /// Changes a setting of the app, for instances that start from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.options.settings.insert(name.to_owned(), value.into());
    }

    /// The settings of the app, as the portal would show them.
    fn settings(&self) -> BTreeMap<String, String> {
        let options = &self.options;
        let connection = self.account.connection_string();
        let data = match &options.blob_endpoint {
            Some(proxy) => connection.replace(
                self.account.blob_endpoint(),
                &format!("{proxy}/{}", self.account.name()),
            ),
            None => connection.clone(),
        };
        let path = match options.base.as_str() {
            "" => options.container.clone(),
            base => format!("{}/{base}", options.container),
        };
        let endpoint = self.service().endpoint();
        let number = self.hosts.len() + self.former.len();
        let api_key = format!("{API_KEY}-{number}");
        let usual = [
            ("AzureWebJobsStorage", data.as_str()),
            ("SoftlabelData", &data),
            ("SOFTLABEL_DATA", &path),
            ("SOFTLABEL_WORK_CONTAINER", WORK),
            ("AZURE_OPENAI_ENDPOINT", &endpoint),
            (API_KEY_SETTING, api_key.as_str()),
            // The double has no quota unless a test sets one.
            ("SOFTLABEL_TPM", "1000000000"),
            ("SOFTLABEL_RPM", "10000000"),
            // Waits that suit a test.
            ("SOFTLABEL_FIRST_BACKOFF", "5ms"),
            ("SOFTLABEL_LONGEST_BACKOFF", "50ms"),
        ];
        let mut settings = usual
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>();
        settings.extend(options.settings.clone());
        settings
    }

    /// The teacher.
    pub fn service(&self) -> &Double {
        #[expect(
            clippy::expect_used,
            reason = "it is taken when the cloud is dropped, not before"
        )]
        self.service.as_ref().expect("the service runs")
    }

    /// How the service's log names an instance of the app.
    pub fn caller(&self, host: &H) -> u64 {
        azure_openai::caller(host.setting(API_KEY_SETTING).unwrap_or_default())
    }

    /// The instances of the app, the newest last.
    pub fn hosts(&self) -> &[Arc<H>] {
        &self.hosts
    }

    /// The first instance that answers HTTP.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self) -> Result<&Arc<H>> {
        let host = self.hosts.iter().find(|host| host.runs(HTTP_FUNCTION));
        host.context("there is no instance of the app that answers HTTP")
    }

    /// What all instances and their workers said so far, a line each, of those that are gone, too.
    pub fn said(&self) -> Vec<String> {
        let hosts = self.former.iter().chain(&self.hosts);
        hosts.flat_map(|host| host.lines()).collect()
    }

    /// What Event Grid let through.
    pub fn events(&self) -> &EventGrid {
        &self.events
    }

    /// Blobs and queues as a user of the account sees them.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The container with the datasets.
    pub fn data(&self) -> Container {
        self.storage.container(&self.options.container)
    }

    /// The container in which the app keeps its runs.
    pub fn work(&self) -> Container {
        self.storage.container(WORK)
    }

    /// Where something of a dataset lies in the data container.
    pub fn path(&self, path: &str) -> String {
        match self.options.base.as_str() {
            "" => path.to_owned(),
            base => format!("{base}/{path}"),
        }
    }

    /// Uploads a dataset's folder as the exporter does, `metadata.json` last. Gives the files' paths.
    ///
    /// # Errors
    /// When the folder cannot be read or a blob cannot be written.
    pub async fn upload(&self, dataset: &str, folder: &Path) -> Result<Vec<String>> {
        let mut files = Vec::new();
        list(folder, "", &mut files)?;
        files.sort_by_key(|file| (file == "metadata.json", file.clone()));
        for file in &files {
            let content = tokio::fs::read(folder.join(file)).await?;
            let path = self.path(&format!("{dataset}/{file}"));
            self.data().put(&path, content).await?;
        }
        Ok(files)
    }

    /// Calls an HTTP function, with the function key.
    ///
    /// # Errors
    /// When nothing answers, or not with JSON.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let host = self.host()?;
        let url = format!("{}/api/{path}", host.endpoint());
        let client = reqwest::Client::new();
        let request = client.request(method.parse()?, url);
        let request = match host.function_key() {
            "" => request,
            key => request.header("x-functions-key", key),
        };
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text)
            .with_context(|| format!("{method} {path} answered {status}: {text}"))?;
        Ok(Reply { status, body })
    }

    /// The state of every run, as the app shows it.
    ///
    /// # Errors
    /// When the app does not answer.
    pub async fn runs(&self) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut path = "runs?limit=1000".to_owned();
        loop {
            let reply = self.call("GET", &path, None).await?;
            ensure!(reply.status == 200, "GET {path} answered {}", reply.status);
            let runs = reply.body.get("runs").and_then(Value::as_array);
            all.extend(runs.into_iter().flatten().cloned());
            match reply.body.get("continuation").and_then(Value::as_str) {
                Some(after) => path = format!("runs?limit=1000&continuation={after}"),
                None => return Ok(all),
            }
        }
    }

    /// Waits until the first run waits, and gives its reason. One look tells both: the run is tried again and again,
    /// and has no reason meanwhile.
    ///
    /// # Errors
    /// When that takes longer than `patience`, or the app does not answer.
    pub async fn until_it_waits(&self, patience: Duration) -> Result<String> {
        let mut reason = String::new();
        let waits = async || {
            let runs = self.runs().await?;
            let run = runs.first().filter(|run| run["state"] == "waiting");
            reason = run.map_or_else(String::new, |run| run["reason"].to_string());
            let waits = run.is_some();
            if !waits {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            Ok(waits)
        };
        until(patience, "the run waits", waits).await?;
        Ok(reason)
    }

    /// Waits until as many runs are there as `least`, and all are at their end.
    ///
    /// # Errors
    /// When that takes longer than `patience`; the error says how far they are.
    pub async fn until_all_ended(&self, least: usize, patience: Duration) -> Result<Vec<Value>> {
        let mut seen = Vec::new();
        let ended = async || {
            // An instance that was just killed answers a little later.
            let Ok(runs) = self.runs().await else {
                return Ok(false);
            };
            seen = runs;
            let open = |run: &Value| is_open(run.get("state").and_then(Value::as_str));
            let ended = seen.len() >= least && !seen.iter().any(open);
            if !ended {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            Ok(ended)
        };
        let what = format!("{least} runs are at their end");
        let waited = until(patience, &what, ended).await;
        waited.with_context(|| format!("the runs are {}", json!(seen)))?;
        Ok(seen)
    }

    /// The lines of a labelled file, `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or a line is no JSON.
    pub async fn lines(&self, path: &str) -> Result<Option<Vec<Value>>> {
        let Some(blob) = self.data().get(&self.path(path)).await? else {
            return Ok(None);
        };
        let lines = blob.content.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let parsed = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
        Ok(Some(parsed.context("a line is no JSON")?))
    }

    /// Where the app keeps `path` in its work container: in a folder for the place of the data, while there was only
    /// one.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn in_work(&self, path: &str) -> Result<String> {
        let blobs = self.work().list("").await?;
        let folders = blobs.iter().filter_map(|blob| blob.name.split_once('/'));
        let mut folders = folders.map(|(folder, _)| folder);
        let shared = ["months", "quota", "tasks"];
        let place = folders.find(|folder| !shared.contains(folder));
        let place = place.unwrap_or_default();
        Ok(format!("{place}/{path}"))
    }

    /// Lets what runs end, and stops the instances and the service.
    pub async fn stop(mut self) {
        for host in &self.hosts {
            host.stop().await;
        }
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
    }
}

/// Whether a run in that state goes on.
fn is_open(state: Option<&str>) -> bool {
    let ended = ["complete", "partial", "failed", "superseded", "cancelled"];
    !state.is_some_and(|state| ended.contains(&state))
}

/// What tells the app of bucket files.
async fn events(storage: &Storage, options: &Options) -> Result<EventGrid> {
    let uploads = storage.queue("bucket-uploaded");
    uploads.create().await?;
    let uploaded = serde_json::from_value::<Filter>(filter(options, ".json"))?;
    let data = storage.container(&options.container);
    let events = EventGrid::start(event_grid::Options {
        faults: options.event_faults.clone(),
        polling: options.looks,
        ..event_grid::Options::new(data, uploaded, uploads)
    });
    events.await
}

/// A subscription's filter, as it is deployed, for blobs whose names end so.
fn filter(options: &Options, end: &str) -> Value {
    let container = &options.container;
    let below = match options.base.as_str() {
        "" => String::new(),
        base => format!("{base}/"),
    };
    json!({
        "subjectBeginsWith": format!("/blobServices/default/containers/{container}/blobs/{below}"),
        "subjectEndsWith": end,
        "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
        "advancedFilters": [
            {"operatorType": "StringNotContains", "key": "subject", "values": ["/LABELED_"]}
        ],
    })
}

/// Puts `change` over `whole`, member by member.
fn merge(whole: &mut Value, change: Value) {
    match (whole, change) {
        (Value::Object(whole), Value::Object(change)) => {
            for (name, value) in change {
                merge(whole.entry(name).or_insert(Value::Null), value);
            }
        }
        (whole, change) => *whole = change,
    }
}

/// The files below a folder, with `/` between names.
fn list(folder: &Path, below: &str, files: &mut Vec<String>) -> Result<()> {
    let entries = std::fs::read_dir(folder.join(below));
    for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = match below {
            "" => name,
            below => format!("{below}/{name}"),
        };
        if entry.file_type()?.is_dir() {
            list(folder, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
