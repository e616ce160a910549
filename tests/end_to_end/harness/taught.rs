//! The labels that the service taught, worked out anew from its answers.

use super::service::{Service, message, parameters};
use serde_json::{Map, Value};
use softlabel_doubles::azure_openai::Record;
use std::collections::HashMap;

/// What the answers of the service say about a label, worked out anew from the rules.
#[derive(Clone, Debug)]
pub(crate) struct Taught {
    pub(crate) soft: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) censored: bool,
    pub(crate) generated: String,
}

impl Taught {
    /// What `answer` says, to a request for `requested` candidates; `None` where it names no label.
    pub(crate) fn by(answer: &Value, requested: usize) -> Option<Self> {
        let first = answer["choices"][0]["logprobs"]["content"].get(0)?;
        let text = |entry: &Value| match entry["bytes"].as_array() {
            Some(bytes) => bytes
                .iter()
                .map(|b| char::from(b.as_u64().unwrap() as u8))
                .collect(),
            None => entry["token"].as_str().unwrap().to_owned(),
        };
        let top = first["top_logprobs"].as_array().unwrap();
        let usable = |entry: &&Value| {
            let logprob = entry["logprob"].as_f64().unwrap();
            logprob > -9999.0 && logprob <= 0.0
        };
        let mut candidates = HashMap::new();
        for entry in top.iter().chain([first]).filter(usable) {
            candidates.insert(text(entry), entry["logprob"].as_f64().unwrap().exp());
        }
        let mass = |label: &str| {
            let variants = candidates
                .iter()
                .filter(|(token, _)| token.trim_ascii() == label);
            variants.map(|(_, p)| p).sum::<f64>()
        };
        let (p0, p1) = (mass("0"), mass("1"));
        let mut unseen = (1.0 - candidates.values().sum::<f64>()).max(0.0);
        let listed = top
            .iter()
            .filter(usable)
            .map(|e| e["logprob"].as_f64().unwrap().exp());
        let listed = listed.collect::<Vec<_>>();
        if listed.len() >= requested {
            unseen = listed.iter().copied().fold(unseen, f64::min);
        }
        let (soft, low, high) = match (p0 > 0.0, p1 > 0.0) {
            (false, false) => return None,
            (true, true) => {
                let soft = (p1 / (p0 + p1)).clamp(1e-6, 1.0 - 1e-6);
                (soft, soft, soft)
            }
            (false, true) => {
                let soft = (p1 / (p1 + unseen / 2.0)).clamp(1e-4, 1.0 - 1e-4);
                (soft, p1 / (p1 + unseen), 1.0)
            }
            (true, false) => {
                let soft = (unseen / 2.0 / (p0 + unseen / 2.0)).clamp(1e-4, 1.0 - 1e-4);
                (soft, 0.0, unseen / (p0 + unseen))
            }
        };
        let generated = text(first).trim_ascii().to_owned();
        Some(Self {
            soft,
            low,
            high,
            censored: p0 == 0.0 || p1 == 0.0,
            generated,
        })
    }

    /// The hard label by `--hard-label generated`.
    pub(crate) fn hard(&self) -> u64 {
        match self.generated.as_str() {
            "0" => 0,
            "1" => 1,
            _ => self.argmax(),
        }
    }

    /// The more probable label.
    pub(crate) fn argmax(&self) -> u64 {
        u64::from(self.soft > 0.5)
    }
}

/// The labels that the service taught, by message. Only for runs in which each message was answered
/// by its first attempt, or, where `records` has more of them, by the last one.
pub(crate) fn taught(service: &Service, records: &[Record]) -> HashMap<String, Option<Taught>> {
    let answers = service.answers_to(records);
    let requested = |record| parameters(record)["top_logprobs"].as_u64().unwrap() as usize;
    let pairs = records.iter().zip(&answers);
    pairs
        .map(|(record, answer)| (message(record), Taught::by(answer, requested(record))))
        .collect()
}

/// Asserts that a line carries the label that was taught.
pub(crate) fn assert_taught(line: &Map<String, Value>, taught: &Taught) {
    let soft = line["soft_label"]
        .as_f64()
        .unwrap_or_else(|| panic!("{line:?}"));
    // The line has six decimals.
    assert!((soft - taught.soft).abs() < 6e-7, "{line:?} {taught:?}");
    assert_eq!(line["hard_label"], taught.hard(), "{line:?} {taught:?}");
}
