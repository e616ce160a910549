//! When the next call may go, for one process and one deployment. Time is passed in, as what has
//! passed since any fixed moment.

use super::adaptive::{Adaptive, Trouble};
use super::lane::{LATENESS, Lane};
use super::minute::Minute;
use super::quota::{Budget, Quota, Told};
use std::time::Duration;

/// How much of the requests is used. What is left keeps windows of a second from being overrun where
/// timers are late and the network is not even.
const REQUESTS_USED: f64 = 0.984;

/// How much of the tokens is used, which are counted over a minute.
const TOKENS_USED: f64 = 0.99;

/// Of what the service says remains in its minute, so much of the minute is left alone.
const LEFT_ALONE: f64 = 0.005;

/// Seconds that are no wait.
const ROUNDING: f64 = 1e-6;

/// So many times what is needed by what was measured, as no two seconds are alike.
const AMPLE: f64 = 1.5;

/// `--concurrency auto` begins with so many calls in flight, until latencies are known.
const AT_FIRST: f64 = 50.0;

/// Weight of one call in the means of sizes and latencies.
const WEIGHT: f64 = 1.0 / 64.0;

/// What the most calls in flight of late lose with each call.
const FADING: f64 = 1.0 / 512.0;

/// A 429 that asks for less was one call too many in a short window, and no want of quota.
const PASSING: Duration = Duration::from_secs(1);

/// A process that its lanes held up for this part of the time could use more.
const HUNGRY: f64 = 0.5;

/// Calls in flight at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// So many.
    Fixed(u32),
    /// As many as the quota needs at the latency that is measured, and never more than this.
    Auto(u32),
}

impl Concurrency {
    /// `auto`: enough for ten times the first tier's quota, and a bound on memory and connections.
    pub const AUTO: Self = Self::Auto(1000);

    /// The hard cap.
    pub fn most(self) -> u32 {
        match self {
            Self::Fixed(most) | Self::Auto(most) => most.max(1),
        }
    }
}

/// Whether a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It may.
    Now,
    /// Not before that moment, and not surely then.
    At(Duration),
    /// The service asked for a pause until that moment.
    Paused(Duration),
    /// Not before something else happens: a call ends, or a share of the quota is granted.
    Blocked,
}

/// A call that went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sent {
    at: Duration,
    tokens: u64,
    /// Tokens of all calls up to this one.
    charged: u64,
}

/// The state of pacing.
#[derive(Clone, Debug)]
pub struct Pacer {
    budget: Budget,
    concurrency: Concurrency,
    /// Calls in flight that the service bears.
    bearable: Adaptive,
    in_flight: u32,
    /// The most of late.
    most_in_flight: f64,
    /// The share of the budget that is this process's, and until when.
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

/// What the process would use if it had it.
#[derive(Clone, Copy, Debug)]
struct Demand {
    since: Duration,
    /// Seconds of the whole quota.
    used: f64,
    /// Time that the next call waited for its lanes.
    held_up: Duration,
    held_up_since: Option<Duration>,
    /// What it was when it was last asked for.
    wanted: f64,
}

impl Pacer {
    /// Pacing for `quota` from `now` on, all of it this process's until a share is set.
    pub fn new(quota: Quota, concurrency: Concurrency, now: Duration) -> Self {
        Self {
            budget: Budget::new(quota, now),
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
            mean_tokens: None,
            mean_latency: None,
            saving: 0.0,
            demand: Demand::since(now, 0.0),
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
        let quota = self.budget.quota();
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

    /// Time passes.
    fn pass(&mut self, now: Duration) {
        self.budget.pass(now);
        if self.account.is_some_and(|account| account.until <= now) {
            self.account = None;
        }
        let share = self.share(now);
        let quota = self.budget.quota();
        let rate = self.token_rate(now);
        self.tokens.pass(now, rate, self.saving);
        self.minute.pass(now, share * quota.tpm / 60.0);
        self.requests
            .pass(now, share * REQUESTS_USED * quota.rpm / 60.0, 0.0);
    }

    /// Tokens a second.
    fn token_rate(&self, now: Duration) -> f64 {
        let (share, tpm) = (self.share(now), self.budget.quota().tpm);
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

    /// Calls in flight at most, as things are.
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
        let a_call = self.budget.quota().seconds(tokens, 1.0);
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
        let quota = self.budget.quota();
        self.demand.used += quota.seconds(tokens as f64, 1.0);
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

    /// The service answered; its headers say what `told` holds.
    pub fn answered(&mut self, now: Duration, sent: Sent, told: &Told) {
        self.budget.pass(now);
        self.told(sent, told);
        let latency = now.saturating_sub(sent.at).as_secs_f64();
        self.mean_latency = Some(mean(self.mean_latency, latency));
        // Where fewer are in flight than may be, nothing is found out about how many may be.
        if f64::from(self.in_flight) >= 0.8 * self.bearable.value().floor() {
            self.bearable.grow(1.0 / self.bearable.value(), now);
        }
        self.ended();
    }

    /// The service answered 429, and asks to wait for `after`.
    pub fn throttled(&mut self, now: Duration, sent: Sent, told: &Told, after: Option<Duration>) {
        self.told(sent, told);
        // Calls that went before the trouble was known say nothing new.
        if self.trouble.is_none_or(|trouble| sent.at > trouble) {
            self.trouble = Some(now);
            let trouble = match after {
                Some(after) if after < PASSING => Trouble::Passing,
                _ => Trouble::Lasting,
            };
            self.budget.trouble(trouble, now);
            if trouble == Trouble::Lasting {
                self.bearable.fall(self.most_in_flight, trouble, now);
            }
        }
        self.ended();
    }

    /// A call ended without a word of the service.
    pub fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn told(&mut self, sent: Sent, told: &Told) {
        if self.budget.told(told) {
            self.bearable.forget();
        }
        let newest = self
            .account
            .is_none_or(|account| account.sent.charged <= sent.charged);
        if let (Some(remaining), Some(reset), true) =
            (told.remaining_tokens, told.reset_tokens, newest)
        {
            self.account = Some(Account {
                remaining: remaining as f64,
                sent,
                until: sent.at.saturating_add(reset),
            });
        }
    }

    /// Nobody sends before `until`; a longer pause already in force stays.
    pub fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Until when nobody sends, if so.
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
        self.budget.quota()
    }

    /// The share of the quota that this process could use, going by what it did since it was last
    /// asked: 0 where it sent nothing and nobody waits.
    pub fn wants(&mut self, now: Duration) -> f64 {
        let waits = self.demand.held_up_since.is_some();
        self.demand.flows(now);
        let seconds = now.saturating_sub(self.demand.since).as_secs_f64();
        let wants = if waits && self.share(now) <= 0.0
            || self.demand.held_up.as_secs_f64() > HUNGRY * seconds
        {
            1.0
        } else if self.paused_until > self.demand.since {
            // A pause says nothing about what it could use.
            self.demand.wanted.max(AMPLE * self.demand.used / seconds)
        } else if self.demand.used > 0.0 {
            AMPLE * self.demand.used / seconds
        } else {
            0.0
        };
        self.demand = Demand::since(now, wants.min(1.0));
        self.demand.held_up_since = waits.then_some(now);
        self.demand.wanted
    }
}

impl Demand {
    fn since(now: Duration, wanted: f64) -> Self {
        Self {
            since: now,
            used: 0.0,
            held_up: Duration::ZERO,
            held_up_since: None,
            wanted,
        }
    }

    /// The next call waits for its lanes.
    fn is_held_up(&mut self, now: Duration) {
        self.held_up_since.get_or_insert(now);
    }

    /// The next call goes, or waits for something else.
    fn flows(&mut self, now: Duration) {
        if let Some(since) = self.held_up_since.take() {
            self.held_up += now.saturating_sub(since);
        }
    }
}

fn mean(before: Option<f64>, value: f64) -> f64 {
    before.map_or(value, |before| before + WEIGHT * (value - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        tpm: 600_000.0,
        rpm: 60_000.0,
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn pacer(concurrency: Concurrency) -> Pacer {
        Pacer::new(QUOTA, concurrency, Duration::ZERO)
    }

    /// Sends a call of `tokens` as soon as that may be from `now` on, and gives when it was.
    fn send(pacer: &mut Pacer, now: Duration, tokens: u64) -> (Duration, Sent) {
        let mut now = now;
        loop {
            match pacer.ready(now, tokens) {
                Ready::Now => return (now, pacer.send(now, tokens)),
                Ready::At(at) | Ready::Paused(at) => now = at,
                Ready::Blocked => panic!("blocked at {now:?}: {pacer:?}"),
            }
        }
    }

    /// Sends calls of 1,000 tokens one after the other, each answered at once, from `now` until `end`.
    /// Gives how many tokens a minute that was.
    fn pace(pacer: &mut Pacer, mut now: Duration, end: Duration) -> f64 {
        let (begun, mut tokens) = (now, 0);
        while now < end {
            let (at, sent) = send(pacer, now, 1_000);
            pacer.answered(at, sent, &Told::default());
            (now, tokens) = (at, tokens + 1_000);
        }
        tokens as f64 * 60.0 / (now - begun).as_secs_f64()
    }

    fn in_flight(pacer: &mut Pacer, now: Duration, calls: usize) -> Vec<Sent> {
        let mut now = now;
        let mut sent = Vec::new();
        for _ in 0..calls {
            let call = send(pacer, now, 10);
            now = call.0;
            sent.push(call.1);
        }
        sent
    }

    fn limits(pacer: &Pacer) -> (f64, f64) {
        (pacer.limit(), pacer.budget.quota().tpm)
    }

    #[test]
    fn calls_go_evenly_at_nearly_all_of_the_quota() {
        let mut pacer = pacer(Concurrency::Fixed(10));
        let used = pace(&mut pacer, seconds(0), seconds(300)) / QUOTA.tpm;
        assert!((0.985..0.995).contains(&used), "{used}");
        // After an idle hour it is the same, from the first call on.
        let (first, _) = send(&mut pacer, seconds(4_000), 1_000);
        assert_eq!(first, seconds(4_000));
        let (second, _) = send(&mut pacer, first, 1_000);
        assert!(second - first > Duration::from_millis(80), "{second:?}");
    }

    #[test]
    fn a_burst_of_429_counts_once_and_the_next_one_again() {
        let mut pacer = pacer(Concurrency::Fixed(100));
        let burst = in_flight(&mut pacer, seconds(10), 40);
        for sent in burst {
            pacer.throttled(seconds(20), sent, &Told::default(), Some(seconds(5)));
        }
        assert_eq!(limits(&pacer), (30.0, 450_000.0));
        for sent in in_flight(&mut pacer, seconds(20), 20) {
            pacer.throttled(seconds(21), sent, &Told::default(), None);
        }
        let (calls, tpm) = limits(&pacer);
        assert!(
            calls < 30.0 && (330_000.0..350_000.0).contains(&tpm),
            "{calls} {tpm}"
        );
    }

    #[test]
    fn one_call_too_many_in_a_short_window_costs_little() {
        let mut pacer = pacer(Concurrency::Fixed(100));
        let sent = in_flight(&mut pacer, seconds(10), 1)[0];
        let wait = Duration::from_millis(80);
        pacer.throttled(seconds(11), sent, &Told::default(), Some(wait));
        assert_eq!(limits(&pacer), (100.0, 0.97 * QUOTA.tpm));
    }

    #[test]
    fn what_trouble_took_comes_back() {
        let mut pacer = pacer(Concurrency::Fixed(40));
        let burst = in_flight(&mut pacer, seconds(10), 40);
        for sent in burst {
            pacer.throttled(seconds(20), sent, &Told::default(), None);
        }
        assert_eq!(pacer.limit(), 30.0);
        let mut now = seconds(30);
        for _ in 0..100 {
            let calls = pacer.limit() as usize;
            let round = in_flight(&mut pacer, now, calls);
            now += seconds(10);
            for sent in round {
                pacer.answered(now, sent, &Told::default());
            }
        }
        assert_eq!(limits(&pacer), (40.0, QUOTA.tpm));
    }

    #[test]
    fn a_pause_holds_for_all_and_no_burst_follows_it() {
        let mut pacer = pacer(Concurrency::Fixed(100));
        pacer.pause(seconds(30));
        pacer.pause(seconds(20));
        assert_eq!(pacer.ready(seconds(10), 1_000), Ready::Paused(seconds(30)));
        assert_eq!(pacer.paused(seconds(29)), Some(seconds(30)));
        let (first, _) = send(&mut pacer, seconds(10), 1_000);
        let (second, _) = send(&mut pacer, first, 1_000);
        assert_eq!(first, seconds(30));
        assert!(second - first > Duration::from_millis(80));
        assert_eq!(pacer.paused(seconds(30)), None);
    }

    #[test]
    fn the_services_own_account_of_its_minute_is_kept_to_until_the_minute_ends() {
        let mut pacer = pacer(Concurrency::Fixed(10));
        let (at, sent) = send(&mut pacer, seconds(30), 1_000);
        // Half of the minute is left, and others took 80 % of its tokens.
        let told = Told {
            remaining_tokens: Some(120_000),
            reset_tokens: Some(seconds(30)),
            ..Told::default()
        };
        pacer.answered(at + seconds(1), sent, &told);
        let used = pace(&mut pacer, seconds(31), seconds(60)) / QUOTA.tpm;
        assert!((0.35..0.41).contains(&used), "{used}");
        let used = pace(&mut pacer, seconds(60), seconds(100)) / QUOTA.tpm;
        assert!((0.98..1.0).contains(&used), "{used}");
    }

    #[test]
    fn without_a_share_or_after_its_lease_nothing_goes() {
        let mut pacer = pacer(Concurrency::Fixed(10)).shared(seconds(0));
        assert_eq!(pacer.ready(seconds(1), 1_000), Ready::Blocked);
        pacer.set_share(seconds(1), 0.25, seconds(13));
        let used = pace(&mut pacer, seconds(1), seconds(12)) / QUOTA.tpm;
        assert!((0.22..0.27).contains(&used), "{used}");
        pacer.lower_share(seconds(12), 0.5);
        assert_eq!(pacer.share, 0.25);
        assert_eq!(pacer.ready(seconds(13), 1_000), Ready::Blocked);
    }

    #[test]
    fn a_process_wants_what_it_used_and_a_half_and_all_if_it_had_to_wait() {
        let mut pacer = pacer(Concurrency::Fixed(10)).shared(seconds(0));
        assert_eq!(pacer.wants(seconds(1)), 0.0);
        assert_eq!(pacer.ready(seconds(1), 1_000), Ready::Blocked);
        assert_eq!(pacer.wants(seconds(2)), 1.0);
        pacer.set_share(seconds(2), 1.0, seconds(100));
        // A call a second is a tenth of this quota.
        for second in 2..7 {
            let (at, sent) = send(&mut pacer, seconds(second), 1_000);
            pacer.answered(at, sent, &Told::default());
        }
        let wants = pacer.wants(seconds(7));
        assert!((wants - 0.15).abs() < 1e-6, "{wants}");
        pacer.pause(seconds(12));
        assert_eq!(pacer.ready(seconds(8), 1_000), Ready::Paused(seconds(12)));
        assert!((pacer.wants(seconds(12)) - 0.15).abs() < 1e-6);
        pace(&mut pacer, seconds(12), seconds(17));
        assert_eq!(pacer.wants(seconds(17)), 1.0);
        assert_eq!(pacer.wants(seconds(22)), 0.0);
    }

    #[test]
    fn auto_takes_half_as_many_again_as_quota_and_latency_need() {
        let mut auto = pacer(Concurrency::Auto(1_000));
        assert_eq!(auto.limit(), 50.0);
        assert_eq!(auto.reach(), None);
        for second in 0..1_000 {
            let (at, sent) = send(&mut auto, seconds(second), 1_000);
            auto.answered(at + seconds(8), sent, &Told::default());
        }
        // Ten calls a second of eight seconds each.
        assert_eq!(auto.limit(), 121.0);
        assert!((auto.reach().unwrap() - 12.5).abs() < 0.1);
        let mut few = Pacer {
            concurrency: Concurrency::Auto(60),
            ..auto.clone()
        };
        assert_eq!(few.limit(), 60.0);
        few.set_share(seconds(1_000), 0.1, seconds(2_000));
        assert_eq!(few.limit(), 13.0);
        let fixed = Pacer {
            concurrency: Concurrency::Fixed(40),
            ..auto
        };
        assert!((fixed.reach().unwrap() - 0.5).abs() < 0.01);
    }
}
