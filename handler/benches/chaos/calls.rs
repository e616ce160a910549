//! No answer is lost without need, and nothing that is kept is asked again.

use crate::bucket::Bucket;
use crate::tally::Tally;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use softlabel_doubles::azure_openai::{Excuse, Kind, Loss, Record};
use softlabel_doubles::local_cloud::LocalCloud;
use softlabel_doubles::prompt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// A result may wait so long before it is appended.
pub(crate) const UNFLUSHED: Duration = Duration::from_secs(2);

/// What the service is asked, a label or a rationale, and about which message.
type Question = (Kind, String);

/// Holds the service's log against what the runs keep: an answer that no run keeps may have been lost,
/// as its caller was killed or storage was down.
pub(crate) async fn check(
    cloud: &LocalCloud,
    buckets: &[Bucket],
    records: &[Value],
    losses: &[Loss],
    tally: &mut Tally,
) -> Result<()> {
    let kept = kept(cloud, buckets, records).await?;
    let excuse = Excuse {
        losses,
        unflushed: UNFLUSHED,
    };
    let mut answered = BTreeMap::<Question, Vec<Record>>::new();
    for record in cloud.service().log() {
        let message = prompt::message(&record).context("a question is about no message")?;
        if record.status == Some(200) && record.fully_sent && message != prompt::PROBE {
            let question = (record.kind, message.to_owned());
            answered.entry(question).or_default().push(record);
        }
    }
    for (question, calls) in &answered {
        let kept = kept.get(question).copied().unwrap_or_default();
        let exposed = calls.iter().filter(|call| excuse.exposes(call)).count();
        ensure!(
            calls.len() <= kept + exposed,
            "a question was answered {:?}, the runs keep {kept} of the answers, and {losses:?} can have \
             cost {exposed}",
            calls
                .iter()
                .map(|call| (call.caller, call.arrived_us, call.ended_us))
                .collect::<Vec<_>>()
        );
        tally.calls += calls.len();
        tally.exposed += exposed;
        tally.lost += calls.len().saturating_sub(kept);
    }
    Ok(())
}

/// How many answers to each question the runs keep.
async fn kept(
    cloud: &LocalCloud,
    buckets: &[Bucket],
    records: &[Value],
) -> Result<HashMap<Question, usize>> {
    let versions = buckets.iter().flat_map(|bucket| &bucket.versions);
    let messages = versions.flat_map(|version| version.ids.iter().zip(&version.messages));
    let messages = messages.collect::<HashMap<_, _>>();
    let mut kept = HashMap::new();
    for record in records {
        let run = record.get("run").and_then(Value::as_str);
        let run = run.context("a record without a name")?;
        let has_base = record.get("base").is_some_and(Value::is_string);
        let parts = cloud.in_work(&format!("work/{run}/parts/")).await?;
        for item in cloud.work().list(&parts).await? {
            let part = cloud.work().get(&item.name).await?;
            let part = part.context("a part is gone")?;
            for (turn, answers) in answers(&part.content, has_base) {
                let id = answers.id.context("a turn without an id")?;
                let message = messages.get(&id).context("a turn of no version")?.trim();
                let both = [
                    (Kind::Classification, answers.labels),
                    (Kind::Text, answers.rationales),
                ];
                for (kind, given) in both {
                    ensure!(
                        given.len() <= 1,
                        "run {run} keeps {} answers about turn {turn} of {}: {given:?}",
                        given.len(),
                        item.name
                    );
                    *kept.entry((kind, message.to_owned())).or_default() += given.len();
                }
            }
        }
    }
    Ok(kept)
}

/// The different answers of a turn, by what tells them apart.
#[derive(Debug, Default)]
struct Answers {
    id: Option<String>,
    labels: BTreeSet<String>,
    rationales: BTreeSet<String>,
}

/// The answers in a part that its own run asked for, by turn. One that begins with the part of a base
/// says where that ends.
fn answers(part: &[u8], has_base: bool) -> BTreeMap<u64, Answers> {
    let mut turns = BTreeMap::<u64, Answers>::new();
    let mut own = !has_base;
    // A line that was torn by a kill was kept by nobody.
    let lines = part.split(|&byte| byte == b'\n');
    for line in lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()) {
        if line.get("seeded").is_some() {
            own = true;
            continue;
        }
        if line.get("credit").is_some() || line.get("spent").is_some() {
            continue;
        }
        let turn = line.get("turn").and_then(Value::as_u64);
        let answers = turns.entry(turn.unwrap_or(u64::MAX)).or_default();
        let text = |pointer: &str| {
            let text = line.pointer(pointer).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let id = ["/label/message_id", "/error/message_id"]
            .iter()
            .find_map(|id| text(id));
        answers.id = id.or(answers.id.take());
        let asked = |event: &str| {
            let event = line.get(event);
            own && event.is_some_and(|event| event.get("reused") == Some(&Value::Bool(false)))
        };
        if asked("label") {
            answers.labels.extend(text("/label/request_id"));
        }
        if asked("rationale") {
            answers.rationales.extend(text("/rationale/text"));
        }
    }
    turns
}
