//! `relabel`: a person asks to label existing data, again or in another way.
//!
//! Safe to ask twice: see `wish`. `force` asks everything again and replaces runs in progress.

use super::hourly::AT_ONCE;
use super::message::Message;
use super::refusal::RequestError;
use super::take_up::{SETTINGS, to_be_planned};
use super::wish::{Only, Verdict, Wish};
use super::world::App;
use crate::dataset::layout;
use crate::labeling::strategy;
use crate::run::RunError;
use crate::run::record::{Origin, Record};
use crate::run::settings::LabelSettings;
use crate::store::{RawFile, Version};
use crate::teacher::model::Family;
use crate::teacher::tokens::Encoding;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The body of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    dataset: String,
    splits: Option<Vec<String>>,
    buckets: Option<Vec<String>>,
    strategy: Option<String>,
    task: Option<String>,
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
        let body = serde_json::from_str::<Self>(text)
            .map_err(|error| RequestError::wrong(format!("the body cannot be parsed: {error}")))?;
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
            || self.task.is_some()
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
            settings.model_family = Family::of_model_at(model, settings.api);
            settings.encoding = Encoding::at(model, settings.api);
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

/// What a request comes to.
#[derive(Debug)]
pub struct Begun {
    /// The runs that grant it, in the order of their files.
    pub under_way: Vec<Record>,
    /// The runs whose labels are what is asked for already, and are published.
    pub published: Vec<Record>,
    /// What has those planned that are not yet.
    pub messages: Vec<Message>,
}

/// Has the labels made that the request `text` asks for, where they are neither published nor under way.
///
/// # Errors
/// Why the request is refused, or what cannot be read or written.
pub async fn run(app: &App, text: &str) -> Result<Begun, RequestError> {
    let body = Body::parse(text)?;
    let dataset = &body.dataset;
    let files = files(app, &body).await?;
    let pinned = app.runs.pinned::<LabelSettings>(dataset, SETTINGS).await?;
    let settings = wished_settings(app, &body, pinned.as_ref()).await?;
    // Labels of the whole dataset that are made otherwise are what later uploads are to match.
    let whole = body.splits.is_none() && body.buckets.is_none() && body.only == Only::All;
    let sets = whole && pinned.as_ref() != Some(&settings);
    let sets_dataset = sets.then(|| app.runs.clock().now());
    let wish = |file| Wish {
        dataset: dataset.clone(),
        file,
        origin: Origin::Relabel,
        settings: settings.clone(),
        only: body.only,
        force: body.force,
        overwrite: body.overwrite,
        sets_dataset,
        made: None,
    };
    // All are looked at before one begins, so that a refusal leaves everything as it is.
    let weighed = stream::iter(files).map(|(file, version)| {
        let wish = wish(file);
        async move {
            let verdict = app.weigh(&wish, &version).await?;
            match &verdict {
                Verdict::Busy(record) => return Err(busy(&wish, record)),
                Verdict::Begins(_) => refuse_foreign(app, &wish).await?,
                _ => {}
            }
            Ok((wish, verdict))
        }
    });
    let (mut under_way, mut published, mut begins) = (Vec::new(), Vec::new(), Vec::new());
    let mut none = None;
    for (wish, verdict) in weighed.buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
        match verdict {
            Verdict::UnderWay(record) => under_way.push(record),
            Verdict::Published(record) | Verdict::Answered(record) => published.push(record),
            Verdict::Begins(record) => begins.push((wish, *record)),
            Verdict::NoRun | Verdict::Busy(_) => none = Some(wish.file),
        }
    }
    let nothing = begins.is_empty() && under_way.is_empty() && published.is_empty();
    if let Some(file) = none.filter(|_| nothing) {
        return Err(RequestError::conflict(format!(
            "{file} has no run over this version of RAW whose failed turns could be asked again; relabel all"
        )));
    }
    let granted = stream::iter(begins).map(|(wish, record)| async move {
        match app.grant(&wish, record).await? {
            Verdict::Busy(record) => Err(busy(&wish, &record)),
            verdict => Ok(verdict),
        }
    });
    for verdict in granted.buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
        match verdict {
            Verdict::UnderWay(record) => under_way.push(record),
            Verdict::Published(record) => published.push(record),
            // RAW changed again and again, or is gone.
            Verdict::Answered(_) | Verdict::NoRun | Verdict::Busy(_) | Verdict::Begins(_) => {}
        }
    }
    if let Some(asked) = sets_dataset.filter(|_| under_way.is_empty()) {
        app.set_dataset(dataset, &settings, asked).await?;
    }
    under_way.sort_by(|a, b| a.file.cmp(&b.file));
    published.sort_by(|a, b| a.file.cmp(&b.file));
    let messages = under_way.iter().filter_map(to_be_planned).collect();
    Ok(Begun {
        under_way,
        published,
        messages,
    })
}

/// The settings of the labels that are asked for: as the dataset is labelled now, but by the prompts of today, with
/// what the request says otherwise.
async fn wished_settings(
    app: &App,
    body: &Body,
    pinned: Option<&LabelSettings>,
) -> Result<LabelSettings, RequestError> {
    if body.only == Only::Failed && body.changes_settings() {
        let text = "\"only\": \"failed\" asks with the settings that the bucket was labelled \
                    with; leave out task, strategy, \
                    rationales, model and deployment";
        return Err(RequestError::wrong(text));
    }
    let pinned = pinned.filter(|pinned| {
        pinned.prompt_version == pinned.task.version()
            && strategy::by_name(&pinned.strategy)
                .is_ok_and(|known| known.version() == pinned.strategy_version)
    });
    let defaults = match (pinned, &body.task) {
        (Some(pinned), _) => pinned.clone(),
        (None, Some(_)) => app.settings.labels.clone(),
        (None, None) => app.default_settings().await?,
    };
    let defaults = match &body.task {
        Some(name) => defaults.about(app.task(name).await?),
        None => defaults,
    };
    body.settings(&defaults)
}

/// Why a wish must wait while `record` goes on.
fn busy(wish: &Wish, record: &Record) -> RequestError {
    let Record {
        run, file, state, ..
    } = record;
    let mut text = format!(
        "run {run} of {file} is {} and labels with other settings",
        state.as_str()
    );
    text.push_str(match wish.only {
        Only::Failed => "; wait for its end, or cancel it",
        Only::All => "; wait for its end, cancel it, or take its place with \"force\": true",
    });
    RequestError::conflict(text)
}

/// Refuses a run that could only end over a labelled file that is not ours.
async fn refuse_foreign(app: &App, wish: &Wish) -> Result<(), RequestError> {
    if wish.overwrite {
        return Ok(());
    }
    match app.refuse_foreign(&wish.dataset, &wish.file).await {
        Err(error @ RunError::Foreign { .. }) => Err(RequestError::conflict(error.to_string())),
        looked => Ok(looked?),
    }
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
    let splits = listed.iter().filter_map(|file| file.name.split.as_deref());
    known("splits", body.splits.as_ref(), splits)?;
    let buckets = listed.iter().filter_map(|file| file.name.bucket.as_deref());
    known("buckets", body.buckets.as_ref(), buckets)?;
    let meant = listed.iter().filter(|file| body.means(file));
    let meant = meant.map(|file| file.path.clone()).collect::<Vec<_>>();
    let versions = stream::iter(meant).map(|file| async move {
        let version = app.raw_version(dataset, &file).await?;
        let version = version.filter(|version| version.length > 0);
        Ok::<_, RequestError>(version.map(|version| (file, version)))
    });
    let files = versions.buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    let files = files.into_iter().flatten().collect::<Vec<_>>();
    if files.is_empty() {
        let there = listed.iter().map(|file| file.name.to_string());
        let there = there.collect::<Vec<_>>().join(", ");
        let text = format!("no bucket matches these splits and buckets; there are {there}");
        return Err(RequestError::wrong(text));
    }
    Ok(files)
}

/// Refuses names of a field that no bucket has.
fn known<'a>(
    field: &str,
    named: Option<&Vec<String>>,
    there: impl Iterator<Item = &'a str>,
) -> Result<(), RequestError> {
    let there = there.collect::<BTreeSet<_>>();
    let mut named = named.into_iter().flatten();
    let Some(unknown) = named.find(|name| !there.contains(name.as_str())) else {
        return Ok(());
    };
    let there = there.into_iter().collect::<Vec<_>>().join(", ");
    Err(RequestError::wrong(format!(
        "{unknown:?} in {field:?} does not exist; there are {there}"
    )))
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
}
