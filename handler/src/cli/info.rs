//! `softlabel info`.

use super::table::Table;
use super::{Exit, print};
use crate::config::{InfoArgs, ServiceArgs};
use crate::labeling::label::Label;
use crate::labeling::strategy;
use crate::labeling::task::Task;
use crate::teacher::credential::Surroundings;
use crate::teacher::endpoint::Api;
use crate::teacher::model;
use crate::teacher::pacing::{Concurrency, Quota};
use serde_json::{Value, json};

/// Shows the effective settings. Nothing is sent.
pub(super) fn run(args: &InfoArgs) -> anyhow::Result<Exit> {
    let task = args.task.task()?;
    let service = args.service.clone().understood();
    // Unusable settings are shown as they are.
    let service = service.unwrap_or_else(|_| args.service.clone());
    let info = collect(args, &service, &task);
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&info)?)
    } else {
        render(&info)
    };
    print(&text)?;
    Ok(Exit::Complete)
}

fn collect(args: &InfoArgs, service: &ServiceArgs, task: &Task) -> Value {
    let labeling = &args.labeling;
    let patience = service.patience();
    let seconds = |time: std::time::Duration| json!(time.as_secs_f64());
    let strategies = strategy::strategies().iter().map(|strategy| {
        json!({
            "name": strategy.name(),
            "version": strategy.version(),
            "description": strategy.description(),
        })
    });
    let labels =
        Label::BOTH.map(|label| json!({"label": u8::from(label), "meaning": task.meaning(label)}));
    let ids = service.encoding().label_ids();
    let limit = |limit: f64| match limit < f64::from(Quota::NO_LIMIT) {
        true => json!(limit as u64),
        false => json!("no limit"),
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "service": {
            "api": service.api.as_str(),
            "endpoint": endpoint(service),
            "url_form": match (service.api, &service.api_version) {
                (Api::OpenAi, _) => "plain".into(),
                (_, Some(version)) if !version.trim().is_empty() => format!("dated, {version}"),
                _ => "v1".into(),
            },
            "model": service.model,
            "deployment": service.deployment(),
            "model_family": service.family(),
            "profile_before_the_probe": service.profile(),
            "price_usd_per_million_tokens": service.price().map_or(json!("unknown"), |p| json!(p)),
            "prices_of": model::prices_of(),
        },
        "credential": credential(service),
        "tokens": {
            "encoding": service.encoding().as_str(),
            "id_of_0": ids.map_or(json!("unknown"), |[zero, _]| json!(zero)),
            "id_of_1": ids.map_or(json!("unknown"), |[_, one]| json!(one)),
        },
        "limits": {
            "tokens_a_minute": limit(service.quota().tpm),
            "requests_a_minute": limit(service.quota().rpm),
            "concurrency": match service.concurrency {
                Concurrency::Fixed(calls) => json!(calls),
                Concurrency::Auto(most) => json!(format!("auto, at most {most}")),
            },
            "message_tokens": labeling.message_tokens,
            "context_tokens": labeling.context_tokens,
            "rationale_tokens": task.rationale.tokens,
            "top_logprobs": service.profile().top_logprobs,
        },
        "retry": {
            "attempts": patience.attempts,
            "first_backoff_s": seconds(patience.first_backoff),
            "longest_backoff_s": seconds(patience.longest_backoff),
            "throttle_patience_s": seconds(patience.throttling),
            "outage_after_s": seconds(patience.outage.open_after),
            "outage_probe_s": seconds(patience.outage.probe_every),
            "outage_patience_s": seconds(patience.outage.give_up_after),
            "connect_timeout_s": seconds(service.connect_timeout),
            "call_timeout_s": seconds(service.call_timeout),
        },
        "labeling": {
            "task": task.name,
            "strategy": labeling.strategy.0.name(),
            "prompt_version": task.version(),
            "with_rationales": !labeling.no_rationales,
            "hard_label": labeling.hard_label.as_str(),
            "identical_inputs_asked_once": !labeling.no_dedupe,
        },
        "labels": labels,
        "strategies": strategies.collect::<Vec<_>>(),
    })
}

/// Where a credential would come from, in the order in which it is tried.
fn credential(service: &ServiceArgs) -> Value {
    let settings = service.credential(Surroundings::of_process());
    let auth = [("auth".to_owned(), json!(service.auth.as_str()))];
    let outline = settings
        .outline()
        .into_iter()
        .map(|(name, text)| (name, json!(text)));
    let timeout = service.credential_timeout.as_secs_f64();
    let timeout = [("credential_timeout_s".to_owned(), json!(timeout))];
    Value::Object(auth.into_iter().chain(outline).chain(timeout).collect())
}

fn render(info: &Value) -> String {
    let mut text = String::new();
    for (section, content) in info.as_object().into_iter().flatten() {
        let mut table = Table::default();
        match content {
            Value::Object(rows) => {
                for (name, value) in rows {
                    let variable = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                    let name = if variable {
                        name.clone()
                    } else {
                        name.replace('_', " ")
                    };
                    table.row(name, plain(value));
                }
            }
            Value::Array(items) => {
                for item in items {
                    let field = |name: &str| item.get(name).map(plain).unwrap_or_default();
                    if item.get("label").is_some() {
                        table.row(field("label"), field("meaning"));
                    } else {
                        let name = format!("{} (version {})", field("name"), field("version"));
                        table.row(name, field("description"));
                    }
                }
            }
            single => {
                text.push_str(&format!("softlabel {}\n\n", plain(single)));
                continue;
            }
        }
        text.push_str(&format!("{section}\n{}\n", table.render()));
    }
    text
}

/// The endpoint, if it is one that could be used: another one may carry a secret.
fn endpoint(service: &ServiceArgs) -> String {
    let set = match service.api {
        Api::Azure => &service.endpoint,
        Api::OpenAi => &service.base_url,
    };
    match set.as_deref().map(str::trim) {
        None | Some("") => "not set".into(),
        Some(text) => match service.address() {
            Ok(_) => text.to_owned(),
            Err(error) => format!("not usable: {error}"),
        },
    }
}

/// A JSON value as people write it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
