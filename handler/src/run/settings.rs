//! Everything that decides what a label is, pinned when a run begins.

use crate::labeling::label::HardLabel;
use crate::labeling::strategy::Limits;
use crate::labeling::task::{self, Task};
use crate::teacher::endpoint::Api;
use crate::teacher::model::Family;
use crate::teacher::profile::Profile;
use crate::teacher::tokens::Encoding;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The settings that decide what a label is. Two runs that differ in one of them never mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelSettings {
    /// The form of the API; Azure's is not written down.
    #[serde(default, skip_serializing_if = "Api::is_azure")]
    pub api: Api,
    /// Whom to ask in the plain form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The model.
    pub model: String,
    /// Which parameters it takes.
    pub model_family: Family,
    /// The deployment of it.
    pub deployment: String,
    /// The encoding of its tokens.
    pub encoding: Encoding,
    /// Which part of a conversation the model sees.
    pub strategy: String,
    /// Version of that strategy.
    pub strategy_version: u32,
    /// Version of the prompts, which follows from the task.
    pub prompt_version: String,
    /// The task with all its content, so that a later edit of its file changes no run under way. The
    /// built-in one is not written down.
    #[serde(
        default = "Task::built_in",
        skip_serializing_if = "task::is_built_in",
        with = "task::shared"
    )]
    pub task: Arc<Task>,
    /// Whether a rationale is asked for.
    pub with_rationales: bool,
    /// Which of two answers the hard label is.
    pub hard_label: HardLabel,
    /// Limits on the texts that are shown, in tokens.
    pub limits: Limits,
}

/// How labels are made: the settings, and the request parameters that the probe settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// The settings.
    #[serde(flatten)]
    pub settings: LabelSettings,
    /// The request parameters.
    pub api_profile: Profile,
    /// Why they are what they are, a sentence a step.
    pub api_profile_reasons: Vec<String>,
    /// The model that answered when they were settled, as the service names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
}

impl LabelSettings {
    /// The same, asking about another task.
    #[must_use]
    pub fn about(self, task: Arc<Task>) -> Self {
        Self {
            prompt_version: task.version(),
            task,
            ..self
        }
    }

    /// What differs, as phrases such as `strategy: "with_context" there, "user_message_only" here`.
    pub fn differences(&self, theirs: &Self) -> Vec<String> {
        let object = |settings: &Self| serde_json::to_value(settings).unwrap_or_default();
        let (here, there) = (object(self), object(theirs));
        let keys = here.as_object().into_iter().flatten();
        // The prompt version identifies the task in fewer words, and keys that may be missing are
        // compared below.
        let keys = keys.filter(|(key, _)| !["task", "api", "base_url"].contains(&key.as_str()));
        let differences = keys.filter_map(|(key, here)| {
            let there = there.get(key)?;
            (here != there).then(|| format!("{key}: {there} there, {here} here"))
        });
        let mut differences = differences.collect::<Vec<_>>();
        let (mine, other) = (self.api.as_str(), theirs.api.as_str());
        if mine != other {
            differences.push(format!("api: {other:?} there, {mine:?} here"));
        }
        if self.base_url != theirs.base_url {
            let said = |url: &Option<String>| match url {
                Some(url) => format!("{url:?}"),
                None => "none".into(),
            };
            let (mine, other) = (said(&self.base_url), said(&theirs.base_url));
            differences.push(format!("base_url: {other} there, {mine} here"));
        }
        let (mine, other) = (&self.task.name, &theirs.task.name);
        if mine != other {
            differences.push(format!("task: {other:?} there, {mine:?} here"));
        }
        differences
    }
}
