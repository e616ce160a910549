//! The messages of one process, and the steps that they woke.

use crate::run::RunError;
use crate::steps::label_chunk::{self, ReadyChunk};
use crate::steps::{App, ChunkMessage, Message, RunMessage, plan_bucket, publish_bucket};
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};

type StepResult = Result<Vec<Message>, RunError>;

/// A queue in memory that delivers its messages.
///
/// Chunks are opened one after the other, as the window has room for their turns. The next bucket is
/// planned when no chunk waits, so that labels come in the order of the files.
pub(super) struct Queue {
    app: Arc<App>,
    plans: VecDeque<RunMessage>,
    chunks: VecDeque<ChunkMessage>,
    steps: JoinSet<StepResult>,
    /// Each step has files open: at this many steps no further chunk is opened.
    most: usize,
    /// The message that is worked on before others of its kind.
    next: OptionFuture<BoxFuture<'static, Result<Next, RunError>>>,
    failure: Option<RunError>,
}

/// The outcome of a message.
enum Next {
    Planned(Vec<Message>),
    Open(Option<Box<ReadyChunk>>),
}

impl Queue {
    pub(super) fn new(app: Arc<App>, messages: Vec<Message>, most: usize) -> Self {
        let mut queue = Self {
            app,
            plans: VecDeque::new(),
            chunks: VecDeque::new(),
            steps: JoinSet::new(),
            most,
            next: None.into(),
            failure: None,
        };
        queue.take(messages);
        queue
    }

    /// Delivers until nothing is left, or the process is to stop and nothing is under way. Gives the
    /// first failure.
    pub(super) async fn drive(mut self) -> Option<RunError> {
        let mut waiting = false;
        loop {
            if !waiting && !self.app.stop.is_cancelled() {
                self.next = self.deliver().into();
                waiting = true;
            }
            tokio::select! {
                biased;
                Some(step) = self.steps.join_next() => self.settle(step),
                next = &mut self.next => match next {
                    Some(next) => {
                        waiting = false;
                        self.next = None.into();
                        self.went_on(next);
                    }
                    None if self.steps.is_empty() => return self.failure,
                    None => {
                        // Nothing to deliver before a step ends.
                        if let Some(step) = self.steps.join_next().await {
                            self.settle(step);
                        }
                        waiting = false;
                    }
                },
            }
        }
    }

    /// The next message at work, if there is one and room for it.
    fn deliver(&mut self) -> Option<BoxFuture<'static, Result<Next, RunError>>> {
        if !self.steps.is_empty() && self.steps.len() >= self.most {
            return None;
        }
        let app = Arc::clone(&self.app);
        if let Some(message) = self.chunks.pop_front() {
            let open = async move {
                let mut chunk = label_chunk::ready(&app, message).await?;
                if let Some(chunk) = &mut chunk {
                    chunk.open(&app).await;
                }
                Ok(Next::Open(chunk.map(Box::new)))
            };
            return Some(open.boxed());
        }
        let message = self.plans.pop_front()?;
        let plan = async move { plan_bucket::run(&app, message).await.map(Next::Planned) };
        Some(plan.boxed())
    }

    fn went_on(&mut self, next: Result<Next, RunError>) {
        match next {
            Ok(Next::Planned(messages)) => self.take(messages),
            Ok(Next::Open(Some(chunk))) => {
                let app = Arc::clone(&self.app);
                self.steps.spawn(async move { chunk.label(&app).await });
            }
            Ok(Next::Open(None)) => {}
            Err(error) => self.fail(error),
        }
    }

    fn take(&mut self, messages: Vec<Message>) {
        for message in messages {
            match message {
                Message::Plan(message) => self.plans.push_back(message),
                Message::Label(message) => self.chunks.push_back(message),
                Message::Publish(message) => {
                    let app = Arc::clone(&self.app);
                    self.steps
                        .spawn(async move { publish_bucket::run(&app, message).await });
                }
                // In one process no message gets lost, and none turns poison.
                Message::Abandon(_) => {}
            }
        }
    }

    fn settle(&mut self, step: Result<StepResult, JoinError>) {
        match step {
            // What is left of a chunk when the process stops is for the next one.
            Ok(Ok(messages)) if !self.app.stop.is_cancelled() => self.take(messages),
            Ok(Ok(messages)) => {
                let publishes = messages.into_iter();
                let publishes = publishes.filter(|message| matches!(message, Message::Publish(_)));
                let publishes = publishes.collect();
                self.take(publishes);
            }
            Ok(Err(error)) => self.fail(error),
            // A step that panicked: what it recorded is kept, the rest is asked by a later process.
            Err(error) => tracing::error!(%error, "a step ended unexpectedly"),
        }
    }

    fn fail(&mut self, error: RunError) {
        // Other chunks may fare better than one whose turns broke off.
        if !matches!(error, RunError::TurnsBrokeOff { .. }) {
            self.app.stop.cancel();
        }
        self.failure.get_or_insert(error);
    }
}
