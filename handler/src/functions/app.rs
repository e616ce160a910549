//! The function app: takes the invocations of the Functions host.

use super::bindings::{FUNCTIONS, Function, function, message, send, step};
use super::{FunctionError, bucket_uploaded, dataset_uploaded, http, runs};
use crate::config::ServeArgs;
use crate::deployments::{self, Deployments};
use crate::host::{Answer, Failure, Functions, Invocation};
use crate::labeling::label::Label;
use crate::labeling::task::Task;
use crate::run::RunError;
use crate::run::funds::MonthlyCap;
use crate::run::record::Record;
use crate::run::runs::Runs;
use crate::steps::{
    Answers, App, Data, InTrouble, Message, Settings, abandon_chunk, label_chunk, plan_bucket,
    publish_bucket, reconcile, relabel, tasks,
};
use crate::store::sentence;
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The time that a stopping process gives to work that can be repeated at no cost: a scan of a large
/// file, a draft.
const TO_FINISH: Duration = Duration::from_secs(5);

/// The longest time a result waits before it is appended. Not shorter, because an append costs money.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The function app, one a process.
#[derive(Debug)]
pub struct FunctionApp(pub(super) App);

/// The app over any storage, with the settings of `args`, until `stop` is cancelled.
pub fn over(data: Data, runs: Runs, args: ServeArgs, stop: CancellationToken) -> FunctionApp {
    let settings = Settings {
        labels: deployments::label_settings(&args.labeling, &args.service, &Task::built_in()),
        task_name: args.task_name,
        chunk: args.cut.limits(),
        salvage: args.cut.salvage,
        flush_every: FLUSH_EVERY,
        overwrite: false,
        deadline: Some(args.invocation_deadline),
        in_trouble: InTrouble::Wait,
        answers: Answers::OfRun,
        report: args.report.options(),
        quota: args.service.quota(),
        call_timeout: args.service.call_timeout,
        stall_after: args.stall_after,
        tries: args.tries,
        dead_after: args.dead_after,
        chunks_out: Some(deployments::chunks_out(args.chunks_out, &args.service)),
        retention_days: args.retention_days,
        window: deployments::window(&args.cut, &args.service),
        price: args.service.set_price(),
        asks_first: true,
        max_cost: Some(args.max_cost),
        max_cost_per_month: match args.max_cost_per_month {
            Some(usd) => MonthlyCap::Limited(usd),
            None => MonthlyCap::Unlimited,
        },
    };
    let work = runs.shared().clone();
    let deployments = Deployments::shared(args.labeling, args.service, work, stop.clone());
    let app = App::new(data, runs, Arc::new(deployments), settings, stop);
    let holder = Arc::clone(&app.holder);
    tokio::spawn(async move {
        if let Err(error) = holder.follow_former().await {
            tracing::warn!(%error, "the list of messages that an earlier worker of this host held \
                                    cannot be removed");
        }
    });
    FunctionApp(app)
}

impl FunctionApp {
    async fn answer(
        &self,
        function: Function,
        trigger: &'static str,
        invocation: &Invocation,
    ) -> Result<Answer, FunctionError> {
        let app = &self.0;
        let messages = match function {
            Function::BucketUploaded => bucket_uploaded::run(app, invocation).await?,
            Function::DatasetUploaded => dataset_uploaded::run(app, invocation).await?,
            Function::PlanBucket => {
                let message = message(invocation, trigger)?;
                app.held(Message::Plan, message, plan_bucket::run).await?
            }
            Function::LabelChunk => {
                let message = message(invocation, trigger)?;
                app.held(Message::Label, message, label_chunk::run).await?
            }
            Function::AbandonChunk => self.abandon(trigger, invocation).await?,
            Function::PublishBucket => {
                let message = message(invocation, trigger)?;
                app.held(Message::Publish, message, publish_bucket::run)
                    .await?
            }
            Function::Reconcile => reconcile::run(app).await?,
            Function::Relabel => return self.relabel(invocation).await,
            Function::Tasks => return self.put_task(invocation).await,
            Function::Runs => return runs::run(app, invocation).await,
            Function::Page => return Ok(http::page()),
        };
        Ok(send(Answer::done(), messages))
    }

    /// Gives a chunk up. Its message counts as done, whatever happens: the host has no poison queue for
    /// this queue, and never delivers a message again that failed five times. If something cannot be read
    /// or written now, the reconciler sends the chunk again.
    async fn abandon(
        &self,
        trigger: &'static str,
        invocation: &Invocation,
    ) -> Result<Vec<Message>, RunError> {
        let app = &self.0;
        let delivery = invocation.metadata("Id").unwrap_or_default();
        let given_up = match message(invocation, trigger) {
            Ok(message) => abandon_chunk::run(app, message, &delivery).await,
            Err(FunctionError::Run(error)) => Err(error),
            Err(error) => {
                let text = invocation.content(trigger);
                let kept = abandon_chunk::keep_foreign(app, &delivery, text).await;
                kept.map(|path| {
                    tracing::error!(
                        event = "message_foreign",
                        %error,
                        path,
                        "a message in label-chunk-poison is not from this app: its text is kept"
                    );
                    Vec::new()
                })
            }
        };
        given_up.or_else(|error| match error.newer() {
            Some(_) => Err(error),
            None => {
                tracing::error!(
                    event = "abandon_failed",
                    error = sentence(&error),
                    "the chunk cannot be given up now; the reconciler sends it again"
                );
                Ok(Vec::new())
            }
        })
    }

    async fn put_task(&self, invocation: &Invocation) -> Result<Answer, FunctionError> {
        let request = invocation.http("req")?;
        let kept = async {
            http::no_foreign_page(&request)?;
            let name = request.params.get("name");
            let name = name.map(String::as_str).unwrap_or_default();
            tasks::put(&self.0, name, &request.body).await
        };
        let task = match kept.await {
            Ok(task) => task,
            Err(error) => return http::refuse(error),
        };
        let body = json!({
            "name": task.name,
            "prompt_version": task.version(),
            "labels": {"0": task.meaning(Label::Zero), "1": task.meaning(Label::One)},
        });
        Ok(Answer::done().respond("res", 200, &body))
    }

    /// The result of an invocation. A message in a format newer than this version is left for instances
    /// of that version: it is neither failed nor done.
    async fn answer_or_leave(
        &self,
        function: Function,
        trigger: &'static str,
        invocation: &Invocation,
    ) -> Result<Answer, FunctionError> {
        let answer = self.answer(function, trigger, invocation).await;
        let error = match answer {
            Err(FunctionError::Run(error)) => error,
            answer => return answer,
        };
        let is_asked = trigger == "req";
        let Some(format) = error.newer().filter(|_| !is_asked) else {
            return Err(error.into());
        };
        if let Some(step) = step(function) {
            let message = invocation.message(trigger)?;
            self.0.holder.leave(step, message, format).await?;
        }
        tracing::warn!(
            event = "left_for_newer",
            error = sentence(&error),
            "this is left for instances of a newer version"
        );
        Ok(Answer::done())
    }

    async fn relabel(&self, invocation: &Invocation) -> Result<Answer, FunctionError> {
        let request = invocation.http("req")?;
        let begun = async {
            http::no_web_page(&request)?;
            relabel::run(&self.0, &request.body).await
        };
        let begun = match begun.await {
            Ok(begun) => begun,
            Err(error) => return http::refuse(error),
        };
        let shown = |records: &[Record]| {
            let shown = records.iter().map(|record| {
                json!({
                    "run": record.run,
                    "file": record.file,
                    "state": record.state,
                    "status": http::address(&request, &format!("/api/runs/{}", record.run)),
                })
            });
            json!(shown.collect::<Vec<_>>())
        };
        let (under_way, published) = (shown(&begun.under_way), shown(&begun.published));
        let answer = match begun.under_way.is_empty() {
            // 202 would promise work; here there is none.
            true => Answer::done().respond("res", 200, &json!({"runs": published})),
            false => {
                let body = json!({"runs": under_way, "published": published});
                Answer::done().respond("res", 202, &body)
            }
        };
        Ok(send(answer, begun.messages))
    }
}

#[async_trait]
impl Functions for FunctionApp {
    fn names(&self) -> Vec<&'static str> {
        FUNCTIONS.map(|(_, name, _)| name).to_vec()
    }

    /// The content of a dataset's `metadata.json` does not matter, only that it is there.
    fn reads_data(&self, name: &str) -> bool {
        !matches!(function(name), Some((Function::DatasetUploaded, _)))
    }

    async fn invoke(&self, invocation: Invocation) -> Result<Answer, Failure> {
        let name = &invocation.function;
        let (function, trigger) =
            function(name).ok_or_else(|| FunctionError::Unknown(name.clone()))?;
        let work = self.answer_or_leave(function, trigger, &invocation);
        // Labelling stops by itself: what is in flight is paid for, and is recorded.
        if function == Function::LabelChunk {
            return Ok(work.await?);
        }
        let too_long = async {
            self.0.stop.cancelled().await;
            tokio::time::sleep(TO_FINISH).await;
        };
        tokio::select! {
            answer = work => return Ok(answer?),
            () = too_long => {}
        }
        // The host puts it back into its queue.
        self.0.holder.show().await;
        Err(FunctionError::Stopping.into())
    }
}
