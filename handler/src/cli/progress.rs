//! The live bar, or a line every few seconds.

use super::screen::Screen;
use super::table::{number, percent, time};
use crate::config::ProgressStyle;
use crate::dataset::metadata::Cost;
use crate::run::progress::{Progress, Snapshot};
use crate::run::projection::{Kind, Projection};
use crate::steps::billed::Billed;
use crate::teacher::Teacher;
use crate::teacher::meter::Reading;
use crate::teacher::pacing::Quota;
use indicatif::{ProgressBar, ProgressStyle as BarStyle};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// How often a line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Rates are those of the last minute.
const RATES_OVER: Duration = Duration::from_secs(60);

/// The share of the quota from which the calls in flight count as enough.
const NEARLY_ALL: f64 = 0.97;

/// Shows the progress of a run until it is dropped.
pub(super) struct Display {
    task: JoinHandle<()>,
    bars: Vec<ProgressBar>,
    screen: Screen,
    look: Arc<Mutex<Look>>,
}

/// Looks how far it is.
type Look = dyn FnMut() -> View + Send;

impl Display {
    /// Shows how the files are scanned.
    pub(super) fn scanning(screen: &Screen, progress: &Arc<Progress>) -> Self {
        let progress = Arc::clone(progress);
        Self::show(screen, &["scanning"], move || {
            let now = progress.read();
            let (done, all) = (now.bytes_scanned, now.bytes_total);
            let text = format!("{} of {} MB", done >> 20, all >> 20);
            View::plain(
                (done, all),
                text,
                json!({"doing": "scanning", "bytes_done": done, "bytes": all}),
            )
        })
    }

    /// Shows how the tokens of the turns are counted.
    pub(super) fn counting(screen: &Screen, progress: &Arc<Progress>) -> Self {
        let progress = Arc::clone(progress);
        Self::show(screen, &["counting"], move || {
            let now = progress.read();
            let (done, all) = (now.turns_done, now.turns_total);
            let text = format!("{} of {} turns", number(done), number(all));
            View::plain(
                (done, all),
                text,
                json!({"doing": "counting", "turns_done": done, "turns": all}),
            )
        })
    }

    /// Shows how the turns are labelled: a bar for labels and, where they are asked for, one for rationales.
    pub(super) fn labeling(
        screen: &Screen,
        progress: &Arc<Progress>,
        teacher: &Arc<Teacher>,
        bill: Bill,
    ) -> Self {
        let (progress, teacher) = (Arc::clone(progress), Arc::clone(teacher));
        let mut rates = Rates::since(Instant::now(), &progress.read(), teacher.meter());
        let names = ["labels", "rationales"];
        let names = names.get(..1 + usize::from(bill.with_rationales));
        Self::show(screen, names.unwrap_or_default(), move || {
            let (now, meter) = (progress.read(), teacher.meter());
            let pace = teacher.pace();
            let left = left(&now, bill.with_rationales, pace.quota(), pace.most());
            let mut pace_text = rates.text(Instant::now(), &now, meter);
            if let Some(left) = left {
                pace_text.push_str(&format!(", about {} left", time(left.seconds)));
            }
            let mut rest = rates.of_the_quota(pace.quota(), pace.reach());
            rest.push_str(&bill.text(meter, left));
            rest.push_str(&condition(&teacher));
            let bar = |kind: Kind, text: &str| Bar {
                position: kind.done,
                length: kind.turns,
                text: text.trim_start_matches(", ").to_owned(),
            };
            // What holds the run up is seen first.
            let held_up = condition(&teacher);
            let bars = match bill.with_rationales {
                true => vec![
                    bar(now.labels, &format!("{held_up}{pace_text}")),
                    bar(now.rationales, &rest),
                ],
                false => vec![bar(now.labels, &format!("{held_up}{pace_text}{rest}"))],
            };
            let line = format!("{}{pace_text}{rest}", counters(&now, bill.with_rationales));
            View {
                bars,
                line: format!("{}  {line}", percent(now.turns_done, now.turns_total)),
                json: bill.json(&now, meter, left),
            }
        })
    }

    fn show(screen: &Screen, names: &[&str], look: impl FnMut() -> View + Send + 'static) -> Self {
        let template = "{prefix:10} {bar:16} {human_pos}/{human_len}  {wide_msg}";
        let style = BarStyle::with_template(template).unwrap_or(BarStyle::default_bar());
        let style = style.progress_chars("━╸─");
        let bars = names
            .iter()
            .filter(|_| screen.style() == ProgressStyle::Bar);
        let bars = bars.map(|name| {
            let bar = ProgressBar::new(0).with_style(style.clone());
            screen.bars().add(bar.with_prefix((*name).to_owned()))
        });
        let bars = bars.collect::<Vec<_>>();
        let look: Arc<Mutex<Look>> = Arc::new(Mutex::new(look));
        let (shown, own, looks) = (bars.clone(), screen.clone(), Arc::clone(&look));
        let task = tokio::spawn(async move {
            let screen = own;
            let every = match screen.style() {
                ProgressStyle::Bar => BAR_EVERY,
                _ => LINE_EVERY,
            };
            let mut tick = tokio::time::interval(every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // A machine is told at once what there is to do.
            if screen.style() != ProgressStyle::Json {
                tick.tick().await;
            }
            loop {
                tick.tick().await;
                let view = now(&looks);
                for (shown, bar) in shown.iter().zip(view.bars) {
                    shown.set_length(bar.length);
                    shown.set_position(bar.position);
                    shown.set_message(bar.text);
                }
                match screen.style() {
                    ProgressStyle::Bar => screen.has_bars(true),
                    ProgressStyle::Lines => screen.line(&view.line),
                    ProgressStyle::Json => screen.json(&json!({"progress": view.json})),
                    _ => {}
                }
            }
        });
        Self {
            task,
            bars,
            screen: screen.clone(),
            look,
        }
    }
}

fn now(look: &Mutex<Look>) -> View {
    let mut look = look.lock().unwrap_or_else(PoisonError::into_inner);
    look()
}

impl Drop for Display {
    fn drop(&mut self) {
        self.task.abort();
        // And how it ended.
        if self.screen.style() == ProgressStyle::Json {
            self.screen.json(&json!({"progress": now(&self.look).json}));
        }
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
        self.screen.has_bars(false);
    }
}

/// What is shown at one instant, in each style.
struct View {
    bars: Vec<Bar>,
    line: String,
    json: Value,
}

/// What a bar shows.
struct Bar {
    position: u64,
    length: u64,
    text: String,
}

impl View {
    fn plain((position, length): (u64, u64), text: String, json: Value) -> Self {
        Self {
            line: format!("{}  {text}", percent(position, length)),
            bars: vec![Bar {
                position,
                length,
                text,
            }],
            json,
        }
    }
}

/// What a run costs: what was billed before this process, and whether rationales are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bill {
    pub(super) before: Billed,
    pub(super) with_rationales: bool,
}

impl Bill {
    /// What was billed, and the projected cost at the end if it is known.
    fn text(&self, meter: Reading, left: Option<Projection>) -> String {
        let mut tokens = self.before.tokens;
        tokens += meter.tokens;
        match (Cost::of(tokens), left) {
            (Cost::Usd(usd), Some(left)) => {
                format!(", {usd:.2} of about {:.2} USD", usd + left.usd)
            }
            (Cost::Usd(usd), None) => format!(", {usd:.2} USD"),
            (Cost::Unknown(_), _) => ", cost unknown".into(),
        }
    }
}

impl Bill {
    /// The same for machines, with the progress of the run. Unknown values are `null`.
    fn json(&self, now: &Snapshot, meter: Reading, left: Option<Projection>) -> Value {
        let mut tokens = self.before.tokens;
        tokens += meter.tokens;
        let kind = |kind: &Kind| json!({"done": kind.done, "turns": kind.turns});
        let usd = Cost::of(tokens).usd();
        json!({
            "doing": "labeling",
            "turns_done": now.turns_done,
            "turns": now.turns_total,
            "labels": kind(&now.labels),
            "rationales": self.with_rationales.then(|| kind(&now.rationales)),
            "errors": now.errors,
            "requests": meter.sent,
            "throttled": meter.throttled,
            "usd": usd,
            "usd_at_end": usd.zip(left).map(|(usd, left)| usd + left.usd),
            "seconds_left": left.map(|left| left.seconds.round()),
        })
    }
}

/// How far the calls of each kind are.
fn counters(now: &Snapshot, with_rationales: bool) -> String {
    let of = |kind: &Kind| format!("{}/{}", number(kind.done), number(kind.turns));
    match with_rationales {
        true => format!(
            "labels {} · rationales {}",
            of(&now.labels),
            of(&now.rationales)
        ),
        false => format!("labels {}", of(&now.labels)),
    }
}

/// What is left of the run, if it can be projected.
fn left(now: &Snapshot, with_rationales: bool, quota: Quota, in_flight: u32) -> Option<Projection> {
    let kinds = [now.labels, now.rationales];
    let kinds = kinds.get(..1 + usize::from(with_rationales))?;
    Projection::of(kinds, now.answering?, quota, in_flight)
}

/// Rates over the last minute, from what was counted at its beginning. Time is passed in.
struct Rates {
    past: VecDeque<(Instant, u64, Reading)>,
}

impl Rates {
    /// Rates from `at` on.
    fn since(at: Instant, now: &Snapshot, meter: Reading) -> Self {
        let past = [(at, now.done_here(), meter)].into();
        Self { past }
    }

    fn text(&mut self, at: Instant, now: &Snapshot, meter: Reading) -> String {
        self.past.push_back((at, now.done_here(), meter));
        while self.past.len() > 2
            && self
                .past
                .front()
                .is_some_and(|(then, ..)| at - *then > RATES_OVER)
        {
            self.past.pop_front();
        }
        let Some(&(then, turns_then, meter_then)) = self.past.front() else {
            return String::new();
        };
        let minutes = (at - then).as_secs_f64() / 60.0;
        let rate = |now: u64, then: u64| {
            if minutes > 0.0 {
                now.saturating_sub(then) as f64 / minutes
            } else {
                0.0
            }
        };
        let turns = rate(now.done_here(), turns_then);
        let tokens = |meter: Reading| meter.tokens.prompt + meter.tokens.completion;
        let errors = now.errors.values().sum::<u64>();
        let mut text = format!(
            ", {} turns/min, {} requests/min, {} tokens/min, {} errors",
            number(turns as u64),
            number(rate(meter.sent, meter_then.sent) as u64),
            number(rate(tokens(meter), tokens(meter_then)) as u64),
            number(errors),
        );
        if meter.throttled > 0 {
            text.push_str(&format!(", {} × 429", number(meter.throttled)));
        }
        text
    }

    /// The share of `quota` that is used, and what the calls in flight can `reach` of it, where that is
    /// less.
    fn of_the_quota(&self, quota: Quota, reach: Option<f64>) -> String {
        if !quota.is_limited() {
            return String::new();
        }
        let (Some(&(then, _, before)), Some(&(at, _, now))) = (self.past.front(), self.past.back())
        else {
            return String::new();
        };
        let seconds = (at - then).as_secs_f64();
        let tokens = now.tokens.reserved - before.tokens.reserved;
        let needed = quota.seconds(tokens as f64, (now.sent - before.sent) as f64);
        let mut text = match seconds > 0.0 {
            true => format!(", {:.0} % of the quota", 100.0 * needed / seconds),
            false => String::new(),
        };
        if let Some(reach) = reach.filter(|&reach| reach < NEARLY_ALL) {
            text.push_str(&format!(" (--concurrency reaches {:.0} %)", 100.0 * reach));
        }
        text
    }
}

/// What holds the run up, as the end of a line.
fn condition(teacher: &Teacher) -> String {
    let mut text = String::new();
    if let Some(outage) = teacher.outage() {
        text.push_str(&format!(
            ", OUTAGE for {} ({}), probing",
            time(outage.lasts.as_secs_f64()),
            outage.why
        ));
    } else if let Some(paused) = teacher.pace().paused_for() {
        text.push_str(&format!(
            ", the service asks to wait {}",
            time(paused.as_secs_f64())
        ));
    }
    if teacher.is_closed() {
        text.push_str(", finishing what is in flight");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::figures::Tokens;

    fn snapshot(turns_done: u64, turns_before: u64) -> Snapshot {
        Snapshot {
            turns_total: 1_000,
            turns_done,
            turns_before,
            ..Snapshot::default()
        }
    }

    fn meter(sent: u64) -> Reading {
        let tokens = Tokens {
            prompt: 500 * sent,
            ..Tokens::default()
        };
        Reading {
            sent,
            tokens,
            ..Reading::default()
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_first_line_has_rates_already() {
        let start = Instant::now();
        let mut rates = Rates::since(start, &snapshot(0, 0), meter(1));
        assert_eq!(
            rates.text(start + seconds(5), &snapshot(100, 0), meter(201)),
            ", 1,200 turns/min, 2,400 requests/min, 1,200,000 tokens/min, 0 errors"
        );
    }

    #[test]
    fn what_was_found_done_is_no_pace() {
        let start = Instant::now();
        let mut rates = Rates::since(start, &snapshot(0, 0), meter(0));
        assert_eq!(
            rates.text(start + seconds(6), &snapshot(910, 900), meter(20)),
            ", 100 turns/min, 200 requests/min, 100,000 tokens/min, 0 errors"
        );
    }

    #[test]
    fn labels_and_rationales_are_two_counters() {
        let kind = |done, turns| Kind {
            done,
            turns,
            ..Kind::default()
        };
        let now = Snapshot {
            labels: kind(312, 391),
            rationales: kind(41, 339),
            ..Snapshot::default()
        };
        assert_eq!(counters(&now, true), "labels 312/391 · rationales 41/339");
        assert_eq!(counters(&now, false), "labels 312/391");
    }

    #[test]
    fn the_share_of_the_quota_is_that_of_the_scarcer_half_of_it() {
        let start = Instant::now();
        let reading = |sent, reserved| Reading {
            sent,
            tokens: Tokens {
                reserved,
                ..Tokens::default()
            },
            ..Reading::default()
        };
        let mut rates = Rates::since(start, &snapshot(0, 0), reading(10, 5_000));
        rates.text(start + seconds(6), &snapshot(50, 0), reading(60, 45_000));
        let quota = |tpm, rpm| Quota::new(tpm, rpm);
        let tokens = rates.of_the_quota(quota(1_000_000, 10_000), Some(1.2));
        assert_eq!(tokens, ", 40 % of the quota");
        let requests = rates.of_the_quota(quota(1_000_000, 1_000), Some(0.6));
        assert_eq!(requests, ", 50 % of the quota (--concurrency reaches 60 %)");
    }

    #[test]
    fn money_counts_what_was_spent_before_and_an_unknown_price_is_no_number() {
        let tokens = |dollars: &str| Tokens {
            usd: dollars.parse().unwrap(),
            ..Tokens::default()
        };
        let bill = |tokens| Bill {
            before: Billed { tokens, turns: 100 },
            with_rationales: true,
        };
        let meter = Reading {
            tokens: tokens("1.75"),
            ..Reading::default()
        };
        let before = tokens("3.5");
        let unpriced = Tokens {
            unpriced: 1,
            ..before
        };
        let left = Some(Projection {
            usd: "29.75".parse().unwrap(),
            seconds: 1.0,
        });
        assert_eq!(bill(before).text(meter, left), ", 5.25 of about 35.00 USD");
        assert_eq!(bill(before).text(meter, None), ", 5.25 USD");
        assert_eq!(bill(unpriced).text(meter, left), ", cost unknown");
    }

    #[test]
    fn a_minute_ago_is_forgotten() {
        let start = Instant::now();
        let mut rates = Rates::since(start, &snapshot(0, 0), meter(0));
        for (second, done) in [(30, 600), (59, 600), (91, 600)] {
            let text = rates.text(start + seconds(second), &snapshot(done, 0), meter(0));
            let standing = second > 90;
            assert_eq!(text.contains(" 0 turns/min"), standing, "{text}");
        }
    }
}
