//! The app: `host.json`, and one `function.json` in a folder of its own for each function.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::function::{Function, Trigger};
use super::settings::Settings;
use super::time_span;

/// Everything that is read from the script root.
#[derive(Debug)]
pub(super) struct App {
    pub(super) root: PathBuf,
    pub(super) functions: Vec<Arc<Function>>,
    pub(super) executable: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Functions with HTTP in and out, and nothing else, get the request as it came.
    pub(super) proxies_http: bool,
    pub(super) function_timeout: Duration,
    pub(super) queues: QueueSettings,
    pub(super) blobs: QueueSettings,
    pub(super) route_prefix: String,
}

/// `extensions.queues`.
#[derive(Debug, Clone)]
pub(super) struct QueueSettings {
    pub(super) batch_size: usize,
    pub(super) new_batch_threshold: usize,
    pub(super) max_dequeue_count: u32,
    pub(super) visibility_timeout: Duration,
    pub(super) max_polling_interval: Duration,
    pub(super) base64: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HostJson {
    version: String,
    function_timeout: Option<String>,
    custom_handler: Option<CustomHandler>,
    extension_bundle: Option<Value>,
    extensions: Extensions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CustomHandler {
    description: Description,
    enable_proxying_http_request: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Description {
    default_executable_path: String,
    arguments: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Extensions {
    queues: Queues,
    blobs: Blobs,
    http: Http,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Queues {
    batch_size: Option<usize>,
    new_batch_threshold: Option<usize>,
    max_dequeue_count: Option<u32>,
    visibility_timeout: Option<String>,
    max_polling_interval: Option<String>,
    message_encoding: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Blobs {
    max_degree_of_parallelism: Option<usize>,
    poison_blob_threshold: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Http {
    route_prefix: Option<String>,
}

impl App {
    /// Reads what lies in `root`, with what the settings change: these functions, or all where `only` is empty.
    pub(super) fn read(root: &Path, only: &[String], settings: &Settings) -> Result<Self> {
        let root = fs::canonicalize(root)
            .with_context(|| format!("there is no script root {}", root.display()))?;
        let path = root.join("host.json");
        let host = read_host(&path, settings)
            .with_context(|| format!("{} cannot be used", path.display()))?;
        let mut functions = read_functions(&root, settings)?;
        if let Some(name) = only
            .iter()
            .find(|name| !functions.iter().any(|it| it.name == **name))
        {
            bail!("{} has no function {name}", root.display());
        }
        functions.retain(|function| only.is_empty() || only.contains(&function.name));
        let needs_bundle = |function: &Function| {
            matches!(
                function.trigger,
                Trigger::Queue { .. } | Trigger::Blob { .. }
            ) || function.queue_outputs().next().is_some()
        };
        if host.extension_bundle.is_none() && functions.iter().any(needs_bundle) {
            bail!(
                "host.json has no extensionBundle, so bindings of queues and blobs are not known"
            );
        }
        let handler = host.custom_handler.unwrap_or_default();
        let executable = &handler.description.default_executable_path;
        if executable.is_empty() {
            bail!("host.json has no customHandler.description.defaultExecutablePath");
        }
        let timeout = host.function_timeout.as_deref().unwrap_or("00:30:00");
        Ok(Self {
            executable: root.join(executable),
            functions: functions.into_iter().map(Arc::new).collect(),
            arguments: handler.description.arguments,
            proxies_http: handler.enable_proxying_http_request,
            function_timeout: time_span::parse(timeout).context("functionTimeout")?,
            queues: QueueSettings::read(host.extensions.queues).context("extensions.queues")?,
            blobs: QueueSettings::of_blobs(&host.extensions.blobs),
            route_prefix: host
                .extensions
                .http
                .route_prefix
                .unwrap_or_else(|| "api".into()),
            root,
        })
    }
}

impl QueueSettings {
    /// Those of the queue in which the host keeps found blobs.
    fn of_blobs(blobs: &Blobs) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let parallel = blobs.max_degree_of_parallelism.unwrap_or(8 * cores).max(1);
        let batch_size = parallel.min(32);
        Self {
            batch_size,
            new_batch_threshold: parallel - batch_size,
            max_dequeue_count: blobs.poison_blob_threshold.unwrap_or(5).max(1),
            visibility_timeout: Duration::ZERO,
            max_polling_interval: Duration::from_secs(60),
            base64: true,
        }
    }

    fn read(queues: Queues) -> Result<Self> {
        let batch_size = queues.batch_size.unwrap_or(16);
        if !(1..=32).contains(&batch_size) {
            bail!("batchSize is {batch_size}, and must be 1 to 32");
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let time = |text: Option<String>, default| match text {
            None => Ok(default),
            Some(text) => time_span::parse(&text),
        };
        let base64 = match queues.message_encoding.as_deref() {
            None | Some("base64") => true,
            Some("none") => false,
            Some(other) => bail!("messageEncoding is {other:?}, and must be base64 or none"),
        };
        Ok(Self {
            batch_size,
            new_batch_threshold: queues.new_batch_threshold.unwrap_or(batch_size / 2 * cores),
            max_dequeue_count: queues.max_dequeue_count.unwrap_or(5).max(1),
            visibility_timeout: time(queues.visibility_timeout, Duration::ZERO)?,
            max_polling_interval: time(queues.max_polling_interval, Duration::from_secs(60))?,
            base64,
        })
    }
}

fn read_host(path: &Path, settings: &Settings) -> Result<HostJson> {
    let text = fs::read_to_string(path).context("it cannot be read")?;
    let mut host: Value = serde_json::from_str(&text)?;
    for (names, value) in settings.overrides() {
        set(&mut host, &names, value);
    }
    let host: HostJson = serde_json::from_value(host)?;
    if host.version != "2.0" {
        bail!("its version is {:?}, and must be \"2.0\"", host.version);
    }
    Ok(host)
}

/// Settings are texts; numbers and truths are read from them as the host does.
fn set(host: &mut Value, path: &[&str], text: &str) {
    let mut place = host;
    for name in path {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        let Some(object) = place.as_object_mut() else {
            return;
        };
        place = object.entry((*name).to_owned()).or_insert(Value::Null);
    }
    let number = text.parse::<i64>().map(Value::from);
    let truth = text.to_ascii_lowercase().parse::<bool>().map(Value::from);
    *place = number.or(truth).unwrap_or_else(|_| Value::from(text));
}

/// The functions that are not switched off, by name.
fn read_functions(root: &Path, settings: &Settings) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    let entries = fs::read_dir(root).context("the script root cannot be listed")?;
    for entry in entries {
        let folder = entry.context("the script root cannot be listed")?.path();
        let path = folder.join("function.json");
        let name = folder.file_name().and_then(|name| name.to_str());
        let (Some(name), true) = (name, path.is_file()) else {
            continue;
        };
        let text = fs::read_to_string(&path);
        let read = text.map_err(anyhow::Error::from);
        let read = read.and_then(|text| Function::read(name, &text, settings));
        let function = read.with_context(|| format!("{} cannot be used", path.display()))?;
        functions.extend(function);
    }
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(functions)
}
