//! When the next call may go, for one process and one deployment. Time is passed in, as what has
//! passed since any fixed moment.

use super::adaptive::{Adaptive, Trouble};
use super::demand::{AMPLE, Demand};
use super::lane::{LATENESS, Lane};
use super::minute::Minute;
use super::quota::{Allowance, Quota, RateLimitHeaders};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How much of the requests is used. What is left keeps windows of a second from being overrun where
/// timers are late and the network is not even.
const REQUESTS_USED: f64 = 0.984;

/// How much of the tokens is used, which are counted over a minute.
const TOKENS_USED: f64 = 0.99;

/// The share of the service's minute that is left unused of what it says remains.
const LEFT_ALONE: f64 = 0.005;

/// Seconds below which a wait counts as none.
const ROUNDING: f64 = 1e-6;

/// Calls in flight with `--concurrency auto` until latencies are known.
const AT_FIRST: f64 = 50.0;

/// Weight of one call in the means of sizes and latencies.
const WEIGHT: f64 = 1.0 / 64.0;

/// The part of `most_in_flight` that is forgotten with each call.
const FADING: f64 = 1.0 / 512.0;

/// A 429 that asks for less was one call too many in a short window, not a lack of quota.
const PASSING: Duration = Duration::from_secs(1);

/// How many calls may be in flight at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many, whatever the latency; 0 counts as 1.
    Fixed(u32),
    /// As many as the quota needs at the latency that is measured, and never more than this.
    Auto(u32),
}

impl Concurrency {
    /// `auto`: enough for ten times the first tier's quota, and a bound on memory and connections.
    pub const AUTO: Self = Self::Auto(1000);

    /// The most calls that are ever in flight, at least 1.
    pub fn most(self) -> u32 {
        match self {
            Self::Fixed(most) | Self::Auto(most) => most.max(1),
        }
    }

    /// The same, with no more than `most` calls.
    #[must_use]
    pub fn at_most(self, most: u32) -> Self {
        match self {
            Self::Fixed(calls) => Self::Fixed(calls.min(most)),
            Self::Auto(calls) => Self::Auto(calls.min(most)),
        }
    }
}

/// Whether the next call may go, and if not, when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It may go at once.
    Now,
    /// Not before that moment, and not surely then.
    At(Duration),
    /// The service asked for a pause until that moment.
    Paused(Duration),
    /// Not before something else happens: a call ends, or a share of the quota is granted.
    Blocked,
}

/// A call that went: what its answer is reported with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sent {
    at: Duration,
    tokens: u64,
    /// Tokens of all calls up to this one.
    charged: u64,
}

/// The pace of one process's calls to one deployment.
#[derive(Clone, Debug)]
pub struct Pacer {
    allowance: Allowance,
    concurrency: Concurrency,
    /// Calls in flight that the service bears.
    bearable: Adaptive,
    in_flight: u32,
    /// The most calls in flight of late; fades with each call.
    most_in_flight: f64,
    /// The share of the quota that is this process's, and until when.
    share: f64,
    share_until: Option<Duration>,
    tokens: Lane,
    requests: Lane,
    minute: Minute,
    account: Option<Account>,
    /// Tokens of all calls so far.
    charged: u64,
    paused_until: Duration,
    /// When trouble was last counted; what was sent before belongs to it.
    trouble: Option<Duration>,
    /// The share of the quota and the calls in flight before nothing came but 429.
    steady: Option<(Adaptive, Adaptive)>,
    /// Mean of the tokens of a call, and of its seconds to an answer.
    mean_tokens: Option<f64>,
    mean_latency: Option<f64>,
    /// Tokens of the next call, while it waits for its minute and pays in advance.
    saving: f64,
    demand: Demand,
}

/// The service's own account of its minute's tokens, as of one call.
#[derive(Clone, Copy, Debug)]
struct Account {
    remaining: f64,
    sent: Sent,
    /// When the service's minute ends.
    until: Duration,
}

impl Pacer {
    /// Pacing for `quota` from `now` on, all of it this process's until a share is set.
    pub fn new(quota: Quota, concurrency: Concurrency, now: Duration) -> Self {
        Self {
            allowance: Allowance::new(quota, now),
            concurrency,
            bearable: Adaptive::new(f64::from(concurrency.most()), 1.0),
            in_flight: 0,
            most_in_flight: 0.0,
            share: 1.0,
            share_until: None,
            tokens: Lane::new(now),
            requests: Lane::new(now),
            minute: Minute::full(now, quota.tpm / 60.0),
            account: None,
            charged: 0,
            paused_until: Duration::ZERO,
            trouble: None,
            steady: None,
            mean_tokens: None,
            mean_latency: None,
            saving: 0.0,
            demand: Demand::new(now),
        }
    }

    /// Whether the next call, which takes `tokens` of the quota, may go. Calls are to ask one after
    /// the other, in the order in which they came: then a large one waits for its turn and no longer.
    pub fn ready(&mut self, now: Duration, tokens: u64) -> Ready {
        self.pass(now);
        if now < self.paused_until {
            self.demand.flows(now);
            return Ready::Paused(self.paused_until);
        }
        if f64::from(self.in_flight) >= self.limit() {
            self.demand.flows(now);
            return Ready::Blocked;
        }
        let share = self.share(now);
        if share <= 0.0 {
            self.demand.is_held_up(now);
            return Ready::Blocked;
        }
        let quota = self.allowance.quota();
        let rate = self.token_rate(now);
        let wait = self
            .tokens
            .wait(rate)
            .max(self.requests.wait(share * REQUESTS_USED * quota.rpm / 60.0));
        // A call does not come in parts: where a share is a few calls a minute, one more or less is
        // evened out by the other shares.
        let uneven = (1.0 - share) * self.mean_tokens.unwrap_or_default();
        let (room, saving) = match self.minute.has_room(tokens as f64 - uneven) {
            true => (now, 0.0),
            false => (self.minute.look_again(now), tokens as f64),
        };
        self.saving = saving;
        if wait < ROUNDING && room <= now {
            return Ready::Now;
        }
        self.demand.is_held_up(now);
        let at = now.saturating_add(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX));
        // What holds now ends with the service's minute, and with the lease.
        let ends = [self.account.map(|account| account.until), self.share_until];
        let sooner = ends.into_iter().flatten().filter(|&end| end > now).min();
        Ready::At(at.max(room).min(sooner.unwrap_or(Duration::MAX)))
    }

    fn pass(&mut self, now: Duration) {
        self.allowance.pass(now);
        if self.account.is_some_and(|account| account.until <= now) {
            self.account = None;
        }
        let share = self.share(now);
        let quota = self.allowance.quota();
        let rate = self.token_rate(now);
        self.tokens.pass(now, rate, self.saving);
        self.minute.pass(now, share * quota.tpm / 60.0);
        self.requests
            .pass(now, share * REQUESTS_USED * quota.rpm / 60.0, 0.0);
    }

    /// Tokens a second.
    fn token_rate(&self, now: Duration) -> f64 {
        let (share, tpm) = (self.share(now), self.allowance.quota().tpm);
        let even = share * TOKENS_USED * tpm / 60.0;
        let left = self.account.and_then(|account| {
            let since = (self.charged - account.sent.charged) as f64;
            let seconds = account.until.checked_sub(now)?.as_secs_f64();
            let left = share * (account.remaining - LEFT_ALONE * tpm) - since;
            Some(left.max(0.0) / seconds)
        });
        left.map_or(even, |left| left.min(even))
    }

    /// The share that holds at a moment: none once the lease on it has run out.
    fn share(&self, now: Duration) -> f64 {
        match self.share_until {
            Some(until) if until <= now => 0.0,
            _ => self.share,
        }
    }

    fn limit(&self) -> f64 {
        self.bearable.value().floor().min(self.wanted())
    }

    /// Calls in flight that there is a use for.
    fn wanted(&self) -> f64 {
        let most = f64::from(self.concurrency.most());
        if let Concurrency::Fixed(_) = self.concurrency {
            return most;
        }
        match self.needed() {
            Some(needed) => (AMPLE * self.share * needed)
                .ceil()
                .clamp(2.0, most.max(2.0)),
            None => AT_FIRST.min(most),
        }
    }

    /// Calls in flight that the whole quota needs at the sizes and latencies measured.
    fn needed(&self) -> Option<f64> {
        let (tokens, latency) = (self.mean_tokens?, self.mean_latency?);
        let a_call = self.allowance.quota().seconds(tokens, 1.0);
        // A little more than the latency: a call's place is free again when the next one is woken.
        let busy = latency + LATENESS.as_secs_f64();
        (a_call > 0.0).then_some(busy / a_call)
    }

    /// The share of the whole quota that the hard cap can reach at the sizes and latencies measured;
    /// above 1 where it is more than enough. `None` before they are known.
    pub fn reach(&self) -> Option<f64> {
        Some(f64::from(self.concurrency.most()) / self.needed()?)
    }

    /// A call goes; [`ready`](Self::ready) has just said that it may.
    pub fn send(&mut self, now: Duration, tokens: u64) -> Sent {
        self.demand.flows(now);
        self.saving = 0.0;
        let quota = self.allowance.quota();
        self.demand.uses(quota.seconds(tokens as f64, 1.0));
        self.minute.charge(now, tokens as f64);
        self.tokens.charge(tokens as f64);
        self.requests.charge(1.0);
        self.in_flight += 1;
        let fading = self.most_in_flight * (1.0 - FADING);
        self.most_in_flight = fading.max(f64::from(self.in_flight));
        self.charged += tokens;
        self.mean_tokens = Some(mean(self.mean_tokens, tokens as f64));
        Sent {
            at: now,
            tokens,
            charged: self.charged,
        }
    }

    /// The next call went, or is given up.
    pub fn nobody_waits(&mut self, now: Duration) {
        self.demand.flows(now);
        self.saving = 0.0;
    }

    /// The service answered with these headers.
    pub fn answered(&mut self, now: Duration, sent: Sent, headers: &RateLimitHeaders) {
        self.steady = None;
        self.allowance.pass(now);
        self.take(sent, headers);
        let latency = now.saturating_sub(sent.at).as_secs_f64();
        self.mean_latency = Some(mean(self.mean_latency, latency));
        // Where fewer are in flight than may be, nothing is found out about how many may be.
        if f64::from(self.in_flight) >= 0.8 * self.bearable.value().floor() {
            self.bearable.grow(1.0 / self.bearable.value(), now);
        }
        self.ended();
    }

    /// The service answered 429, and asks to wait for `after`.
    pub fn throttled(
        &mut self,
        now: Duration,
        sent: Sent,
        headers: &RateLimitHeaders,
        after: Option<Duration>,
    ) {
        self.take(sent, headers);
        // Calls that went before the trouble was known say nothing new.
        if self.trouble.is_none_or(|trouble| sent.at > trouble) {
            let steady = (self.allowance.share(), self.bearable.clone());
            self.steady.get_or_insert(steady);
            self.trouble = Some(now);
            let trouble = match after {
                Some(after) if after < PASSING => Trouble::Passing,
                _ => Trouble::Lasting,
            };
            self.allowance.trouble(trouble, now);
            if trouble == Trouble::Lasting {
                self.bearable.fall(self.most_in_flight, trouble, now);
            }
        }
        self.ended();
    }

    /// No call is answered at any pace: all 429 since then count as one trouble.
    pub fn broke_down(&mut self, now: Duration) {
        if let Some((share, bearable)) = self.steady.take() {
            self.allowance.restore(share);
            self.allowance.trouble(Trouble::Lasting, now);
            let calls = bearable.value();
            self.bearable = bearable;
            self.bearable.fall(calls, Trouble::Lasting, now);
            self.trouble = Some(now);
        }
    }

    /// The service answered 429 to the one call that is sent while it answers none.
    pub fn probed(&mut self, sent: Sent, headers: &RateLimitHeaders) {
        self.take(sent, headers);
        self.ended();
    }

    /// A call ended without an answer.
    pub fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn take(&mut self, sent: Sent, headers: &RateLimitHeaders) {
        if self.allowance.take(headers) {
            self.bearable.forget();
        }
        let newest = self
            .account
            .is_none_or(|account| account.sent.charged <= sent.charged);
        if let (Some(remaining), Some(reset), true) =
            (headers.remaining_tokens, headers.reset_tokens, newest)
        {
            self.account = Some(Account {
                remaining: remaining as f64,
                sent,
                until: sent.at.saturating_add(reset),
            });
        }
    }

    /// No call goes before `until`; a longer pause already in force stays.
    pub fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Until when no call goes, during a pause.
    pub fn paused(&self, now: Duration) -> Option<Duration> {
        (self.paused_until > now).then_some(self.paused_until)
    }

    /// Begins as one of several processes: nothing of the quota is this one's until it gets a share.
    pub fn shared(mut self, now: Duration) -> Self {
        (self.share, self.share_until) = (0.0, Some(now));
        self.minute = Minute::new(now);
        self
    }

    /// From now on `share` of the quota is this process's, until `until`.
    pub fn set_share(&mut self, now: Duration, share: f64, until: Duration) {
        // What has passed until now, has passed at the old share.
        self.pass(now);
        self.share = share;
        self.share_until = Some(until);
    }

    /// From now on no more than `share` of the quota is this process's.
    pub fn lower_share(&mut self, now: Duration, share: f64) {
        self.pass(now);
        self.share = self.share.min(share);
    }

    /// The quota that holds now, for all processes together.
    pub fn quota(&self) -> Quota {
        self.allowance.quota()
    }

    /// The share of the quota that this process could use, going by what it did since it was last
    /// asked: 0 where it sent nothing and no call waits.
    pub fn wants(&mut self, now: Duration) -> f64 {
        let has_share = self.share(now) > 0.0;
        self.demand.take(now, has_share, self.paused_until)
    }
}

fn mean(before: Option<f64>, value: f64) -> f64 {
    before.map_or(value, |before| before + WEIGHT * (value - before))
}
