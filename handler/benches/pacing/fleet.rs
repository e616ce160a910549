//! A fleet of processes that label against one deployment, as discrete events in simulated time.
//!
//! The pacing and the record of shares are the product's, the limiter is that of the double of Azure
//! OpenAI. Around them stand: workers that ask for a label and then for its rationale, a network with
//! some jitter, timers that are late, latencies, a blob with latencies and lost races, clocks that
//! differ, and processes that end, some of them without a word.

use crate::sizes::{Sizes, Turn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use softlabel::teacher::pacing::shares::{LEASE, Record};
use softlabel::teacher::pacing::{Concurrency, Pacer, Quota, RateLimitHeaders, Ready, Sent};
use softlabel_doubles::azure_openai::{Limits, Meter};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// Half of the answers take longer, of labels and of rationales; and the spread of both.
pub(crate) const LABEL: f64 = 0.6;
pub(crate) const RATIONALE: f64 = 2.0;
pub(crate) const SPREAD: f64 = 0.5;

/// A 429 comes back fast.
const REFUSAL: f64 = 0.02;

/// Seconds on the way to the service: at least, and the mean of what comes on top.
const WAY: (f64, f64) = (0.004, 0.002);

/// A timer is late by up to so many seconds.
const LATE: f64 = 0.002;

/// Half of the storage operations take longer.
const STORAGE: f64 = 0.012;

/// Clocks of processes are off by up to so many milliseconds.
const CLOCK_OFF_MS: i64 = 200;

/// A process that ended is replaced after so many seconds.
const REPLACED_AFTER: f64 = 2.0;

/// What is simulated.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    /// The limits of the service from each second on.
    pub(crate) limits: Vec<(f64, Limits)>,
    pub(crate) processes: usize,
    /// Mean seconds that a process lives; one in three is killed. `None`: for ever.
    pub(crate) life: Option<f64>,
    pub(crate) way: Way,
    /// Turns in all; `None`: without end.
    pub(crate) turns: Option<u64>,
    /// When the simulation ends at the latest.
    pub(crate) seconds: f64,
    /// Tokens that the service counts for one of ours.
    pub(crate) counted: f64,
    /// Whether answers carry headers on the quota.
    pub(crate) headers: bool,
}

/// How calls are held back.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// By the product's pacing, configured with this quota.
    Paced(Quota, Concurrency),
    /// So many at a time, and a pause for all when a 429 comes.
    Semaphore(u32),
}

/// What was seen at the service, by the second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) tokens: Vec<u64>,
    pub(crate) admitted: Vec<u64>,
    pub(crate) refused: Vec<u64>,
    /// When the last turn was done.
    pub(crate) done_at: f64,
    pub(crate) reads: u64,
    pub(crate) swaps: u64,
    pub(crate) lost_races: u64,
    pub(crate) killed: u64,
    pub(crate) ended: u64,
}

impl Seen {
    /// Sums of a column over some seconds.
    pub(crate) fn sum(column: &[u64], from: f64, to: f64) -> u64 {
        let end = (to as usize).min(column.len());
        column
            .get(from as usize..end)
            .map_or(0, |part| part.iter().sum())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrives {
        call: usize,
        tokens: u64,
        rationale: bool,
    },
    Answered {
        call: usize,
        refused: Option<Duration>,
        told: Answer,
    },
    Wakes {
        at: Duration,
    },
    Reads,
    Swaps {
        version: u64,
    },
    Ends {
        killed: bool,
    },
    Begins,
}

/// What an answer's headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    limit_tokens: u64,
    limit_requests: u64,
    remaining: u64,
    reset: Duration,
}

/// Number of the process, and which of its lives it is.
type Who = (usize, u32);

#[derive(Clone, Copy, Debug)]
struct Call {
    turn: Turn,
    rationale: bool,
    sent: Option<Sent>,
}

impl Call {
    fn tokens(&self) -> u64 {
        if self.rationale {
            self.turn.rationale
        } else {
            self.turn.label
        }
    }
}

/// One process: its pacing, its workers' calls, and its share.
#[derive(Default)]
struct Process {
    life: u32,
    alive: bool,
    leaving: bool,
    pacer: Option<Pacer>,
    cap: u32,
    in_flight: u32,
    paused_until: Duration,
    waiting: VecDeque<usize>,
    calls: Vec<Call>,
    free: Vec<usize>,
    wakes_at: Option<Duration>,
    clock_off_ms: i64,
    /// The record as it was read, when that began, and what is wanted.
    read: Option<(Record, Duration)>,
    wants: Option<f64>,
    share: f64,
    share_until: Duration,
}

pub(crate) struct Fleet<'a> {
    setup: Setup,
    sizes: &'a Sizes,
    rng: StdRng,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Who, What)>>,
    number: u64,
    processes: Vec<Process>,
    meter: Meter,
    record: (u64, Record),
    begun: u64,
    done: u64,
    again: Vec<Call>,
    seen: Seen,
}

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s.max(0.0))
}

impl<'a> Fleet<'a> {
    /// Runs the simulation to its end.
    pub(crate) fn run(setup: Setup, sizes: &'a Sizes) -> Seen {
        let mut fleet = Self {
            rng: StdRng::seed_from_u64(setup.seed),
            sizes,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            number: 0,
            processes: (0..setup.processes).map(|_| Process::default()).collect(),
            meter: Meter::default(),
            record: (0, Record::default()),
            begun: 0,
            done: 0,
            again: Vec::new(),
            seen: Seen::default(),
            setup,
        };
        for number in 0..fleet.setup.processes {
            let after = fleet.rng.random_range(0.0..5.0);
            fleet.after(after, (number, 1), What::Begins);
        }
        while let Some(Reverse((at, _, who, what))) = fleet.events.pop() {
            if at.as_secs_f64() > fleet.setup.seconds || fleet.is_done() {
                break;
            }
            fleet.now = at;
            fleet.happens(who, what);
        }
        fleet.seen
    }

    fn is_done(&self) -> bool {
        self.setup.turns.is_some_and(|turns| self.done >= turns)
    }

    fn after(&mut self, s: f64, who: Who, what: What) {
        self.at(self.now + seconds(s), who, what);
    }

    fn at(&mut self, at: Duration, who: Who, what: What) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, who, what)));
    }

    /// A draw from an exponential distribution with this mean.
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.random::<f64>()).ln()
    }

    fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.rng.random::<f64>()).cos();
        median * (spread * normal).exp()
    }

    fn happens(&mut self, who: Who, what: What) {
        let (number, life) = who;
        let process = &self.processes[number];
        // What reaches a process that is no more, or its successor, is lost; the service has it all.
        let there = process.alive && process.life == life;
        match what {
            What::Begins => self.begin(number, life),
            What::Arrives {
                call,
                tokens,
                rationale,
            } => self.arrives(who, call, tokens, rationale),
            _ if !there => {}
            What::Wakes { at } => {
                if self.processes[number].wakes_at == Some(at) {
                    self.processes[number].wakes_at = None;
                }
                self.pump(number);
            }
            What::Answered {
                call,
                refused,
                told,
            } => self.answered(number, call, refused, told),
            What::Reads | What::Swaps { .. } if self.processes[number].leaving => {}
            What::Reads => self.reads(who),
            What::Swaps { version } => self.swaps(who, version),
            What::Ends { killed } => self.ends(number, killed),
        }
    }

    fn begin(&mut self, number: usize, life: u32) {
        let (pacer, cap) = match self.setup.way {
            Way::Paced(quota, cap) => {
                let pacer = Pacer::new(quota, cap, self.now);
                (Some(pacer.shared(self.now)), cap.most())
            }
            Way::Semaphore(cap) => (None, cap),
        };
        let paced = pacer.is_some();
        let clock_off_ms = self.rng.random_range(-CLOCK_OFF_MS..=CLOCK_OFF_MS);
        self.processes[number] = Process {
            life,
            alive: true,
            pacer,
            cap,
            clock_off_ms,
            ..Process::default()
        };
        if let Some(mean) = self.setup.life {
            let lives = self.exponential(mean);
            let killed = self.rng.random_range(0..3) == 0;
            self.after(lives, (number, life), What::Ends { killed });
        }
        for _ in 0..cap {
            self.next_turn(number);
        }
        if paced {
            self.read_soon((number, life), 0.0);
        }
        self.pump(number);
    }

    /// A worker takes the next turn, if there is one.
    fn next_turn(&mut self, number: usize) {
        let call = match self.again.pop() {
            Some(call) => call,
            None if self.setup.turns.is_some_and(|turns| self.begun >= turns) => return,
            None => {
                self.begun += 1;
                Call {
                    turn: self.sizes.draw(&mut self.rng),
                    rationale: false,
                    sent: None,
                }
            }
        };
        let process = &mut self.processes[number];
        let index = match process.free.pop() {
            Some(index) => {
                process.calls[index] = call;
                index
            }
            None => {
                process.calls.push(call);
                process.calls.len() - 1
            }
        };
        process.waiting.push_back(index);
    }

    /// Sends what may go.
    fn pump(&mut self, number: usize) {
        loop {
            let now = self.now;
            let process = &mut self.processes[number];
            if process.leaving {
                return;
            }
            let Some(&index) = process.waiting.front() else {
                return;
            };
            let tokens = process.calls[index].tokens();
            let wait = match &mut process.pacer {
                Some(pacer) => match pacer.ready(now, tokens) {
                    Ready::Now => None,
                    Ready::At(at) | Ready::Paused(at) => Some(at),
                    Ready::Blocked => return,
                },
                None if process.paused_until > now => Some(process.paused_until),
                None if process.in_flight >= process.cap => return,
                None => None,
            };
            if let Some(at) = wait {
                if process.wakes_at.is_none_or(|wakes| wakes > at) {
                    let at = at + seconds(self.rng.random_range(0.0..LATE));
                    let process = &mut self.processes[number];
                    process.wakes_at = Some(at);
                    let who = (number, process.life);
                    self.at(at, who, What::Wakes { at });
                }
                return;
            }
            process.waiting.pop_front();
            process.in_flight += 1;
            process.calls[index].sent = process.pacer.as_mut().map(|pacer| pacer.send(now, tokens));
            let who = (number, process.life);
            let rationale = process.calls[index].rationale;
            let way = WAY.0 + self.exponential(WAY.1);
            // The service meets the call whatever becomes of the process.
            let arrives = What::Arrives {
                call: index,
                tokens,
                rationale,
            };
            self.after(way, who, arrives);
        }
    }

    fn arrives(&mut self, who: Who, call: usize, tokens: u64, rationale: bool) {
        let now = self.now;
        let limits = self
            .setup
            .limits
            .iter()
            .rev()
            .find(|(from, _)| *from <= now.as_secs_f64());
        let limits = limits.map(|(_, limits)| *limits).unwrap_or_default();
        let counted = (tokens as f64 * self.setup.counted) as u64;
        let second = now.as_secs() as usize;
        for column in [
            &mut self.seen.tokens,
            &mut self.seen.admitted,
            &mut self.seen.refused,
        ] {
            if column.len() <= second {
                column.resize(second + 1, 0);
            }
        }
        let back = WAY.0 + self.exponential(WAY.1);
        match self.meter.admit(&limits, now, counted) {
            Ok(remaining) => {
                self.seen.tokens[second] += counted;
                self.seen.admitted[second] += 1;
                let headers = self.setup.headers;
                let told = Answer {
                    limit_tokens: limits.tpm.unwrap_or_default(),
                    limit_requests: limits.rpm.unwrap_or_default(),
                    remaining: remaining.tokens,
                    reset: remaining.tokens_reset,
                };
                let told = if headers { told } else { Answer::default() };
                let median = if rationale { RATIONALE } else { LABEL };
                let takes = self.log_normal(median, SPREAD) + back;
                self.after(
                    takes,
                    who,
                    What::Answered {
                        call,
                        refused: None,
                        told,
                    },
                );
            }
            Err(throttle) => {
                self.seen.refused[second] += 1;
                let refused = Some(throttle.retry_after);
                let told = Answer::default();
                self.after(
                    REFUSAL + back,
                    who,
                    What::Answered {
                        call,
                        refused,
                        told,
                    },
                );
            }
        }
    }

    fn answered(&mut self, number: usize, index: usize, refused: Option<Duration>, told: Answer) {
        let now = self.now;
        let process = &mut self.processes[number];
        process.in_flight -= 1;
        let call = process.calls[index];
        let limit = |limit: u64| (limit > 0).then_some(limit);
        let told = RateLimitHeaders {
            limit_tokens: limit(told.limit_tokens),
            limit_requests: limit(told.limit_requests),
            remaining_tokens: limit(told.limit_tokens).map(|_| told.remaining),
            reset_tokens: limit(told.limit_tokens).map(|_| told.reset),
        };
        match (&mut process.pacer, call.sent, refused) {
            (Some(pacer), Some(sent), None) => pacer.answered(now, sent, &told),
            (Some(pacer), Some(sent), Some(wait)) => {
                pacer.throttled(now, sent, &told, Some(wait));
                pacer.pause(now + wait);
            }
            (_, _, Some(wait)) => process.paused_until = process.paused_until.max(now + wait),
            _ => {}
        }
        if refused.is_some() {
            process.waiting.push_back(index);
        } else if !call.rationale {
            process.calls[index].rationale = true;
            process.waiting.push_back(index);
        } else {
            process.free.push(index);
            self.done += 1;
            self.seen.done_at = now.as_secs_f64();
            if !process.leaving {
                self.next_turn(number);
            }
        }
        self.pump(number);
        self.end_if_idle(number);
    }

    /// A process ends: at once and without a word, or after what is in flight.
    fn ends(&mut self, number: usize, killed: bool) {
        self.seen.ended += 1;
        self.seen.killed += u64::from(killed);
        self.processes[number].leaving = true;
        if killed {
            self.gone(number);
        } else {
            // What it does not send any more, others may at once.
            self.seen.reads += 1;
            self.seen.swaps += 1;
            self.record.0 += 1;
            let name = name((number, self.processes[number].life));
            self.record.1.leave(&name);
            self.end_if_idle(number);
        }
    }

    fn end_if_idle(&mut self, number: usize) {
        let process = &self.processes[number];
        if process.leaving && process.alive && process.in_flight == 0 {
            self.gone(number);
        }
    }

    /// What it had begun others finish, labels it had are kept, and another process takes its place.
    fn gone(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.alive = false;
        let free = std::mem::take(&mut process.free);
        let open = process
            .calls
            .iter()
            .enumerate()
            .filter(|(index, _)| !free.contains(index));
        self.again.extend(open.map(|(_, call)| *call));
        let life = process.life + 1;
        self.after(REPLACED_AFTER, (number, life), What::Begins);
    }

    fn storage(&mut self) -> f64 {
        self.log_normal(STORAGE, SPREAD)
    }

    fn read_soon(&mut self, who: Who, s: f64) {
        self.after(s, who, What::Reads);
    }

    /// A renewal begins: the record is read, and the swap of what comes of it is on its way.
    fn reads(&mut self, who: Who) {
        self.seen.reads += 1;
        let takes = self.storage() + self.storage();
        let (version, record) = self.record.clone();
        let now = self.now;
        let process = &mut self.processes[who.0];
        process.read = Some((record, now));
        if let (None, Some(pacer)) = (process.wants, &mut process.pacer) {
            process.wants = Some(pacer.wants(now));
        }
        self.after(takes, who, What::Swaps { version });
    }

    fn swaps(&mut self, who: Who, version: u64) {
        self.seen.swaps += 1;
        let now = self.now;
        let process = &mut self.processes[who.0];
        let (Some((mut record, began)), Some(pacer)) = (process.read.take(), &mut process.pacer)
        else {
            return;
        };
        let clock = began.as_millis() as i64 + process.clock_off_ms + 1_000_000;
        let renewed = record.renew(&name(who), process.wants.unwrap_or_default(), clock as u64);
        let next = if version == self.record.0 {
            process.wants = None;
            self.record = (version + 1, record);
            (process.share, process.share_until) = (renewed.share, began + LEASE);
            renewed.next.as_secs_f64() * self.rng.random_range(0.9..1.0)
        } else {
            self.seen.lost_races += 1;
            process.share = process.share.min(renewed.share);
            self.rng.random_range(0.0..0.1)
        };
        pacer.set_share(now, process.share, process.share_until);
        self.read_soon(who, next);
        self.pump(who.0);
    }
}

fn name((number, life): Who) -> String {
    format!("{number}.{life}")
}
