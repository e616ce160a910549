//! How many chunks of each run are out: in the queue of `label-chunk` or in work.
//!
//! The platform starts one instance for every 24 messages of a queue. Where all functions share the app's
//! instances, a queue without bound would take every one of them, and nothing else would run. So planning sends
//! the first chunks of a run, each chunk that ends sends the next of its run, and the reconciler gives to runs what
//! others no longer need.
//!
//! With `all` that may be out there are at most 1.5 `all` + [`FIRSTS`], however many runs begin at a moment.

use crate::run::record::{Record, State};
use std::collections::BTreeMap;

/// The number of runs that have a chunk out each, even if `all` is less: a small file should not wait for the
/// reconciler.
pub(crate) const FIRSTS: u64 = 200;

/// How many chunks of a run are sent when it is planned, as one of `runs`.
///
/// A run that is planned knows how many others there are, and not what they have out: the first may have `all`, since
/// it is alone, and `all` / (k (k + 1)) over all further k sum up to half of `all`. The reconciler evens it out.
pub(crate) fn first_out(all: u64, runs: usize) -> u64 {
    match runs as u64 {
        0 | 1 => all,
        runs if runs <= FIRSTS => (all / (runs * (runs + 1))).max(1),
        _ => 0,
    }
}

/// How many more chunks of each run may be out now, by its name, so that `all` are out together: first one for each
/// run that has none, the oldest first, and then the same for each.
pub(crate) fn more_out(all: u64, records: &[Record]) -> BTreeMap<&str, u64> {
    let labeling = records
        .iter()
        .filter(|record| record.state == State::Labeling);
    let out = labeling.clone().map(Record::out).sum::<u64>();
    let mut wanting = labeling
        .filter(|record| record.has_more())
        .collect::<Vec<_>>();
    wanting.sort_by_key(|record| (record.out() > 0, record.created));
    let in_line = wanting.iter().filter(|record| record.is_in_line()).count() as u64;
    let firsts = all.max(FIRSTS).saturating_sub(out).min(in_line);
    let rest = all.saturating_sub(out + firsts);
    let runs = wanting.len() as u64;
    let share = |place: u64| {
        let even = rest.checked_div(runs).unwrap_or_default();
        let odd = rest.checked_rem(runs).unwrap_or_default();
        even + u64::from(place < odd) + u64::from(place < firsts)
    };
    (0..)
        .zip(wanting)
        .map(|(place, record)| (record.run.as_str(), share(place)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::tests::{at, planned};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn run(name: usize, chunks: u64, sent: u64, second: i64) -> Record {
        let mut run = planned(&format!("{name:06}"), chunks);
        run.sent = Some(sent.min(chunks));
        run.created = at(second);
        run
    }

    #[test]
    fn a_run_that_has_none_out_comes_first_and_the_rest_is_even() {
        let records = [run(1, 100, 10, 0), run(2, 100, 0, 2), run(3, 100, 0, 1)];
        let more = more_out(24, &records);
        assert_eq!(
            more,
            BTreeMap::from([("000001", 4), ("000002", 5), ("000003", 5)])
        );
        // Nothing is left for one that has some.
        let records = [run(1, 300, 250, 0), run(2, 9, 0, 1)];
        assert_eq!(more_out(24, &records).values().sum::<u64>(), 0);
        let records = [run(1, 300, 199, 0), run(2, 9, 0, 2), run(3, 9, 0, 1)];
        let more = more_out(24, &records);
        assert_eq!(
            more,
            BTreeMap::from([("000001", 0), ("000002", 0), ("000003", 1)])
        );
    }

    #[test]
    fn however_runs_come_and_go_the_bound_holds_and_each_has_its_turn() {
        for seed in 0..8 {
            let mut rng = StdRng::seed_from_u64(seed);
            let all = [1, 24, 96, 480][rng.random_range(0..4)];
            let (mut open, mut name, mut most) = (Vec::<Record>::new(), 0, 0);
            let mut second = 0;
            while name < 500 || !open.is_empty() {
                second += 1;
                let arrive = match name < 500 {
                    true => rng.random_range(0..=400_usize).saturating_sub(200),
                    false => 0,
                };
                for _ in 0..arrive {
                    let chunks = [1, 3, 600][rng.random_range(0..3)];
                    name += 1;
                    let sent = first_out(all, open.len() + 1);
                    open.push(run(name, chunks, sent, second));
                }
                // Some chunks end, each of which sends the next.
                for record in &mut open {
                    let ends = rng.random_range(0..=record.out());
                    for _ in 0..ends {
                        let finished = record.watch.finished + 1;
                        if record.let_next_out(finished, at(second)).is_none() {
                            record.watch.see(finished, at(second));
                        }
                    }
                }
                open.retain(|record| Some(record.watch.finished) != record.chunks);
                if rng.random_bool(0.5) {
                    let more = more_out(all, &open);
                    let more = open
                        .iter()
                        .map(|record| more.get(record.run.as_str()).copied())
                        .collect::<Vec<_>>();
                    for (record, more) in open.iter_mut().zip(more) {
                        record.let_out(
                            record.out() + more.unwrap_or_default(),
                            record.watch.finished,
                        );
                    }
                }
                most = most.max(open.iter().map(Record::out).sum());
                // Whatever else has chunks, one comes to its end in bounded time: else this would not end.
                assert!(second < 200_000);
            }
            assert!(most <= all + all / 2 + FIRSTS, "{most} of {all}");
        }
    }
}
