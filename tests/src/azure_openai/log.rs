//! What was asked, how often, and what became of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::access::Auth;
use super::answer::Usage;
use super::clock::Clock;
use super::families::Form;
use super::faults::Fault;
use super::request::Kind;

/// One request, from its arrival to the end of its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Number of the request, from 0.
    pub index: u64,
    /// Arrival, in service microseconds since the start.
    pub arrived_us: u64,
    /// When the answer had been handed to the connection, or the caller was gone, in service
    /// microseconds since the start; absent while under way.
    pub ended_us: Option<u64>,
    /// The header `x-ms-client-request-id`.
    pub client_request_id: Option<String>,
    /// The URL form.
    pub form: Form,
    /// What the caller identified itself with.
    pub auth: Auth,
    /// Tells callers apart that have credentials of their own; see [`caller`](super::caller).
    #[serde(with = "hex")]
    pub caller: u64,
    /// The deployment asked for, whether it exists or not.
    pub deployment: String,
    /// What was asked for, by the parameters alone.
    pub kind: Kind,
    /// The prompt defines "1" as "needs reasoning".
    pub swapped: bool,
    /// Identifies the message; see [`Asked::key`].
    #[serde(with = "hex")]
    pub key: u64,
    /// Hash of the last user message without random marks, white space folded.
    #[serde(with = "hex")]
    pub text_hash: u64,
    /// Characters of that text.
    pub text_chars: usize,
    /// Which attempt at this message reached the model, from 0; absent if none did.
    pub attempt: Option<u32>,
    /// Estimated tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens that the quota is charged: prompt and longest answer.
    pub charged_tokens: u64,
    /// Status answered; absent while under way and where nothing was answered.
    pub status: Option<u16>,
    /// The fault injected.
    pub fault: Option<Fault>,
    /// Whether the answer was handed to the connection to its last byte.
    pub fully_sent: bool,
    /// The last user message as sent, with `keep_bodies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_text: Option<String>,
    /// The request body as sent, with `keep_bodies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// How often one message was asked about in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What was asked for.
    pub kind: Kind,
    /// Identifies the message: hash of the last user message without random marks and without lines
    /// that define the labels.
    #[serde(with = "hex")]
    pub key: u64,
    /// Asked with "1" meaning "needs reasoning".
    pub swapped: bool,
    /// Requests that arrived, refused ones included.
    pub requests: u32,
    /// Requests that passed quota and parameter rules.
    pub attempts: u32,
    /// Requests answered with 200 to the last byte: what the caller pays for and has in hand.
    pub answered: u32,
}

/// Sums over all requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests to the completion URLs.
    pub requests: u64,
    /// Requests to URLs that do not exist.
    pub unrouted: u64,
    /// Requests without an end so far.
    pub in_flight: u64,
    /// Most requests at one time.
    pub peak_in_flight: u64,
    /// Requests by kind.
    pub by_kind: BTreeMap<Kind, u64>,
    /// Answers by status, sent in full or not.
    pub by_status: BTreeMap<u16, u64>,
    /// Injected faults.
    pub by_fault: BTreeMap<Fault, u64>,
    /// 429s for want of requests.
    pub throttled_calls: u64,
    /// 429s for want of tokens.
    pub throttled_tokens: u64,
    /// Tokens charged to the quota.
    pub charged_tokens: u64,
    /// Prompt tokens billed: of 200 answers, sent or not, and of those that a gateway replaced.
    pub prompt_tokens: u64,
    /// Of these, cached ones.
    pub cached_tokens: u64,
    /// Completion tokens billed.
    pub completion_tokens: u64,
    /// Service seconds since the start.
    pub service_s: f64,
}

const SHARDS: usize = 16;

type AskedKey = (Kind, u64, bool);

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    requests: u32,
    attempts: u32,
    answered: u32,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    records: Mutex<Records>,
    tallies: [Mutex<HashMap<AskedKey, Tally>>; SHARDS],
    stats: Mutex<Stats>,
    file: Option<Mutex<File>>,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Records {
    /// Number of the next request.
    next: u64,
    /// The last ones, of which the first has the number `next - kept.len()`.
    kept: VecDeque<Record>,
}

impl Records {
    fn get_mut(&mut self, index: u64) -> Option<&mut Record> {
        let first = self.kept.front()?.index;
        self.kept
            .get_mut(usize::try_from(index.checked_sub(first)?).ok()?)
    }
}

/// A poisoned lock is taken over: the counts of a double that panicked are still worth reading.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub(super) fn open(file: Option<&Path>) -> Result<Self> {
        let file = file
            .map(|path| {
                let opened = File::options().create(true).append(true).open(path);
                opened.with_context(|| format!("cannot write the log file {}", path.display()))
            })
            .transpose()?;
        Ok(Self {
            file: file.map(Mutex::new),
            ..Self::default()
        })
    }

    /// Takes a request in. With a capacity of 0 it is counted and not recorded.
    pub(super) fn arrive(
        self: &Arc<Self>,
        mut record: Record,
        capacity: usize,
        clock: Clock,
    ) -> Ticket {
        let asked = (record.kind, record.key, record.swapped);
        let (kind, charged_tokens) = (record.kind, record.charged_tokens);
        lock(self.shard(record.key))
            .entry(asked)
            .or_default()
            .requests += 1;
        {
            let mut stats = lock(&self.stats);
            stats.requests += 1;
            stats.in_flight += 1;
            stats.peak_in_flight = stats.peak_in_flight.max(stats.in_flight);
            *stats.by_kind.entry(kind).or_default() += 1;
        }
        let mut records = lock(&self.records);
        let index = records.next;
        records.next += 1;
        if capacity > 0 {
            record.index = index;
            while records.kept.len() >= capacity {
                records.kept.pop_front();
            }
            records.kept.push_back(record);
        } else {
            // What was recorded before the log was switched off would no longer be contiguous.
            records.kept.clear();
        }
        drop(records);
        Ticket {
            log: Arc::clone(self),
            clock,
            index,
            asked,
            charged_tokens,
            attempt: None,
            status: None,
            fault: None,
            fully_sent: false,
        }
    }

    fn shard(&self, key: u64) -> &Mutex<HashMap<AskedKey, Tally>> {
        // The low bits pick a bucket within the map, so the high ones pick the map.
        let shard = (key >> 60) as usize % SHARDS;
        self.tallies.get(shard).unwrap_or(&self.tallies[0])
    }

    pub(super) fn unrouted(&self) {
        lock(&self.stats).unrouted += 1;
    }

    pub(super) fn throttled(&self, calls: bool) {
        let mut stats = lock(&self.stats);
        if calls {
            stats.throttled_calls += 1;
        } else {
            stats.throttled_tokens += 1;
        }
    }

    pub(super) fn used(&self, usage: Usage) {
        let mut stats = lock(&self.stats);
        stats.prompt_tokens += usage.prompt;
        stats.cached_tokens += usage.cached;
        stats.completion_tokens += usage.completion;
    }

    pub(super) fn records(&self, since: u64) -> Vec<Record> {
        let records = lock(&self.records);
        let skip = records.kept.partition_point(|record| record.index < since);
        records.kept.range(skip..).cloned().collect()
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        let mut all: Vec<Asked> = Vec::new();
        for shard in &self.tallies {
            all.extend(
                lock(shard)
                    .iter()
                    .map(|(&(kind, key, swapped), tally)| Asked {
                        kind,
                        key,
                        swapped,
                        requests: tally.requests,
                        attempts: tally.attempts,
                        answered: tally.answered,
                    }),
            );
        }
        all.sort_by_key(|asked| (asked.kind, asked.key, asked.swapped));
        all
    }

    pub(super) fn stats(&self) -> Stats {
        lock(&self.stats).clone()
    }

    /// Forgets records, counts and attempts. Requests under way end unrecorded.
    pub(super) fn clear(&self) {
        lock(&self.records).kept.clear();
        for shard in &self.tallies {
            lock(shard).clear();
        }
        let mut stats = lock(&self.stats);
        *stats = Stats {
            in_flight: stats.in_flight,
            ..Stats::default()
        };
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// A request under way. Dropping it ends the request in the log, however it ended.
#[derive(Debug)]
pub(super) struct Ticket {
    log: Arc<Log>,
    clock: Clock,
    index: u64,
    asked: AskedKey,
    charged_tokens: u64,
    attempt: Option<u32>,
    status: Option<u16>,
    fault: Option<Fault>,
    fully_sent: bool,
}

impl Ticket {
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// The quota has been charged.
    pub(super) fn charged(&self) {
        lock(&self.log.stats).charged_tokens += self.charged_tokens;
    }

    /// The request reaches the model; tells which attempt at its message this is.
    pub(super) fn attempt(&mut self) -> u32 {
        let mut shard = lock(self.log.shard(self.asked.1));
        let tally = shard.entry(self.asked).or_default();
        let attempt = tally.attempts;
        tally.attempts += 1;
        drop(shard);
        self.attempt = Some(attempt);
        attempt
    }

    pub(super) fn answer(&mut self, status: Option<u16>, fault: Option<Fault>) {
        self.status = status;
        self.fault = fault;
    }

    /// The last byte has been handed to the connection.
    pub(super) fn sent(&mut self) {
        self.fully_sent = true;
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.log.stopping.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        {
            let mut stats = lock(&self.log.stats);
            stats.in_flight = stats.in_flight.saturating_sub(1);
            if let Some(status) = self.status {
                *stats.by_status.entry(status).or_default() += 1;
            }
            if let Some(fault) = self.fault {
                *stats.by_fault.entry(fault).or_default() += 1;
            }
        }
        if self.fully_sent && self.status == Some(200) {
            lock(self.log.shard(self.asked.1))
                .entry(self.asked)
                .or_default()
                .answered += 1;
        }
        let mut records = lock(&self.log.records);
        let Some(record) = records.get_mut(self.index) else {
            return;
        };
        record.ended_us = Some(self.clock.now().as_micros() as u64);
        record.attempt = self.attempt;
        record.status = self.status;
        record.fault = self.fault;
        record.fully_sent = self.fully_sent;
        if let Some(file) = &self.log.file {
            let line = serde_json::to_vec(record);
            drop(records);
            if let Ok(mut line) = line {
                line.push(b'\n');
                // A full disk must not stop the service that the double plays.
                let _ = lock(file).write_all(&line);
            }
        }
    }
}

/// 64-bit hashes as hexadecimal strings: JSON readers lose precision beyond 53 bits.
mod hex {
    use super::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}
