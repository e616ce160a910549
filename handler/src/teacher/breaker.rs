//! The circuit breaker: when only failures come back, sending stops, and a single probe goes out now and
//! then until one is answered; the shorter the outage so far, the sooner the next probe.
//!
//! Without it, a service that is down would use up the attempts of turn after turn, and a paid quota
//! would be spent on 429. The probe asks about a harmless message, which separates an outage from
//! messages that fail because of their content.

use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// At least this many different messages must have failed since the last answer, or a probe: fewer may fail
/// for what is in them.
const FAILING_MESSAGES: usize = 10;

/// Time between two probes, as a share of how long the outage has lasted: it costs no more than that again.
const SHARE: u32 = 40;

/// Time between two probes at least.
const SOONEST: Duration = Duration::from_millis(250);

/// When sending stops and how it is taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endurance {
    /// After this time without any answer, and only failures, sending stops.
    pub open_after: Duration,
    /// Time between two probes at most, while it is stopped.
    pub probe_every: Duration,
    /// The run stops when this much time has brought no answer.
    pub give_up_after: Duration,
}

/// Why and since when nothing is sent but probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Time since the first failure that no answer followed.
    pub lasts: Duration,
    /// The latest failure, in a few words.
    pub why: String,
}

/// Who may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Everybody.
    Free,
    /// This caller, with the probe.
    Probe,
    /// No call before that instant.
    NotBefore(Instant),
}

/// How one request went, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// The service answered: the message that was asked, if it was not the probe.
    Answered(Option<u128>),
    /// It refused, which says nothing about how it is.
    Refused,
    /// It failed or met 429: the message that was asked, if it was not the probe, and why.
    Failed(Option<u128>, &'a str),
}

/// The state of the breaker. Time is passed in.
#[derive(Debug)]
pub struct Breaker {
    endurance: Endurance,
    failing_since: Option<Instant>,
    /// What failed since the last answer.
    failing: HashSet<u128>,
    why: String,
    /// A probe failed too since the last answer.
    probe_failed: bool,
    open: Option<Open>,
    /// When the last outage ended.
    reopened: Option<Instant>,
    /// When a probe was last answered and none had failed.
    cleared: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    next_probe: Instant,
    probing: bool,
}

impl Breaker {
    /// A closed breaker: everybody may send.
    pub fn new(endurance: Endurance) -> Self {
        Self {
            endurance,
            failing_since: None,
            failing: HashSet::new(),
            why: String::new(),
            probe_failed: false,
            open: None,
            reopened: None,
            cleared: None,
        }
    }

    /// Until when no call may be sent, if sending is held back.
    pub fn not_before(&self, now: Instant) -> Option<Instant> {
        let open = self.open.as_ref()?;
        match open.probing {
            true => Some(now + self.endurance.probe_every),
            false => Some(open.next_probe).filter(|&probe| now < probe),
        }
    }

    /// Time between two probes at most, while sending is stopped.
    pub fn probe_every(&self) -> Duration {
        self.endurance.probe_every
    }

    /// Asks whether to send; a [`Passage::Probe`] is given to one caller at a time.
    pub fn pass(&mut self, now: Instant) -> Passage {
        if let Some(instant) = self.not_before(now) {
            return Passage::NotBefore(instant);
        }
        match &mut self.open {
            None => Passage::Free,
            Some(open) => {
                open.probing = true;
                Passage::Probe
            }
        }
    }

    /// Takes in how a request went. Gives whether the breaker opened by it.
    pub fn settle(&mut self, outcome: Outcome<'_>, now: Instant) -> bool {
        let (message, why) = match outcome {
            Outcome::Answered(message) => {
                if message.is_none() && !self.probe_failed {
                    self.cleared = Some(now);
                }
                self.answered(now);
                return false;
            }
            Outcome::Refused => return false,
            Outcome::Failed(message, why) => (message, why),
        };
        let since = *self.failing_since.get_or_insert(now);
        if let Some(message) = message.filter(|_| !self.in_trouble()) {
            self.failing.insert(message);
        }
        why.clone_into(&mut self.why);
        self.probe_failed |= message.is_none();
        let share = now.duration_since(since) / SHARE;
        let next_probe = now + share.max(SOONEST).min(self.endurance.probe_every);
        match &mut self.open {
            Some(open) if message.is_none() => {
                *open = Open {
                    next_probe,
                    probing: false,
                };
            }
            Some(_) => {}
            None => {
                let lasting = now.duration_since(since) >= self.endurance.open_after;
                if lasting && self.in_trouble() {
                    self.open = Some(Open {
                        next_probe,
                        probing: false,
                    });
                    return true;
                }
            }
        }
        false
    }

    fn answered(&mut self, now: Instant) {
        self.failing_since = None;
        self.failing.clear();
        let probe_failed = std::mem::take(&mut self.probe_failed);
        if self.open.take().is_some() && probe_failed {
            self.reopened = Some(now);
        }
    }

    /// Whether enough messages fail, and none is answered, or a probe fails, that the service may be at
    /// fault.
    pub fn in_trouble(&self) -> bool {
        self.failing.len() >= FAILING_MESSAGES || self.probe_failed
    }

    /// When the last outage ended; an outage counts only if a probe failed.
    pub fn reopened(&self) -> Option<Instant> {
        self.reopened
    }

    /// When a probe last showed that the messages that failed until then did so for what is in them.
    pub fn cleared(&self) -> Option<Instant> {
        self.cleared
    }

    /// The probe was given up before it was answered.
    pub fn abandoned(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// The outage, while the breaker is open.
    pub fn outage(&self, now: Instant) -> Option<Outage> {
        let since = self.failing_since.filter(|_| self.open.is_some())?;
        Some(Outage {
            lasts: now.duration_since(since),
            why: self.why.clone(),
        })
    }

    /// The outage, once it has lasted for too long.
    pub fn exhausted(&self, now: Instant) -> Option<Outage> {
        self.outage(now)
            .filter(|outage| outage.lasts >= self.endurance.give_up_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDURANCE: Endurance = Endurance {
        open_after: Duration::from_secs(5),
        probe_every: Duration::from_secs(10),
        give_up_after: Duration::from_secs(60),
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// One failure of each of `messages` messages.
    fn fail(breaker: &mut Breaker, messages: u128, at: Instant) -> bool {
        let mut failed = |message| {
            let failed = Outcome::Failed(Some(message), "HTTP 503");
            breaker.settle(failed, at)
        };
        (0..messages).any(&mut failed)
    }

    fn open_at(start: Instant) -> Breaker {
        let mut breaker = Breaker::new(ENDURANCE);
        assert!(!fail(&mut breaker, 20, start));
        assert!(fail(&mut breaker, 1, start + seconds(5)));
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_nothing_but_failures_come_for_a_while() {
        let start = Instant::now();
        let breaker = open_at(start);
        let outage = breaker.outage(start + seconds(7)).unwrap();
        assert_eq!(
            outage,
            Outage {
                lasts: seconds(7),
                why: "HTTP 503".into()
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_among_failures_keeps_it_closed() {
        let start = Instant::now();
        let mut breaker = Breaker::new(ENDURANCE);
        for second in 0..100 {
            fail(&mut breaker, 3, start + seconds(second));
            if second % 4 == 3 {
                breaker.settle(Outcome::Answered(Some(1)), start + seconds(second));
            }
            assert_eq!(breaker.outage(start + seconds(second)), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_messages_that_fail_for_ever_are_no_outage() {
        let start = Instant::now();
        let mut breaker = Breaker::new(ENDURANCE);
        for second in 0..100 {
            assert!(!fail(&mut breaker, 9, start + seconds(second)));
        }
        assert!(!breaker.in_trouble());
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_messages_and_a_probe_that_fail_are_an_outage() {
        let start = Instant::now();
        let mut breaker = Breaker::new(ENDURANCE);
        assert!(!fail(&mut breaker, 3, start));
        breaker.settle(Outcome::Failed(None, "HTTP 503"), start + seconds(1));
        assert!(breaker.in_trouble());
        assert!(fail(&mut breaker, 1, start + seconds(5)));
        breaker.settle(Outcome::Answered(None), start + seconds(6));
        assert!(!breaker.in_trouble());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_hour_before_the_first_failure_is_no_outage() {
        let start = Instant::now();
        let mut breaker = Breaker::new(ENDURANCE);
        breaker.settle(Outcome::Answered(None), start);
        assert!(!fail(&mut breaker, 50, start + seconds(3600)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_goes_out_until_one_is_answered() {
        let start = Instant::now();
        let mut breaker = open_at(start);
        assert!(matches!(
            breaker.pass(start + seconds(5)),
            Passage::NotBefore(_)
        ));
        assert_eq!(breaker.pass(start + seconds(6)), Passage::Probe);
        assert!(matches!(
            breaker.pass(start + seconds(15)),
            Passage::NotBefore(_)
        ));
        breaker.settle(Outcome::Failed(None, "HTTP 500"), start + seconds(80));
        assert!(matches!(
            breaker.pass(start + seconds(81)),
            Passage::NotBefore(_)
        ));
        assert_eq!(breaker.pass(start + seconds(82)), Passage::Probe);
        breaker.abandoned();
        assert_eq!(breaker.pass(start + seconds(83)), Passage::Probe);
        breaker.settle(Outcome::Answered(None), start + seconds(84));
        assert_eq!(breaker.reopened(), Some(start + seconds(84)));
        assert_eq!(breaker.cleared(), None);
        assert_eq!(breaker.pass(start + seconds(84)), Passage::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_go_out_soon_at_first_and_every_so_often_in_the_end() {
        let start = Instant::now();
        let mut breaker = open_at(start);
        let mut now = start + seconds(5);
        let mut waits = Vec::new();
        while now < start + seconds(600) {
            let Some(next) = breaker.not_before(now) else {
                panic!("a probe is on its way to nobody");
            };
            waits.push(next - now);
            now = next;
            assert_eq!(breaker.pass(now), Passage::Probe);
            breaker.settle(Outcome::Failed(None, "HTTP 500"), now);
        }
        assert_eq!(waits[0], SOONEST);
        assert!(
            waits.is_sorted() && waits.contains(&seconds(10)),
            "{waits:?}"
        );
        // From 400 seconds on one in ten seconds.
        assert!((180..220).contains(&waits.len()), "{}", waits.len());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_no_probe_met_is_none() {
        let start = Instant::now();
        let mut breaker = open_at(start);
        assert_eq!(breaker.pass(start + seconds(15)), Passage::Probe);
        breaker.settle(Outcome::Answered(None), start + seconds(16));
        assert_eq!(breaker.reopened(), None);
        assert_eq!(breaker.cleared(), Some(start + seconds(16)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_nothing() {
        let start = Instant::now();
        let mut breaker = Breaker::new(ENDURANCE);
        assert!(!fail(&mut breaker, 20, start));
        breaker.settle(Outcome::Refused, start + seconds(1));
        assert!(fail(&mut breaker, 1, start + seconds(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_in_the_end() {
        let start = Instant::now();
        let breaker = open_at(start);
        assert_eq!(breaker.exhausted(start + seconds(59)), None);
        assert!(breaker.exhausted(start + seconds(60)).is_some());
    }
}
