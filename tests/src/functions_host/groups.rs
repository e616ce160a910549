//! Function groups: each scales on instances of its own, and starts cold.
//!
//! On Flex Consumption every queue function and every timer is a group, all HTTP functions together are one, and
//! so are all blob triggers (Microsoft's "Flex Consumption plan", per-function scaling). A scale controller looks
//! at the queues; a group that has nothing to do has no instance.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use reqwest::Client;
use reqwest::header::{HOST, TRANSFER_ENCODING};
use tokio::task::JoinHandle;

use super::app::App;
use super::function::{BlobSource, Function, Trigger};
use super::host::Host;
use super::log::Invocation;
use super::options::Options;
use super::settings::Settings;
use super::webhook;
use crate::loopback::Server;
use crate::storage::Queue;

/// What the front end takes.
const LARGEST: usize = 100 << 20;

/// How the groups of an app scale. The defaults are what is reported of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaling {
    /// From the decision that an instance is needed to its host's start. What host and worker take themselves
    /// comes on top.
    pub cold_start: Duration,
    /// Time between two looks of the scale controller at a queue.
    pub look: Duration,
    /// How long a group has nothing to do before its instances end.
    pub idle: Duration,
    /// Instances of one group at most.
    pub most: usize,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            cold_start: Duration::from_secs(10),
            look: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            most: 40,
        }
    }
}

/// An app whose functions run in groups. Dropping it is a crash of all instances.
#[derive(Debug)]
pub struct Groups {
    groups: Arc<Vec<Group>>,
    endpoint: String,
    server: Mutex<Option<Server>>,
    controllers: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Group {
    kind: Kind,
    options: Options,
    scaling: Scaling,
    /// Messages that one instance works on at once.
    per_instance: u64,
    instances: tokio::sync::Mutex<Vec<Arc<Host>>>,
    /// All that ever were.
    all: Mutex<Vec<Arc<Host>>>,
    last_needed: Mutex<Instant>,
    /// Requests that are being answered.
    requests: AtomicUsize,
}

/// A request that is being answered. As long as it is there, its group keeps its instances.
struct Request<'a>(&'a Group);

/// What wakes the functions of a group.
#[derive(Debug, Clone)]
enum Kind {
    Queue(Queue),
    /// Always has an instance: what the platform does between two occurrences is not documented.
    Timer,
    Http,
    /// `scans`: whether the host has to be there to find blobs.
    Blob {
        scans: bool,
    },
}

impl Groups {
    /// Reads the app and waits for what wakes its functions. Only timers, and blob triggers that scan, have an
    /// instance from the beginning.
    ///
    /// # Errors
    /// When the app cannot be read, or an instance that is there from the beginning does not start.
    pub async fn start(options: Options, scaling: Scaling) -> Result<Self> {
        let settings = Settings::new(options.settings.clone())?;
        let app = App::read(&options.root, &options.functions, &settings)?;
        let mut members = BTreeMap::<String, (Kind, Vec<String>)>::new();
        for function in &app.functions {
            let (name, kind) = group_of(function);
            let group = members
                .entry(name)
                .or_insert_with(|| (kind.clone(), Vec::new()));
            if let Kind::Blob { scans: true } = kind {
                group.0 = kind;
            }
            group.1.push(function.name.clone());
        }
        let per_instance = app.queues.batch_size + app.queues.new_batch_threshold;
        let groups = members.into_values().map(|(kind, functions)| Group {
            kind,
            options: Options {
                functions,
                ..options.clone()
            },
            scaling,
            per_instance: per_instance as u64,
            instances: tokio::sync::Mutex::default(),
            all: Mutex::default(),
            last_needed: Mutex::new(Instant::now()),
            requests: AtomicUsize::new(0),
        });
        let groups = Arc::new(groups.collect::<Vec<_>>());
        for group in groups.iter() {
            if matches!(group.kind, Kind::Timer | Kind::Blob { scans: true }) {
                group.at_least(1).await?;
            }
        }
        let front = Front {
            groups: Arc::clone(&groups),
            http: Client::builder().no_proxy().build()?,
        };
        let router = Router::new()
            .fallback(forward)
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(Arc::new(front));
        let server = Server::start(router).await?;
        let controllers = (0..groups.len()).map(|index| {
            let groups = Arc::clone(&groups);
            tokio::spawn(async move {
                if let Some(group) = groups.get(index) {
                    group.control().await;
                }
            })
        });
        Ok(Self {
            endpoint: server.endpoint(),
            server: Mutex::new(Some(server)),
            controllers: Mutex::new(controllers.collect()),
            groups,
        })
    }

    /// Where HTTP functions are called, as `http://127.0.0.1:PORT`, without a slash at the end. A call waits for the
    /// group's cold start.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The key that opens functions with the level `function`.
    pub fn function_key(&self) -> &str {
        let group = self.groups.first();
        group.map_or("", |group| &group.options.function_key)
    }

    /// A setting of the app.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let settings = &self.groups.first()?.options.settings;
        settings.get(name).map(String::as_str)
    }

    /// All instances that ever were, those that ended included.
    pub fn hosts(&self) -> Vec<Arc<Host>> {
        let all = self.groups.iter().flat_map(|group| {
            let all = group.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.clone()
        });
        all.collect()
    }

    /// What was executed so far, by function and in the order of its beginning.
    pub fn invocations(&self) -> Vec<Invocation> {
        let hosts = self.hosts().into_iter();
        hosts.flat_map(|host| host.invocations()).collect()
    }

    /// All instances begin nothing new, and end as [`Host::stop`] says.
    pub async fn stop(&self) {
        self.close().await;
        for group in self.groups.iter() {
            group.end(Host::stop).await;
        }
    }

    /// All instances are gone from one moment to the next.
    pub async fn crash(&self) {
        self.close().await;
        for group in self.groups.iter() {
            group.end(Host::crash).await;
        }
    }

    async fn close(&self) {
        let server = self.server.lock();
        server.unwrap_or_else(PoisonError::into_inner).take();
        let controllers = {
            let mut controllers = self
                .controllers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *controllers)
        };
        for controller in controllers {
            controller.abort();
            let _ = controller.await;
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let controllers = self.controllers.lock();
        for controller in controllers
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            controller.abort();
        }
    }
}

fn group_of(function: &Function) -> (String, Kind) {
    match &function.trigger {
        Trigger::Queue { queue, storage } => {
            let name = format!("function:{}", function.name);
            (name, Kind::Queue(storage.queue(queue)))
        }
        Trigger::Timer { .. } => (format!("function:{}", function.name), Kind::Timer),
        Trigger::Http { .. } => ("http".to_owned(), Kind::Http),
        Trigger::Blob { source, .. } => {
            let scans = *source == BlobSource::Scan;
            ("blob".to_owned(), Kind::Blob { scans })
        }
    }
}

impl Group {
    /// Starts and ends instances as they are needed.
    async fn control(&self) {
        loop {
            tokio::time::sleep(self.scaling.look).await;
            // Storage that does not answer now does so later.
            let wanted = self
                .wanted()
                .await
                .unwrap_or_default()
                .min(self.scaling.most);
            if wanted > 0 {
                self.note_need();
                // An instance that does not start is tried again with the next look.
                let _ = self.at_least(wanted).await;
            } else if self.has_been_idle() {
                self.end(Host::stop).await;
            }
        }
    }

    /// How many instances are needed now: for a queue as many as its messages fill.
    async fn wanted(&self) -> Result<usize> {
        Ok(match &self.kind {
            Kind::Queue(queue) => {
                let instances = queue.count().await?.div_ceil(self.per_instance);
                usize::try_from(instances).unwrap_or(usize::MAX)
            }
            Kind::Timer | Kind::Blob { scans: true } => 1,
            // Requests say themselves that one is needed.
            Kind::Http | Kind::Blob { scans: false } => 0,
        })
    }

    /// Starts instances until there are so many.
    async fn at_least(&self, wanted: usize) -> Result<Option<Arc<Host>>> {
        let mut instances = self.instances.lock().await;
        instances.retain(|host| host.stopped().is_none());
        while instances.len() < wanted {
            tokio::time::sleep(self.scaling.cold_start).await;
            let host = Arc::new(Host::start(self.options.clone()).await?);
            let all = self.all.lock();
            all.unwrap_or_else(PoisonError::into_inner)
                .push(Arc::clone(&host));
            instances.push(host);
            self.note_need();
        }
        Ok(instances.first().cloned())
    }

    async fn end(&self, how: impl AsyncFn(&Host)) {
        let ended = std::mem::take(&mut *self.instances.lock().await);
        for host in ended {
            how(&host).await;
        }
    }

    fn note_need(&self) {
        let last = self.last_needed.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn has_been_idle(&self) -> bool {
        if self.requests.load(Ordering::SeqCst) > 0 {
            return false;
        }
        let last = self.last_needed.lock();
        last.unwrap_or_else(PoisonError::into_inner).elapsed() >= self.scaling.idle
    }
}

impl<'a> Request<'a> {
    fn begin(group: &'a Group) -> Self {
        group.requests.fetch_add(1, Ordering::SeqCst);
        Self(group)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.note_need();
        self.0.requests.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The platform's front end: it starts an instance for a request and hands the request on.
#[derive(Debug)]
struct Front {
    groups: Arc<Vec<Group>>,
    http: Client,
}

async fn forward(
    State(front): State<Arc<Front>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = async {
        let of_blobs = uri.path() == webhook::PATH;
        let group = front.groups.iter().find(|group| match group.kind {
            Kind::Http => !of_blobs,
            Kind::Blob { .. } => of_blobs,
            Kind::Queue(_) | Kind::Timer => false,
        });
        let group = group.context("the app has no function for it")?;
        let _answered = Request::begin(group);
        let host = group.at_least(1).await?.context("there is no instance")?;
        headers.remove(HOST);
        let request = front
            .http
            .request(method, format!("{}{uri}", host.endpoint()));
        let answer = request.headers(headers).body(body).send().await?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove(TRANSFER_ENCODING);
        Ok::<_, anyhow::Error>((status, headers, answer.bytes().await?).into_response())
    };
    answer.await.unwrap_or_else(|reason: anyhow::Error| {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{reason:#}")).into_response()
    })
}
