//! A running host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;

use super::app::App;
use super::function::Trigger;
use super::instance::Instance;
use super::lines::{Level, Line};
use super::log::Invocation;
use super::options::Options;
use super::settings::Settings;
use super::timer_trigger::{self, TimerFunction};
use super::{blob_trigger, http_trigger, queue_trigger};
use crate::loopback::Server;

/// A running host, which is one instance of the app. Several can share an account's storage, as the
/// instances of an app that was scaled out. Dropping it is a crash.
#[derive(Debug)]
pub struct Host {
    instance: Arc<Instance>,
    endpoint: String,
    time_to_ready: Duration,
    server: Mutex<Option<Server>>,
    listeners: Mutex<Vec<JoinHandle<()>>>,
}

impl Host {
    /// Reads the app, starts its worker, waits until that answers, and listens to everything that wakes its
    /// functions.
    ///
    /// # Errors
    /// When the app cannot be read, or its worker cannot be started, or does not answer in time.
    pub async fn start(options: Options) -> Result<Self> {
        let settings = Settings::new(options.settings.clone())?;
        let app = App::read(&options.root, &options.functions, &settings)?;
        let instance = Arc::new(Instance::new(app, &settings, options)?);
        let ready = instance.worker.ready().await;
        let ready = ready.context("the worker does not start")?;
        let server = Server::start(http_trigger::router(Arc::clone(&instance))).await?;
        let host = Self {
            endpoint: server.endpoint(),
            time_to_ready: ready.after,
            server: Mutex::new(Some(server)),
            listeners: Mutex::default(),
            instance,
        };
        host.listen();
        Ok(host)
    }

    fn listen(&self) {
        let instance = &self.instance;
        let mut listeners = Vec::new();
        for function in &instance.app.functions {
            if let Trigger::Queue { queue, storage } = &function.trigger {
                let listener = queue_trigger::listener(instance, function, queue, storage);
                listeners.push(tokio::spawn(listener.listen()));
            }
            if let Trigger::Timer {
                schedule,
                run_on_startup,
                monitored,
            } = &function.trigger
            {
                let timer = TimerFunction {
                    instance: Arc::clone(instance),
                    function: Arc::clone(function),
                    schedule: schedule.clone(),
                    run_on_startup: *run_on_startup,
                    monitored: *monitored,
                };
                let instance = Arc::clone(instance);
                listeners.push(tokio::spawn(async move {
                    complain(&instance, timer_trigger::run(timer).await);
                }));
            }
        }
        let mut functions = instance.app.functions.iter();
        if functions.any(|function| matches!(function.trigger, Trigger::Blob { .. })) {
            let instance = Arc::clone(instance);
            listeners.push(tokio::spawn(async move {
                complain(&instance, blob_trigger::run(Arc::clone(&instance)).await);
            }));
        }
        let watched = Arc::clone(instance);
        listeners.push(tokio::spawn(async move {
            tokio::select! {
                reason = watched.worker.stopped() => {
                    watched.lines.of_host(Level::Error, format!("The host stops: {reason}"));
                    watched.begin_stop();
                }
                () = watched.stop_begun() => {}
            }
        }));
        *self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = listeners;
    }

    /// Where HTTP functions are called, as `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The functions that it runs, by name.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.instance
            .app
            .functions
            .iter()
            .map(|function| function.name.as_str())
    }

    /// The key that opens functions with the level `function`.
    pub fn function_key(&self) -> &str {
        &self.instance.options.function_key
    }

    /// A setting of the app.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.instance.options.settings.get(name).map(String::as_str)
    }

    /// The messages that [`Chaos::lost`](super::Chaos::lost) took, as queue and text.
    pub fn lost_messages(&self) -> Vec<(String, String)> {
        self.instance
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From the start of the first worker's process to its first answer, seen every 25 ms.
    pub fn time_to_ready(&self) -> Duration {
        self.time_to_ready
    }

    /// What was executed so far, in the order of its beginning.
    pub fn invocations(&self) -> Vec<Invocation> {
        self.instance.log.all()
    }

    /// The newest lines of the worker, and what the host itself had to say.
    pub fn lines(&self) -> Vec<Line> {
        self.instance.lines.all()
    }

    /// The process id of the worker; `None` while none is ready.
    pub fn worker_pid(&self) -> Option<u32> {
        self.instance.worker.pid()
    }

    /// The largest resident memory of any worker of this host so far, in bytes, as Linux reports it; 0
    /// elsewhere. Of a worker that ended on its own only what was looked at before is known.
    pub fn worker_peak_memory(&self) -> u64 {
        self.instance.worker.peak_memory()
    }

    /// Why there will be no worker any more: the host was stopped, or has stopped by itself.
    pub fn stopped(&self) -> Option<String> {
        self.instance.worker.reason_of_stop()
    }

    /// Kills the worker (SIGKILL) and waits until it is gone. The host starts another one.
    pub async fn kill_worker(&self) {
        self.instance.worker.kill().await;
    }

    /// Asks the worker to end (SIGTERM) and waits until it is gone. The host starts another one, unless it
    /// ended with code 0, which leaves the host without one. Only the platform asks so kindly: the host itself
    /// ends its worker with SIGKILL.
    pub async fn terminate_worker(&self) {
        self.instance.worker.terminate().await;
    }

    /// Begins nothing new, waits for what runs, as long as [`Options::grace`] allows, and kills the worker without
    /// a warning (`WorkerProcess.Dispose`).
    pub async fn stop(&self) {
        self.instance.begin_stop();
        self.close();
        let mut listeners = self.listeners();
        let ended = async {
            for listener in &mut listeners {
                let _ = listener.await;
            }
        };
        let _ = tokio::time::timeout(self.instance.options.grace, ended).await;
        end(listeners).await;
        self.instance.worker.stop().await;
    }

    /// Host and worker are gone from one moment to the next. Messages that they were working on come back
    /// when their lease is over.
    pub async fn crash(&self) {
        self.close();
        end(self.listeners()).await;
        self.instance.begin_stop();
        self.instance.worker.stop().await;
    }

    fn close(&self) {
        self.server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    fn listeners(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(
            &mut self
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for listener in self.listeners() {
            listener.abort();
        }
        self.instance.begin_stop();
    }
}

/// Aborts tasks and waits until none does anything any more.
async fn end(listeners: Vec<JoinHandle<()>>) {
    for listener in &listeners {
        listener.abort();
    }
    for listener in listeners {
        // The first one may have ended and been waited for before.
        if !listener.is_finished() {
            let _ = listener.await;
        }
    }
}

fn complain(instance: &Instance, outcome: Result<()>) {
    if let Err(reason) = outcome {
        let text = format!("The host cannot listen: {reason:#}");
        instance.lines.of_host(Level::Error, text);
    }
}
