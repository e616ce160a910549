//! Whether labels are where they belong and are the double's own.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, Double, Kind, Latency};
use softlabel_doubles::local_cloud::{Instance, LocalCloud};
use softlabel_doubles::prompt::message;

use crate::stage::Bucket;

/// Sums that are counted are shown with rounding.
const ROUNDING: f64 = 1e-6;

/// Labels have six decimals.
const EXACT: f64 = 1e-6;

/// Checks that each bucket's labelled file has one line a turn, in raw order, with the probability that the service
/// gave the message when it was last asked. Says how many turns there are.
pub(crate) async fn labels<H: Instance>(
    cloud: &LocalCloud<H>,
    buckets: &[Bucket],
) -> Result<usize> {
    ensure!(!buckets.is_empty(), "there is no bucket");
    let taught = taught(cloud).await?;
    let mut turns = 0;
    for bucket in buckets {
        let checked = file(cloud, bucket, &taught).await;
        turns += checked.with_context(|| bucket.path.clone())?;
    }
    Ok(turns)
}

async fn file<H: Instance>(
    cloud: &LocalCloud<H>,
    bucket: &Bucket,
    taught: &HashMap<String, f64>,
) -> Result<usize> {
    let (path, _) = bucket.path.rsplit_once('.').context("it has no ending")?;
    let mut parts = path.split('/').skip(1);
    let (split, name) = (parts.next(), parts.next());
    let lines = cloud.lines(&format!("LABELED_{path}.jsonl")).await?;
    let lines = lines.context("there is no labelled file")?;
    let conversations: Vec<Value> = serde_json::from_slice(&bucket.content)?;
    let turns = conversations.iter().flat_map(|conversation| {
        let turns = conversation["turnsArray"].as_array();
        turns
            .into_iter()
            .flatten()
            .map(move |turn| (conversation, turn))
    });
    let turns = turns.collect::<Vec<_>>();
    ensure!(
        lines.len() == turns.len(),
        "{} turns have {} lines",
        turns.len(),
        lines.len()
    );
    for ((conversation, turn), line) in turns.iter().zip(&lines) {
        let place = json!([
            conversation["conversationId"],
            turn["messageId"],
            split,
            name
        ]);
        let found = json!([
            line["conversationId"],
            line["messageId"],
            line["split"],
            line["bucket"]
        ]);
        ensure!(place == found, "{line} is where {place} belongs");
        let message = turn["userMessage"].as_str().unwrap_or_default().trim();
        if message.is_empty() {
            let code = line.pointer("/labeling_error/code");
            ensure!(
                code == Some(&json!("empty_message")),
                "an empty message has {line}"
            );
            continue;
        }
        let soft = line["soft_label"].as_f64();
        let soft = soft.with_context(|| format!("a turn has no label: {line}"))?;
        let own = taught.get(message);
        let own = own.with_context(|| format!("the service was never asked about {line}"))?;
        ensure!((soft - own).abs() < EXACT, "{line} should have {own}");
    }
    Ok(turns.len())
}

/// The probability that the service gives each message: it answers the last body about it once more, as if nothing
/// had been asked before.
async fn taught<H: Instance>(cloud: &LocalCloud<H>) -> Result<HashMap<String, f64>> {
    let mut bodies = HashMap::new();
    for record in cloud.service().log() {
        let text = message(&record).map(str::to_owned);
        if let (Kind::Classification, Some(text), Some(body)) = (record.kind, text, record.body) {
            bodies.insert(text, body);
        }
    }
    let config = Config {
        latency: Latency::None,
        text_latency: None,
        ..cloud.service().config()
    };
    let again = Double::start(config).await?;
    let url = format!("{}/openai/v1/chat/completions", again.endpoint());
    let http = reqwest::Client::new();
    let mut taught = HashMap::new();
    for (message, body) in bodies {
        let request = http.post(&url).header("api-key", "any").body(body);
        let answer = request.send().await?.json::<Value>().await?;
        let soft = soft(&answer).with_context(|| format!("no label in {answer}"))?;
        taught.insert(message, soft);
    }
    again.stop().await;
    Ok(taught)
}

/// P("1") / (P("0") + P("1")) of the first token.
fn soft(answer: &Value) -> Option<f64> {
    let top = answer.pointer("/choices/0/logprobs/content/0/top_logprobs")?;
    let mass = |label: &str| {
        let entries = top.as_array().into_iter().flatten();
        let of_label =
            entries.filter(|entry| entry["token"].as_str().is_some_and(|it| it == label));
        of_label
            .filter_map(|entry| Some(entry["logprob"].as_f64()?.exp()))
            .sum::<f64>()
    };
    let (zero, one) = (mass("0"), mass("1"));
    (zero > 0.0 && one > 0.0).then(|| (one / (zero + one)).clamp(1e-6, 1.0 - 1e-6))
}

/// What the service billed, in US dollars, at these prices for a million tokens of the prompt and of the answer. An
/// error where the app has not counted it, or has counted more for a dataset than that may cost.
pub(crate) async fn spent<H: Instance>(cloud: &LocalCloud<H>, prices: [f64; 2]) -> Result<f64> {
    let stats = cloud.service().stats();
    let [input, output] = prices;
    let billed =
        (stats.prompt_tokens as f64 * input + stats.completion_tokens as f64 * output) / 1e6;
    ensure!(billed > 0.0, "nothing was billed");
    let shown = cloud.call("GET", "runs?limit=1000", None).await?.body;
    let counted = |account: &Value| {
        let usd = |name: &str| account[name].as_f64();
        Some(usd("spent_usd")? + usd("reserved_usd")?)
    };
    let month = counted(&shown["month"]).context("the month has no account")?;
    ensure!(
        billed <= month + ROUNDING,
        "{billed} US dollars were billed, and {month} counted"
    );
    let datasets = shown["datasets"].as_object();
    let datasets = datasets.filter(|datasets| !datasets.is_empty());
    for (dataset, account) in datasets.context("no dataset has an account")? {
        let cap = account["max_cost_usd"].as_f64();
        let (counted, cap) = counted(account)
            .zip(cap)
            .context("an account has no sums")?;
        ensure!(
            counted <= cap + ROUNDING,
            "{dataset} has cost {counted} US dollars, and {cap} are allowed"
        );
    }
    Ok(billed)
}
