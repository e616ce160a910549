//! One function: what wakes it, and where its outputs go.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::blob_path::BlobPattern;
use super::route::Route;
use super::schedule::Schedule;
use super::settings::{HOST_CONNECTION, Settings};
use crate::storage::Storage;

#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    /// What the trigger's value is called in the request.
    pub(super) binding: String,
    pub(super) trigger: Trigger,
    /// In the order of `function.json`, which is the order in which they are sent.
    pub(super) outputs: Vec<Output>,
}

#[derive(Debug)]
pub(super) enum Trigger {
    Queue {
        queue: String,
        storage: Storage,
    },
    Blob {
        pattern: BlobPattern,
        storage: Storage,
        source: BlobSource,
    },
    Timer {
        schedule: Schedule,
        run_on_startup: bool,
        monitored: bool,
    },
    Http {
        route: Route,
        /// In capitals; all of them where there are none.
        methods: Vec<String>,
        anonymous: bool,
    },
}

/// How a blob trigger learns of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlobSource {
    /// The host scans the container.
    Scan,
    /// Event Grid calls a webhook of the host.
    EventGrid,
}

#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) target: Target,
}

#[derive(Debug)]
pub(super) enum Target {
    Queue { queue: String, storage: Storage },
    Http,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionJson {
    bindings: Vec<Binding>,
    #[serde(default)]
    disabled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    r#type: String,
    direction: Direction,
    name: String,
    queue_name: Option<String>,
    path: Option<String>,
    source: Option<String>,
    connection: Option<String>,
    schedule: Option<String>,
    run_on_startup: Option<bool>,
    use_monitor: Option<bool>,
    route: Option<String>,
    methods: Option<Vec<String>>,
    auth_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Direction {
    In,
    Out,
}

impl Function {
    /// Reads a `function.json`; `None` where the function is switched off.
    pub(super) fn read(name: &str, text: &str, settings: &Settings) -> Result<Option<Self>> {
        let json: FunctionJson = serde_json::from_str(text)?;
        if json.disabled || settings.is_true(&format!("AzureWebJobs.{name}.Disabled")) {
            return Ok(None);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(fits) {
            bail!("{name:?} is no name of a function: letters, digits, - and _, a letter first");
        }
        let (mut triggers, mut outputs) = (Vec::new(), Vec::new());
        for binding in json.bindings {
            match (binding.r#type.ends_with("Trigger"), binding.direction) {
                (true, Direction::In) => {
                    let trigger = binding.trigger(name, settings);
                    let trigger = trigger.with_context(|| format!("binding {}", binding.name))?;
                    triggers.push((binding.name, trigger));
                }
                (false, Direction::Out) => {
                    let target = binding.target(settings);
                    let target = target.with_context(|| format!("binding {}", binding.name))?;
                    let name = binding.name;
                    outputs.push(Output { name, target });
                }
                (true, Direction::Out) => bail!("the trigger {} goes out", binding.name),
                (false, Direction::In) => bail!(
                    "the double of the Functions host knows no input bindings, as {} is one",
                    binding.name
                ),
            }
        }
        let count = triggers.len();
        let Some((binding, trigger)) = triggers.pop().filter(|_| count == 1) else {
            bail!("a function has one trigger, and this one has {count}");
        };
        Ok(Some(Self {
            name: name.to_owned(),
            binding,
            trigger,
            outputs,
        }))
    }

    pub(super) fn queue_outputs(&self) -> impl Iterator<Item = (&str, &str, &Storage)> {
        self.outputs
            .iter()
            .filter_map(|output| match &output.target {
                Target::Queue { queue, storage } => {
                    Some((output.name.as_str(), queue.as_str(), storage))
                }
                Target::Http => None,
            })
    }

    /// The binding that becomes the answer to an HTTP request.
    pub(super) fn http_output(&self) -> Option<&str> {
        let mut outputs = self.outputs.iter();
        let output = outputs.find(|output| matches!(output.target, Target::Http))?;
        Some(&output.name)
    }

    /// HTTP in, HTTP out, and nothing else.
    pub(super) fn is_plain_http(&self) -> bool {
        let http_in = matches!(self.trigger, Trigger::Http { .. });
        http_in && self.outputs.len() == 1 && self.http_output().is_some()
    }
}

impl Binding {
    fn trigger(&self, function: &str, settings: &Settings) -> Result<Trigger> {
        Ok(match self.r#type.as_str() {
            "queueTrigger" => Trigger::Queue {
                queue: self.queue(settings)?,
                storage: self.storage(settings)?,
            },
            "blobTrigger" => {
                let source = match self.source.as_deref() {
                    None | Some("LogsAndContainerScan") => BlobSource::Scan,
                    Some("EventGrid") => BlobSource::EventGrid,
                    Some(other) => bail!("the host knows no source {other:?} of blobs"),
                };
                let path = self.path.as_deref().context("path is missing")?;
                Trigger::Blob {
                    pattern: BlobPattern::parse(&settings.resolve(path)?)?,
                    storage: self.storage(settings)?,
                    source,
                }
            }
            "timerTrigger" => {
                let schedule = self.schedule.as_deref().context("schedule is missing")?;
                let schedule = Schedule::parse(&settings.resolve(schedule)?)?;
                Trigger::Timer {
                    // What comes more often than every minute is not monitored.
                    monitored: self.use_monitor.unwrap_or(true)
                        && schedule.is_at_most_every_minute(),
                    schedule,
                    run_on_startup: self.run_on_startup.unwrap_or(false),
                }
            }
            "httpTrigger" => {
                let methods = self.methods.iter().flatten();
                Trigger::Http {
                    route: Route::parse(self.route.as_deref().unwrap_or(function))?,
                    methods: methods.map(|method| method.to_ascii_uppercase()).collect(),
                    anonymous: match self.auth_level.as_deref() {
                        Some("anonymous") => true,
                        None | Some("function") => false,
                        Some(other) => bail!("the double knows no authLevel {other:?}"),
                    },
                }
            }
            other => bail!("the double of the Functions host knows no {other}"),
        })
    }

    fn target(&self, settings: &Settings) -> Result<Target> {
        Ok(match self.r#type.as_str() {
            "queue" => Target::Queue {
                queue: self.queue(settings)?,
                storage: self.storage(settings)?,
            },
            "http" => Target::Http,
            other => bail!("the double of the Functions host knows no output to {other}"),
        })
    }

    fn queue(&self, settings: &Settings) -> Result<String> {
        let name = self.queue_name.as_deref().context("queueName is missing")?;
        settings.resolve(name)
    }

    fn storage(&self, settings: &Settings) -> Result<Storage> {
        settings.connection(self.connection.as_deref().unwrap_or(HOST_CONNECTION))
    }
}
