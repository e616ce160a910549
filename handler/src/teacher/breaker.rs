//! The circuit breaker: when nothing comes back but failures, sending stops, and a single probe goes
//! out now and then until one is answered.
//!
//! Without it, a service that is down would use up the attempts of turn after turn, and a paid quota
//! would be spent on 429.

use std::time::Duration;
use tokio::time::Instant;

/// So many different calls, at least, must have failed since the last answer: fewer may be the calls'
/// own fault.
const FAILING_CALLS: u32 = 10;

/// When sending stops and how it is taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endurance {
    /// Without any answer for so long, and only failures, sending stops.
    pub open_after: Duration,
    /// Time between two probes while it is stopped.
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
pub enum Leave {
    /// Everybody.
    Free,
    /// This caller, as the probe.
    Probe,
    /// Nobody before that instant.
    NotBefore(Instant),
}

/// The state of the breaker. Time is passed in.
#[derive(Debug)]
pub struct Breaker {
    endurance: Endurance,
    /// Answers so far: tells calls whether they failed already since the last one.
    answers: u64,
    failing_since: Option<Instant>,
    failing_calls: u32,
    why: String,
    open: Option<Open>,
    reopened: Option<Instant>,
}

/// Whether a call is counted among the failing ones; each call keeps its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted(Option<u64>);

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
            answers: 0,
            failing_since: None,
            failing_calls: 0,
            why: String::new(),
            open: None,
            reopened: None,
        }
    }

    /// Until when nobody would get leave to send, if so.
    pub fn not_before(&self, now: Instant) -> Option<Instant> {
        let open = self.open.as_ref()?;
        match open.probing {
            true => Some(now + self.endurance.probe_every),
            false => Some(open.next_probe).filter(|&probe| now < probe),
        }
    }

    /// Asks for leave to send.
    pub fn leave(&mut self, now: Instant) -> Leave {
        if let Some(instant) = self.not_before(now) {
            return Leave::NotBefore(instant);
        }
        match &mut self.open {
            None => Leave::Free,
            Some(open) => {
                open.probing = true;
                Leave::Probe
            }
        }
    }

    /// The service answered, whatever the answer: it is there.
    pub fn answered(&mut self, now: Instant) {
        self.answers = self.answers.wrapping_add(1);
        self.failing_since = None;
        self.failing_calls = 0;
        if self.open.take().is_some() {
            self.reopened = Some(now);
        }
    }

    /// A call failed, or met 429. `probe` says whether it was the probe. Gives whether the breaker
    /// opened by it.
    pub fn failed(&mut self, why: &str, probe: bool, counted: &mut Counted, now: Instant) -> bool {
        let since = *self.failing_since.get_or_insert(now);
        if counted.0 != Some(self.answers) {
            counted.0 = Some(self.answers);
            self.failing_calls = self.failing_calls.saturating_add(1);
        }
        why.clone_into(&mut self.why);
        let lasting = now.duration_since(since) >= self.endurance.open_after;
        let opens = lasting && self.in_trouble();
        let next_probe = now + self.endurance.probe_every;
        match &mut self.open {
            Some(open) if probe => {
                *open = Open {
                    next_probe,
                    probing: false,
                }
            }
            Some(_) => {}
            None if opens => {
                self.open = Some(Open {
                    next_probe,
                    probing: false,
                });
                return true;
            }
            None => {}
        }
        false
    }

    /// Whether so many calls fail, and none is answered, that it is not the calls' fault.
    pub fn in_trouble(&self) -> bool {
        self.failing_calls >= FAILING_CALLS
    }

    /// When the last outage ended.
    pub fn reopened(&self) -> Option<Instant> {
        self.reopened
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

    /// One failure of each of `calls` calls that failed never before.
    fn fail(breaker: &mut Breaker, calls: u32, at: Instant) -> bool {
        let mut failed = |_| breaker.failed("HTTP 503", false, &mut Counted::default(), at);
        (0..calls).any(&mut failed)
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
                breaker.answered(start + seconds(second));
            }
            assert_eq!(breaker.outage(start + seconds(second)), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_calls_that_fail_for_ever_are_no_outage() {
        let start = Instant::now();
        let mut breaker = Breaker::new(ENDURANCE);
        let mut calls = [Counted::default(); 9];
        for second in 0..100 {
            for counted in &mut calls {
                assert!(!breaker.failed("HTTP 500", false, counted, start + seconds(second)));
            }
        }
        assert!(!breaker.in_trouble());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_hour_before_the_first_failure_is_no_outage() {
        let start = Instant::now();
        let mut breaker = Breaker::new(ENDURANCE);
        breaker.answered(start);
        assert!(!fail(&mut breaker, 50, start + seconds(3600)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_goes_out_until_one_is_answered() {
        let start = Instant::now();
        let mut breaker = open_at(start);
        assert!(matches!(
            breaker.leave(start + seconds(6)),
            Leave::NotBefore(_)
        ));
        assert_eq!(breaker.leave(start + seconds(15)), Leave::Probe);
        assert!(matches!(
            breaker.leave(start + seconds(15)),
            Leave::NotBefore(_)
        ));
        breaker.failed(
            "HTTP 500",
            true,
            &mut Counted::default(),
            start + seconds(16),
        );
        assert!(matches!(
            breaker.leave(start + seconds(20)),
            Leave::NotBefore(_)
        ));
        assert_eq!(breaker.leave(start + seconds(26)), Leave::Probe);
        breaker.abandoned();
        assert_eq!(breaker.leave(start + seconds(27)), Leave::Probe);
        breaker.answered(start + seconds(28));
        assert_eq!(breaker.leave(start + seconds(28)), Leave::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_in_the_end() {
        let start = Instant::now();
        let breaker = open_at(start);
        assert_eq!(breaker.exhausted(start + seconds(59)), None);
        assert!(breaker.exhausted(start + seconds(60)).is_some());
    }
}
