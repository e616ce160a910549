//! One instance of the app, and how it executes a function.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use axum::body::Bytes;
use futures::TryFutureExt as _;
use futures::future::join_all;
use http_body::Frame;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Body, Client, RequestBuilder, Response};
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::answer::{self, Answer};
use super::app::App;
use super::function::{Function, Trigger};
use super::lines::Lines;
use super::log::{Log, Outcome, Running};
use super::options::Options;
use super::outputs;
use super::payload::Payload;
use super::settings::{HOST_CONNECTION, Settings};
use super::worker::{Ready, Worker};
use crate::dice::Dice;
use crate::storage::Storage;

/// The version of the host that the double was written after.
const VERSION: &str = "4.1037.0.0";

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) app: App,
    pub(super) options: Options,
    pub(super) worker: Worker,
    pub(super) lines: Arc<Lines>,
    pub(super) log: Log,
    pub(super) dice: Dice,
    /// Messages that were lost on purpose, as queue and text.
    pub(super) lost: Mutex<Vec<(String, String)>>,
    /// Where the host keeps what is its own; an app of HTTP functions can do without.
    storage: Option<Storage>,
    http: Client,
    /// Wakes those who poll a queue.
    watchers: HashMap<String, Arc<Notify>>,
    /// Wakes who polls the host's own queue of blobs that were found.
    pub(super) found_blobs: Arc<Notify>,
    stopping: watch::Sender<bool>,
}

/// What an execution came to.
#[derive(Debug)]
pub(super) enum Execution {
    /// It succeeded, with these outputs; messages are sent.
    Succeeded(Map<String, Value>),
    /// It failed.
    Failed,
    /// There is nobody any more who could execute it. What woke it is left as it is.
    Abandoned,
}

/// What is executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) function: &'a Function,
    /// See [`Invocation::subject`](super::Invocation::subject).
    pub(super) subject: &'a str,
    pub(super) dequeue_count: Option<u32>,
}

impl Instance {
    pub(super) fn new(app: App, settings: &Settings, options: Options) -> Result<Self> {
        let plain = |function: &Arc<Function>| matches!(function.trigger, Trigger::Http { .. });
        let storage = match settings.connection(HOST_CONNECTION) {
            Ok(storage) => Some(storage),
            Err(_) if app.functions.iter().all(plain) => None,
            Err(reason) => return Err(reason),
        };
        let queues = app
            .functions
            .iter()
            .filter_map(|function| match &function.trigger {
                Trigger::Queue { queue, .. } => Some(queue.clone()),
                _ => None,
            });
        let watchers = queues.map(|queue| (queue, Arc::default())).collect();
        let lines = Arc::new(Lines::new(options.lines_kept, options.echo));
        let http = Client::builder().no_proxy().build();
        Ok(Self {
            worker: Worker::start(&app, settings, &options, Arc::clone(&lines)),
            lines,
            log: Log::default(),
            dice: Dice::new(options.chaos.seed),
            lost: Mutex::default(),
            storage,
            http: http.context("there is no HTTP client")?,
            watchers,
            found_blobs: Arc::default(),
            stopping: watch::Sender::new(false),
            app,
            options,
        })
    }

    pub(super) fn storage(&self) -> Result<&Storage> {
        let storage = self.storage.as_ref();
        storage.with_context(|| format!("there is no connection {HOST_CONNECTION}"))
    }

    /// Wakes who polls this queue, as a message has just been sent to it.
    pub(super) fn notify(&self, queue: &str) {
        if let Some(watcher) = self.watchers.get(queue) {
            watcher.notify_one();
        }
    }

    pub(super) fn watcher(&self, queue: &str) -> Arc<Notify> {
        self.watchers.get(queue).cloned().unwrap_or_default()
    }

    pub(super) fn begin_stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Comes to its end when nothing new is to be begun.
    pub(super) async fn stop_begun(&self) {
        let mut stopping = self.stopping.subscribe();
        // An error means that the instance is gone, which is as good.
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    /// Executes a function by what the host calls an invocation, and sends its messages.
    pub(super) async fn execute(&self, call: Call<'_>, payload: &Payload) -> Execution {
        let body = payload.body(&call.function.name);
        let request = |ready: &Ready| {
            let url = format!("http://127.0.0.1:{}/{}", ready.port, call.function.name);
            let request = self
                .http
                .post(url)
                .body(Body::wrap(Chunks(Some(body.into()))));
            request.header(CONTENT_TYPE, "application/json; charset=utf-8")
        };
        let (running, answer) = match self.ask(call, request, answer::read).await {
            Some(asked) => asked,
            None => return Execution::Abandoned,
        };
        let outcome = match answer {
            Some(Answer::Outputs(outputs)) => self.send(call, outputs).await,
            Some(Answer::Failure(reason)) => Err(reason),
            Some(Answer::Nothing) | None => Err("the function's time is over".to_owned()),
        };
        match outcome {
            Ok(outputs) => {
                running.end(Outcome::Succeeded);
                Execution::Succeeded(outputs)
            }
            Err(reason) => {
                running.end(Outcome::Failed(reason));
                Execution::Failed
            }
        }
    }

    /// Hands the worker a request as it came in from outside.
    pub(super) async fn forward(
        &self,
        call: Call<'_>,
        request: impl FnOnce(&Client, u16) -> RequestBuilder,
    ) -> Option<Response> {
        let request = |ready: &Ready| request(&self.http, ready.port);
        let keep = async |response| Answered::Whole(response);
        let (running, answer) = self.ask(call, request, keep).await?;
        match answer {
            Some(Answered::Whole(response)) => {
                running.end(Outcome::Succeeded);
                Some(response)
            }
            Some(Answered::Broken(reason)) => {
                running.end(Outcome::Failed(reason));
                None
            }
            None => {
                running.end(Outcome::Failed("the function's time is over".to_owned()));
                None
            }
        }
    }

    /// Sends a request to the worker, and reads the answer, within the function's time. When that is
    /// over, the worker is replaced, and there is no answer. `None` where there is no worker any more.
    async fn ask<A: Asked>(
        &self,
        call: Call<'_>,
        request: impl FnOnce(&Ready) -> RequestBuilder,
        read: impl AsyncFnOnce(Response) -> A,
    ) -> Option<(Running, Option<A>)> {
        let id = Uuid::new_v4().to_string();
        let Call {
            function,
            subject,
            dequeue_count,
        } = call;
        let running = self.log.begin(&function.name, &id, subject, dequeue_count);
        let ready = self.worker.ready().await.ok()?;
        let request = request(&ready)
            .header("X-Azure-Functions-InvocationId", &id)
            .header("X-Azure-Functions-HostVersion", VERSION)
            .header(USER_AGENT, format!("Azure-Functions-Host/{VERSION}"));
        let answer = async {
            let answer = match request.send().await {
                Ok(response) => read(response).await,
                Err(reason) => A::broken(format!("the worker does not answer: {reason}")),
            };
            if answer.is_nothing() {
                std::future::pending::<()>().await;
            }
            answer
        };
        match tokio::time::timeout(self.app.function_timeout, answer).await {
            Ok(answer) => Some((running, Some(answer))),
            Err(_) => {
                self.worker.restart(ready.generation);
                Some((running, None))
            }
        }
    }

    /// Sends what a function returned: all bindings at once, the messages of one in order. Where one fails, the
    /// others are sent all the same (`WorkerFunctionInvoker.BindOutputsAsync`, a `Task.WhenAll`).
    async fn send(
        &self,
        call: Call<'_>,
        outputs: Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        let (chaos, about) = (
            &self.options.chaos,
            format!("{}\n{}", call.function.name, call.subject),
        );
        if self.dice.happens(chaos.lost_answer, "lost answer", &about) {
            return Err("the answer was lost".to_owned());
        }
        if self
            .dice
            .happens(chaos.lost_outputs, "lost outputs", &about)
        {
            return Ok(outputs);
        }
        let bindings = call.function.queue_outputs().map(|(name, queue, storage)| {
            let value = outputs.get(name).unwrap_or(&Value::Null);
            let sent = self.send_one(value, queue, storage);
            sent.map_err(move |reason| format!("the output {name} cannot be sent: {reason:#}"))
        });
        let sent = join_all(bindings).await;
        sent.into_iter().collect::<Result<(), _>>()?;
        Ok(outputs)
    }

    async fn send_one(&self, value: &Value, queue: &str, storage: &Storage) -> Result<()> {
        let chaos = &self.options.chaos;
        let mut messages = outputs::messages(value)?;
        let about = format!("{queue}\n{value}");
        if self
            .dice
            .happens(chaos.reordered, "reordered output", &about)
        {
            self.dice.shuffle(&mut messages, "order of output", &about);
        }
        let target = storage.queue(queue);
        for message in messages {
            let about = format!("{queue}\n{}", String::from_utf8_lossy(&message));
            let text = outputs::encode(&message, self.app.queues.base64)?;
            if self.dice.happens(chaos.lost_output, "lost output", &about) {
                continue;
            }
            target
                .put_or_create(&text, std::time::Duration::ZERO)
                .await?;
            self.notify(queue);
        }
        Ok(())
    }
}

/// What can be read from an answer.
trait Asked {
    fn broken(reason: String) -> Self;
    /// The host waits on as if there were no answer.
    fn is_nothing(&self) -> bool;
}

impl Asked for Answer {
    fn broken(reason: String) -> Self {
        Self::Failure(reason)
    }

    fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

enum Answered {
    Whole(Response),
    Broken(String),
}

impl Asked for Answered {
    fn broken(reason: String) -> Self {
        Self::Broken(reason)
    }

    fn is_nothing(&self) -> bool {
        false
    }
}

/// A body whose length nobody knows: it is sent in chunks, as the host sends it.
struct Chunks(Option<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}
