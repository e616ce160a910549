//! `relabel`: a person asks to label what is there, again or in another way.
//!
//! Safe to ask twice: the same request over unchanged RAW names the same runs. `force` makes new ones
//! and takes the place of runs in progress.

use super::message::Message;
use super::refusal::RequestError;
use super::take_up::SETTINGS;
use super::world::App;
use crate::dataset::layout;
use crate::labeling::strategy;
use crate::run::record::{Base, Beginning, Origin, Record};
use crate::run::settings::LabelSettings;
use crate::store::{RawFile, Version};
use crate::teacher::model::Family;
use crate::teacher::tokens::Encoding;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// Which turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Only {
    /// All of them.
    #[default]
    All,
    /// Those that failed in the bucket's last run.
    Failed,
}

/// The body of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    dataset: String,
    splits: Option<Vec<String>>,
    buckets: Option<Vec<String>>,
    strategy: Option<String>,
    rationales: Option<bool>,
    model: Option<String>,
    deployment: Option<String>,
    #[serde(default)]
    only: Only,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    overwrite: bool,
}

impl Body {
    fn parse(text: &str) -> Result<Self, RequestError> {
        if text.trim().is_empty() {
            return Err(RequestError::wrong(
                "the request has no body; send JSON such as {\"dataset\": \"v4\"}, with a \
                 Content-Length",
            ));
        }
        let body = serde_json::from_str::<Self>(text).map_err(|error| {
            RequestError::wrong(format!("the body cannot be understood: {error}"))
        })?;
        layout::raw_dataset(&body.dataset)
            .map_err(|reason| RequestError::wrong(format!("\"dataset\" is {reason}")))?;
        let lists = [("splits", &body.splits), ("buckets", &body.buckets)];
        for (field, names) in lists {
            let Some(names) = names else { continue };
            if names.is_empty() {
                let text = format!("{field:?} is empty; leave it out to mean all");
                return Err(RequestError::wrong(text));
            }
            let odd = |name: &&String| {
                name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.')
            };
            if let Some(name) = names.iter().find(odd) {
                let text = format!("{name:?} in {field:?} is not one plain name");
                return Err(RequestError::wrong(text));
            }
        }
        Ok(body)
    }

    /// Whether a bucket file is meant.
    fn means(&self, file: &RawFile) -> bool {
        let among = |names: &Option<Vec<String>>, name: &Option<String>| {
            let Some(names) = names else { return true };
            name.as_ref().is_some_and(|name| names.contains(name))
        };
        among(&self.splits, &file.name.split) && among(&self.buckets, &file.name.bucket)
    }

    /// Whether labels come out of it that are made otherwise than the dataset's.
    fn changes_settings(&self) -> bool {
        self.strategy.is_some()
            || self.rationales.is_some()
            || self.model.is_some()
            || self.deployment.is_some()
    }

    /// The settings that are asked for.
    fn settings(&self, defaults: &LabelSettings) -> Result<LabelSettings, RequestError> {
        let mut settings = defaults.clone();
        if let Some(name) = &self.strategy {
            let strategy = strategy::by_name(name)
                .map_err(|error| RequestError::wrong(format!("\"strategy\": {error}")))?;
            settings.strategy = strategy.name().to_owned();
            settings.strategy_version = strategy.version();
        }
        settings.with_rationales = self.rationales.unwrap_or(settings.with_rationales);
        if let Some(model) = &self.model {
            settings.model.clone_from(model);
            settings.model_family = Family::of_model(model);
            settings.encoding = Encoding::for_model(model).unwrap_or(Encoding::O200kBase);
            settings.deployment.clone_from(model);
        }
        if let Some(deployment) = &self.deployment {
            settings.deployment.clone_from(deployment);
        }
        let plain = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphanumeric())
                && name.len() <= 64
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if !plain(&settings.model) || !plain(&settings.deployment) {
            let text = "\"model\" and \"deployment\" are names of at most 64 letters, digits, -, _ and ., \
                        which begin with a letter or a digit";
            return Err(RequestError::wrong(text));
        }
        Ok(settings)
    }
}

/// The runs that a request means, and the messages that have them planned.
#[derive(Debug)]
pub struct Begun {
    /// Their records, in the order of their files.
    pub runs: Vec<Record>,
    /// What has them planned.
    pub messages: Vec<Message>,
}

/// Begins the runs that the request `text` asks for, or finds them.
///
/// # Errors
/// Why the request is refused, or what cannot be read or written.
pub async fn run(app: &App, text: &str) -> Result<Begun, RequestError> {
    let body = Body::parse(text)?;
    let files = files(app, &body).await?;
    // All are looked at before one begins, so that a refusal leaves everything as it is.
    let mut records = Vec::new();
    for (file, version) in files {
        records.push(record(app, &body, &file, version).await?);
    }
    // Labels of the whole dataset that are made otherwise are what later uploads are to match.
    let whole = body.splits.is_none() && body.buckets.is_none() && body.only == Only::All;
    let new = records.iter().find(|(_, is_new)| *is_new);
    if let Some((record, _)) = new.filter(|_| whole) {
        app.runs
            .repin(&body.dataset, SETTINGS, &record.settings)
            .await?;
    }
    let mut runs = Vec::new();
    for (record, _) in records {
        runs.push(app.begin(record).await?);
    }
    let open = runs.iter().filter(|record| !record.state.is_over());
    let messages = open.map(|record| Message::plan(&record.run)).collect();
    Ok(Begun { runs, messages })
}

/// The bucket files that are meant, with their versions.
async fn files(app: &App, body: &Body) -> Result<Vec<(String, Version)>, RequestError> {
    let dataset = &body.dataset;
    let listed = match app.data.raw(dataset)?.buckets().await {
        Ok(buckets) => buckets.in_app().files,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let is_data = |file: &RawFile| layout::bucket_file(&format!("{dataset}/{}", file.path)).is_ok();
    let listed = listed.into_iter().filter(is_data).collect::<Vec<_>>();
    if listed.is_empty() {
        let text = format!("there is no dataset {dataset:?} with a <split>/<bucket>.json");
        return Err(RequestError::not_found(text));
    }
    let mut files = Vec::new();
    for file in listed.iter().filter(|file| body.means(file)) {
        match app.raw_version(dataset, &file.path).await? {
            Some(version) if version.length > 0 => files.push((file.path.clone(), version)),
            _ => {}
        }
    }
    if files.is_empty() {
        let there = listed.iter().map(|file| file.name.to_string());
        let there = there.collect::<Vec<_>>().join(", ");
        let text = format!("no bucket is meant by these splits and buckets; there are {there}");
        return Err(RequestError::not_found(text));
    }
    Ok(files)
}

/// The run that a bucket's part of the request means, and whether it is new.
async fn record(
    app: &App,
    body: &Body,
    file: &str,
    version: Version,
) -> Result<(Record, bool), RequestError> {
    let dataset = &body.dataset;
    let former = match app.runs.current(dataset, file).await? {
        Some(current) => app.runs.read(&current.run).await?,
        None => None,
    };
    let pinned = app.runs.pinned::<LabelSettings>(dataset, SETTINGS).await?;
    let (settings, base) = match (body.only, &former) {
        // As the dataset is labelled now, but by the prompts of today.
        (Only::All, _) => {
            let current = &app.settings.labels;
            let pinned = pinned.filter(|pinned| {
                pinned.prompt_version == pinned.task.version()
                    && strategy::by_name(&pinned.strategy)
                        .is_ok_and(|known| known.version() == pinned.strategy_version)
            });
            let defaults = pinned.unwrap_or_else(|| current.clone());
            (body.settings(&defaults)?, None)
        }
        (Only::Failed, Some(former)) if former.source.etag == version.etag => {
            if body.changes_settings() {
                let text = "\"only\": \"failed\" asks again as the bucket was asked; leave out \
                            strategy, rationales, model and deployment";
                return Err(RequestError::wrong(text));
            }
            let base = Base {
                run: former.run.clone(),
                round: former.round + 1,
            };
            (former.settings.clone(), Some(base))
        }
        (Only::Failed, _) => {
            let text = format!(
                "{file} has no run over this version of RAW whose failed turns could be asked again; relabel all"
            );
            return Err(RequestError::conflict(text));
        }
    };
    let request = identity_of(body, &settings);
    let beginning = Beginning {
        origin: Origin::Relabel,
        dataset: dataset.clone(),
        file: file.to_owned(),
        source: version,
        settings,
        base,
    };
    let record = Record {
        overwrite: body.overwrite,
        ..app.new_record(beginning, &request)
    };
    if let Some(there) = app.runs.read(&record.run).await? {
        return Ok((there, false));
    }
    if let Some(former) = former.as_ref().filter(|_| record.base.is_some()) {
        may_be_continued(app, former)?;
    }
    if let Some(former) = &former
        && !former.state.is_over()
        && (!body.force || record.base.is_some())
    {
        let state = former.state.as_str();
        let mut text = format!("run {} of {file} is {state}", former.run);
        text.push_str(match record.base {
            Some(_) => "; wait for its end, or cancel it",
            None => "; wait for its end, cancel it, or take its place with \"force\": true",
        });
        return Err(RequestError::conflict(text));
    }
    Ok((record, true))
}

/// Whether a run that has ended can begin with what this one has.
fn may_be_continued(app: &App, former: &Record) -> Result<(), RequestError> {
    let run = &former.run;
    if !former.state.is_over() || former.is_published() {
        return Ok(());
    }
    let since = app.runs.clock().now().duration_since(former.since);
    if since < app.settings.still_ending() {
        return Err(RequestError::conflict(format!(
            "run {run} ended just now and what was in flight is still recorded; ask again in two \
             minutes"
        )));
    }
    if former.base.is_some() {
        return Err(RequestError::conflict(format!(
            "run {run} took over results of another run and was not finished; relabel all"
        )));
    }
    Ok(())
}

/// What of a request makes its runs the ones they are. `force` makes them like no other.
fn identity_of(body: &Body, settings: &LabelSettings) -> String {
    let once = body.force.then(|| Uuid::new_v4().to_string());
    let (only, overwrite) = (body.only, body.overwrite);
    json!({"only": only, "settings": settings, "once": once, "overwrite": overwrite}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::tests::settings;
    use crate::steps::refusal::Refusal;

    #[test]
    fn names_cannot_leave_the_base_path_and_unknown_fields_are_errors() {
        for wrong in [
            "",
            "{}",
            "[1]",
            r#"{"dataset": "../v4"}"#,
            r#"{"dataset": "a/b"}"#,
            r#"{"dataset": "LABELED_v4"}"#,
            r#"{"dataset": ".."}"#,
            r#"{"dataset": "v4", "split": "train"}"#,
            r#"{"dataset": "v4", "splits": []}"#,
            r#"{"dataset": "v4", "splits": ["../x"]}"#,
            r#"{"dataset": "v4", "buckets": ["a/b"]}"#,
            r#"{"dataset": "v4", "only": "some"}"#,
        ] {
            let RequestError::Refused { refusal, .. } = Body::parse(wrong).unwrap_err() else {
                panic!("{wrong} was not refused");
            };
            assert_eq!(refusal, Refusal::Wrong, "{wrong}");
        }
        let body = Body::parse(r#"{"dataset": "v4", "only": "failed"}"#).unwrap();
        assert_eq!((body.only, body.force), (Only::Failed, false));
    }

    #[test]
    fn another_model_brings_its_family_encoding_and_deployment() {
        let body = Body::parse(r#"{"dataset": "v4", "model": "gpt-4.1"}"#).unwrap();
        let settings = body.settings(&settings()).unwrap();
        assert_eq!(settings.model_family, Family::Classic);
        assert_eq!(settings.deployment, "gpt-4.1");
        for wrong in [
            r#"{"dataset": "v4", "strategy": "guess"}"#,
            r#"{"dataset": "v4", "deployment": "a/../b"}"#,
            r#"{"dataset": "v4", "model": ""}"#,
        ] {
            let body = Body::parse(wrong).unwrap();
            assert!(body.settings(&super::tests::settings()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_request_means_the_same_runs_unless_forced() {
        let body = Body::parse(r#"{"dataset": "v4"}"#).unwrap();
        let identity = |body: &Body| identity_of(body, &settings());
        assert_eq!(identity(&body), identity(&body));
        let forced = Body {
            force: true,
            ..body
        };
        assert_ne!(identity(&forced), identity(&forced));
    }
}
