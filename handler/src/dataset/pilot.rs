//! A pilot: some turns of an input, labelled apart from it, to see what a run would give before it is paid
//! for.
//!
//! Which turns those are follows from the input and the selection alone. A turn is shown to the model with
//! the same context as in the whole run.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The turns that a pilot is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Selection {
    /// A random sample of this many turns, from each split and bucket in proportion to its turns.
    Sample {
        /// The number of turns; all, where the input has fewer.
        sample: u64,
        /// Another seed draws other turns.
        seed: u64,
    },
    /// The first turns of the whole input, this many.
    First {
        /// The number of turns; all, where the input has fewer.
        limit: u64,
    },
}

/// What makes a labelled output a pilot's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pilot {
    /// The name, which is part of the name of its output.
    pub name: String,
    /// Which turns it is about.
    #[serde(flatten)]
    pub selection: Selection,
    /// The turns of the whole input, known once that is read.
    pub of_turns: u64,
}

impl Pilot {
    /// What differs from the pilot that is there, as phrases such as `sample: 100 there, 200 here`.
    pub fn differences(&self, there: Option<&Self>) -> Vec<String> {
        let fields = |pilot: Option<&Self>| match serde_json::to_value(pilot) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (here, there) = (fields(Some(self)), fields(there));
        let keys = here.keys().chain(there.keys()).collect::<BTreeSet<_>>();
        let of =
            |fields: &serde_json::Map<_, serde_json::Value>, key: &String| match fields.get(key) {
                Some(value) => value.to_string(),
                None => "none".to_owned(),
            };
        let differ = keys
            .into_iter()
            .filter(|key| here.get(*key) != there.get(*key));
        differ
            .map(|key| format!("{key}: {} there, {} here", of(&there, key), of(&here, key)))
            .collect()
    }
}

impl Selection {
    /// The turns that are picked of each bucket, in increasing order, counted from 0. A bucket is given as
    /// its name and the number of its turns.
    pub fn pick(self, buckets: &[(String, u64)]) -> Vec<Vec<u64>> {
        match self {
            Self::First { limit } => {
                let mut left = limit;
                let first = buckets.iter().map(|(_, turns)| {
                    let picked = left.min(*turns);
                    left -= picked;
                    (0..picked).collect()
                });
                first.collect()
            }
            Self::Sample { sample, seed } => {
                let turns = buckets.iter().map(|(_, turns)| *turns);
                let shares = shares(sample, &turns.collect::<Vec<_>>());
                let picked = buckets.iter().zip(shares);
                let picked = picked.map(|((name, turns), share)| drawn(name, *turns, share, seed));
                picked.collect()
            }
        }
    }
}

/// Divides `sample` among strata of these sizes by largest remainder: no stratum is more than one away from
/// its proportion, none gets more than it has, and of equal remainders the first counts more.
fn shares(sample: u64, sizes: &[u64]) -> Vec<u64> {
    let whole = sizes.iter().map(|size| u128::from(*size)).sum::<u128>();
    let sample = u128::from(sample).min(whole);
    let quota = |size: u64| (u128::from(size) * sample, whole.max(1));
    let mut shares = Vec::with_capacity(sizes.len());
    let mut remainders = Vec::with_capacity(sizes.len());
    for (number, size) in sizes.iter().enumerate() {
        let (times, whole) = quota(*size);
        shares.push(u64::try_from(times / whole).unwrap_or(*size));
        remainders.push((std::cmp::Reverse(times % whole), number));
    }
    let given = shares.iter().map(|share| u128::from(*share)).sum::<u128>();
    let left = usize::try_from(sample - given.min(sample)).unwrap_or_default();
    remainders.sort_unstable();
    for (_, number) in remainders.into_iter().take(left) {
        if let Some(share) = shares.get_mut(number) {
            *share += 1;
        }
    }
    shares
}

/// `share` of the numbers below `turns`, each set of them as likely as any other (Floyd's algorithm). The
/// same name, size, share and seed give the same numbers in every version of this program, which no
/// generator of `rand` promises.
fn drawn(name: &str, turns: u64, share: u64, seed: u64) -> Vec<u64> {
    let seed = xxh3_64_with_seed(name.as_bytes(), seed);
    let mut drawn = BTreeSet::new();
    for last in turns.saturating_sub(share)..turns {
        let random = xxh3_64_with_seed(&last.to_le_bytes(), seed);
        // In 0..=last; what 64 bits do not divide evenly is one in 2^40 for 20 million turns.
        let number = (u128::from(random) * (u128::from(last) + 1)) >> 64;
        let number = u64::try_from(number).unwrap_or(last);
        if !drawn.insert(number) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buckets(turns: &[u64]) -> Vec<(String, u64)> {
        let named = turns.iter().enumerate();
        named.map(|(i, turns)| (format!("b{i}"), *turns)).collect()
    }

    #[test]
    fn a_sample_is_divided_by_largest_remainder() {
        assert_eq!(shares(10, &[50, 30, 20]), [5, 3, 2]);
        assert_eq!(shares(10, &[1, 1, 1]), [1, 1, 1]);
        assert_eq!(shares(2, &[1, 1, 1]), [1, 1, 0]);
        assert_eq!(shares(5, &[0, 7, 0, 4]), [0, 3, 0, 2]);
        assert_eq!(shares(5, &[]), [0; 0]);
        assert_eq!(
            shares(u64::MAX, &[u64::MAX, u64::MAX]).iter().max(),
            Some(&(1 << 63))
        );
    }

    #[test]
    fn the_first_turns_go_on_from_bucket_to_bucket() {
        let first = Selection::First { limit: 4 };
        assert_eq!(
            first.pick(&buckets(&[3, 0, 2, 9])),
            [vec![0, 1, 2], vec![], vec![0], vec![]]
        );
    }

    #[test]
    fn every_turn_is_as_likely_as_any_other() {
        let mut often = [0_u32; 20];
        for seed in 0..4000 {
            for number in drawn("train/short", 20, 5, seed) {
                often[number as usize] += 1;
            }
        }
        // 1,000 each are expected, with a standard deviation of 27.
        assert!(
            often.iter().all(|often| (860..1140).contains(often)),
            "{often:?}"
        );
    }

    #[test]
    fn seeds_and_buckets_draw_differently_and_the_same_again() {
        let draw = |name, seed| drawn(name, 1000, 20, seed);
        assert_eq!(draw("a", 7), draw("a", 7));
        assert_ne!(draw("a", 7), draw("a", 8));
        assert_ne!(draw("a", 7), draw("b", 7));
        // Another version of this program draws the same.
        assert_eq!(drawn("train/short", 100, 3, 7), [34, 66, 68]);
    }

    proptest! {
        #[test]
        fn a_sample_has_its_size_and_every_stratum_its_share(
            sizes in prop::collection::vec(0_u64..500, 0..12),
            sample in 0_u64..800,
            seed in any::<u64>(),
        ) {
            let picked = Selection::Sample { sample, seed }.pick(&buckets(&sizes));
            let whole = sizes.iter().sum::<u64>();
            let size = picked.iter().map(Vec::len).sum::<usize>() as u64;
            prop_assert_eq!(size, sample.min(whole));
            for (picked, turns) in picked.iter().zip(&sizes) {
                prop_assert!(picked.is_sorted_by(|a, b| a < b));
                prop_assert!(picked.iter().all(|number| number < turns));
                let quota = size as f64 * *turns as f64 / whole.max(1) as f64;
                prop_assert!((picked.len() as f64 - quota).abs() < 1.0);
            }
        }
    }
}
