//! How the processes of one deployment divide its quota: the record that they share, and what each
//! makes of it. Time is passed in, in milliseconds since 1970.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a share is held; it is free again unless it is renewed by then.
pub const LEASE: Duration = Duration::from_secs(12);

/// How often a share is renewed. One renewal may fail, and the share is still held.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);

/// The wait of a process until it looks again whether others have made room.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The most by which the clocks of two processes differ. Others take a share for free only this much
/// later than its holder stops using it.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// Less than this is no share worth waiting for.
const LEAST: f64 = 1e-6;

/// What the processes share. Changed by compare-and-swap only, so that all see one sequence of
/// versions of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    members: BTreeMap<String, Member>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Member {
    /// From 0 to 1, as `wants`.
    share: f64,
    wants: f64,
    /// Until when it holds the share.
    until_ms: u64,
}

/// What a process has once its share is renewed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renewed {
    /// From 0 to 1.
    pub share: f64,
    /// How long to wait until the next renewal.
    pub next: Duration,
}

impl Record {
    /// The record in `bytes`. An unreadable record counts as empty: live processes register again
    /// within [`RENEW_EVERY`], and until then too much may be sent, which the service answers with 429.
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// The record as it is stored, in JSON; [`read`](Self::read) reads it back.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Renews the share of `name`, which could use `wants` (from 0 to 1) of the quota.
    ///
    /// Each process gets what it wants where there is enough, and else an even part. What none wants is
    /// divided evenly too, so that a process can send a little more without a renewal. A share grows
    /// only into what is free: others make room when they renew theirs, or when theirs run out.
    pub fn renew(&mut self, name: &str, wants: f64, now_ms: u64) -> Renewed {
        let holds = |member: &Member| now_ms < member.until_ms.saturating_add(ms(CLOCKS_DIFFER));
        self.members.retain(|_, member| holds(member));
        self.members.remove(name);
        let taken = self
            .members
            .values()
            .map(|member| member.share)
            .sum::<f64>();
        let others = self.members.values().map(|member| member.wants);
        let fair = fair(wants, others);
        let free = (1.0 - taken).max(0.0);
        let share = fair.min(free);
        let first_end = self.members.values().map(|member| member.until_ms).min();
        let mut next = RENEW_EVERY;
        if share + LEAST < fair {
            next = LOOK_AGAIN;
        } else if let Some(end) = first_end {
            // Others renew long before their end: this comes to pass only where one has died.
            let over = end.saturating_add(ms(CLOCKS_DIFFER)).saturating_sub(now_ms);
            next = next.min(Duration::from_millis(over).max(LOOK_AGAIN));
        }
        let member = Member {
            share,
            wants,
            until_ms: now_ms.saturating_add(ms(LEASE)),
        };
        self.members.insert(name.to_owned(), member);
        Renewed { share, next }
    }

    /// Gives up the share of `name`, which is free at once.
    pub fn leave(&mut self, name: &str) {
        self.members.remove(name);
    }
}

/// The fair share of a process that wants `mine` beside those that want `others`.
fn fair(mine: f64, others: impl Iterator<Item = f64>) -> f64 {
    let mut wants = others.collect::<Vec<_>>();
    let all = wants.len() as f64 + 1.0;
    wants.push(mine);
    wants.sort_by(f64::total_cmp);
    // The least demanding first: what they leave is for the others.
    let (mut left, mut heads) = (1.0, all);
    let mut level = f64::INFINITY;
    for want in wants {
        if want * heads > left {
            level = left / heads;
            break;
        }
        left -= want;
        heads -= 1.0;
    }
    if mine > level {
        level
    } else if level.is_finite() {
        mine
    } else {
        mine + left / all
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn shares(record: &Record) -> f64 {
        record.members.values().map(|member| member.share).sum()
    }

    #[test]
    fn one_alone_has_all_of_it() {
        let mut record = Record::default();
        for wants in [0.0, 0.1, 1.0] {
            let renewed = record.renew("a", wants, NOW);
            assert_eq!(
                renewed,
                Renewed {
                    share: 1.0,
                    next: RENEW_EVERY
                }
            );
        }
    }

    #[test]
    fn a_second_one_gets_its_half_once_the_first_has_made_room() {
        let mut record = Record::default();
        record.renew("a", 1.0, NOW);
        let second = record.renew("b", 1.0, NOW + 1_000);
        assert_eq!((second.share, second.next), (0.0, LOOK_AGAIN));
        assert_eq!(record.renew("a", 1.0, NOW + 5_000).share, 0.5);
        let second = record.renew("b", 1.0, NOW + 5_100);
        assert_eq!((second.share, second.next), (0.5, RENEW_EVERY));
    }

    #[test]
    fn those_that_want_little_get_it_and_the_others_the_rest_evenly() {
        assert_eq!(fair(1.0, [0.1, 1.0].into_iter()), 0.45);
        assert_eq!(fair(0.1, [1.0, 1.0].into_iter()), 0.1);
        assert_eq!(fair(1.0, [1.0, 1.0, 1.0].into_iter()), 0.25);
        // Nobody wants it all: what is over is divided.
        let a = fair(0.2, [0.3, 0.2].into_iter());
        let b = fair(0.3, [0.2, 0.2].into_iter());
        assert!((a - 0.3).abs() < 1e-12 && (b - 0.4).abs() < 1e-12);
        assert_eq!(fair(0.0, std::iter::empty()), 1.0);
    }

    #[test]
    fn a_dead_ones_share_is_free_when_its_lease_and_the_difference_of_clocks_are_over() {
        let mut record = Record::default();
        record.renew("a", 1.0, NOW);
        let over = NOW + ms(LEASE) + ms(CLOCKS_DIFFER);
        assert_eq!(record.renew("b", 1.0, over - 1).share, 0.0);
        assert_eq!(record.renew("b", 1.0, over).share, 1.0);
        assert_eq!(record.members.len(), 1);
    }

    #[test]
    fn whoever_has_its_share_looks_again_when_another_ones_would_run_out() {
        let mut record = Record::default();
        record.renew("a", 1.0, NOW);
        record.renew("b", 1.0, NOW);
        record.renew("a", 1.0, NOW + 1_000);
        record.renew("b", 1.0, NOW + 2_000);
        assert_eq!(record.renew("a", 1.0, NOW + 6_000).next, RENEW_EVERY);
        // b died: it is due at 16 s.
        let renewed = record.renew("a", 1.0, NOW + 11_500);
        assert_eq!(renewed.next, Duration::from_millis(4_500));
        assert_eq!(record.renew("a", 1.0, NOW + 16_000).share, 1.0);
    }

    #[test]
    fn whoever_leaves_leaves_its_share() {
        let mut record = Record::default();
        record.renew("a", 1.0, NOW);
        record.leave("a");
        assert_eq!(record.renew("b", 1.0, NOW + 1).share, 1.0);
    }

    #[test]
    fn it_is_read_back_as_it_was_and_anything_else_is_empty() {
        let mut record = Record::default();
        record.renew("a", 0.3, NOW);
        record.renew("b", 1.0, NOW);
        assert_eq!(Record::read(&record.bytes()), record);
        assert_eq!(Record::read(b"{"), Record::default());
        assert!(shares(&record) <= 1.0);
    }
}
