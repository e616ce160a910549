//! The tasks of an app: blobs `tasks/<name>.toml` in its work container.
//!
//! A run takes a copy of its task when it begins, so that a later edit of the blob changes no run.

use super::refusal::RequestError;
use super::world::App;
use crate::labeling::task::{self, Task};
use crate::run::RunError;
use crate::run::settings::LabelSettings;
use std::sync::Arc;

/// Where a task lies in the work container.
fn path(name: &str) -> String {
    format!("tasks/{name}.toml")
}

/// Keeps the task in `text` under a name, replacing an earlier one.
///
/// # Errors
/// If the name is invalid, the text is not a task, or it cannot be written.
pub async fn put(app: &App, name: &str, text: &str) -> Result<Task, RequestError> {
    let path = named(name)?;
    let task = task::parse(text, &format!("{name}.toml"));
    let task = task.map_err(|error| RequestError::wrong(error.to_string()))?;
    let content = text.as_bytes().to_vec();
    app.runs.shared().replace(&path, content).await?;
    tracing::info!(
        event = "task_kept",
        task = name,
        version = task.version(),
        "a task is kept for runs that name it"
    );
    Ok(task)
}

/// The path of the task of that name.
fn named(name: &str) -> Result<String, RequestError> {
    match task::is_name(name) {
        true => Ok(path(name)),
        false => Err(RequestError::wrong(format!(
            "{name:?} is not the name of a task: give at most 64 lowercase letters, digits, - and \
             _, beginning with a letter or a digit"
        ))),
    }
}

impl App {
    /// The task that is kept under a name, as it is now. The built-in one needs not be kept.
    ///
    /// # Errors
    /// If there is none, it is wrong, or it cannot be read.
    pub(crate) async fn task(&self, name: &str) -> Result<Arc<Task>, RequestError> {
        let path = named(name)?;
        let place = || self.runs.shared().locate(&path);
        let Some(content) = self.runs.shared().read(&path).await? else {
            let built_in = Task::built_in();
            return match built_in.name == name {
                true => Ok(built_in),
                false => Err(RequestError::not_found(format!(
                    "there is no task {name:?}; send it with PUT /api/tasks/{name}, or upload it as {}",
                    place()
                ))),
            };
        };
        let task = task::parse(content, &place());
        let task = task.map_err(|error| RequestError::wrong(error.to_string()))?;
        Ok(Arc::new(task))
    }

    /// What decides what a label is, for datasets that nothing else is pinned for.
    ///
    /// # Errors
    /// If the task that the settings name cannot be used.
    pub(crate) async fn default_settings(&self) -> Result<LabelSettings, RunError> {
        let settings = self.settings.labels.clone();
        let Some(name) = &self.settings.task_name else {
            return Ok(settings);
        };
        match self.task(name).await {
            Ok(task) => Ok(settings.about(task)),
            Err(RequestError::Refused { message, .. }) => Err(RunError::Task(message)),
            Err(RequestError::Run(error)) => Err(error),
        }
    }
}
