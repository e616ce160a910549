use proptest::prelude::*;

use super::tests::{at, candidate, first};
use super::*;

const TOKENS: [&str; 12] = [
    "0", "1", " 0", " 1", "0\n", "1\t", "10", "A", "Sure", "", "０", "\n",
];

fn any_logprob() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -12.0..=0.0f64,
        2 => -9999.0..=0.0f64,
        1 => Just(ABSENT),
        1 => Just(0.0),
        1 => 0.0..=1e-3,
        1 => any::<f64>(),
    ]
}

fn any_list() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::sample::subsequence(TOKENS.to_vec(), 0..=6)
        .prop_shuffle()
        .prop_flat_map(|tokens| {
            let n = tokens.len();
            (Just(tokens), proptest::collection::vec(any_logprob(), n))
        })
        .prop_map(|(tokens, lps)| tokens.iter().zip(lps).map(|(t, lp)| at(t, lp)).collect())
}

prop_compose! {
    fn any_first_token()(
        top in any_list(),
        sampled in proptest::sample::select(TOKENS.to_vec()),
        logprob in any_logprob(),
        requested in 0..=8u8,
    ) -> FirstToken {
        FirstToken { sampled: at(sampled, logprob), top, requested }
    }
}

prop_compose! {
    /// Lists as they come from a model: probabilities that sum to at most 1.
    fn plausible()(
        weights in proptest::collection::vec(1e-6..1.0f64, TOKENS.len()),
        listed in proptest::sample::subsequence((0..TOKENS.len()).collect::<Vec<_>>(), 1..=6),
        requested in 1..=6u8,
    ) -> FirstToken {
        let total: f64 = weights.iter().sum();
        let top: Vec<_> =
            listed.iter().map(|&i| candidate(TOKENS[i], weights[i] / total)).collect();
        FirstToken { sampled: top[0].clone(), top, requested }
    }
}

fn mirrored(token: &FirstToken) -> FirstToken {
    let mirror = |c: &Candidate| {
        let text: String = c
            .token
            .chars()
            .map(|c| match c {
                '0' => '1',
                '1' => '0',
                other => other,
            })
            .collect();
        at(&text, c.logprob)
    };
    FirstToken {
        sampled: mirror(&token.sampled),
        top: token.top.iter().map(mirror).collect(),
        requested: token.requested,
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

proptest! {
    #[test]
    fn the_estimate_is_a_probability_within_its_bounds(token in any_first_token()) {
        if let Ok(e) = estimate(&token) {
            prop_assert!(e.soft > 0.0 && e.soft < 1.0, "{e:?}");
            let margin = if e.censored { CENSORED_MARGIN } else { MEASURED_MARGIN };
            prop_assert!(e.soft >= margin && e.soft <= 1.0 - margin);
            prop_assert!(e.low <= e.high);
            prop_assert!(clamp(e.low, margin) <= e.soft && e.soft <= clamp(e.high, margin), "{e:?}");
            for p in [e.low, e.high, e.p0, e.p1, e.mass] {
                prop_assert!((0.0..=1.0).contains(&p), "{e:?}");
            }
        }
    }

    #[test]
    fn the_order_of_the_candidates_does_not_matter(
        (token, shuffled) in any_first_token()
            .prop_flat_map(|t| (Just(t.clone()), Just(t.top).prop_shuffle()))
    ) {
        let other = FirstToken { top: shuffled, ..token.clone() };
        match (estimate(&token), estimate(&other)) {
            (Ok(a), Ok(b)) => {
                prop_assert!(close(a.soft, b.soft) && close(a.low, b.low) && close(a.high, b.high));
                prop_assert_eq!(a.censored, b.censored);
            }
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
        }
    }

    #[test]
    fn swapping_the_labels_mirrors_the_estimate(token in any_first_token()) {
        match (estimate(&token), estimate(&mirrored(&token))) {
            (Ok(a), Ok(b)) => {
                prop_assert!(close(a.soft, 1.0 - b.soft), "{a:?} {b:?}");
                prop_assert!(close(a.low, 1.0 - b.high) && close(a.high, 1.0 - b.low));
                prop_assert!(close(a.p0, b.p1) && close(a.mass, b.mass));
            }
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
        }
    }

    #[test]
    fn splitting_a_label_among_its_variants_changes_nothing(
        p0 in 0.01..0.45f64, p1 in 0.01..0.45f64, share in 0.01..0.99f64
    ) {
        let whole = estimate(&first("1", &[("0", p0), ("1", p1)], 5)).unwrap();
        let split = [("0", p0), ("1", p1 * share), (" 1", p1 * (1.0 - share))];
        let split = estimate(&first("1", &split, 5)).unwrap();
        prop_assert!(close(whole.soft, split.soft) && close(whole.mass, split.mass));
    }

    #[test]
    fn an_equal_bias_on_both_labels_cancels(
        p0 in 0.01..0.45f64, p1 in 0.01..0.45f64, bias in -700.0..0.0f64
    ) {
        let plain = estimate(&first("1", &[("0", p0), ("1", p1)], 5)).unwrap();
        let top = vec![at("0", p0.ln() + bias), at("1", p1.ln() + bias)];
        let biased =
            estimate(&FirstToken { sampled: top[1].clone(), top, requested: 5 }).unwrap();
        prop_assert!(close(plain.soft, biased.soft));
    }

    #[test]
    fn the_bounds_hold_whatever_the_missing_label_had(token in plausible(), hidden in 0.0..=1.0f64) {
        if let Ok(e) = estimate(&token) {
            if e.censored {
                // Give the label that was not listed any part of what it could have had.
                let u = 1.0 - token.top.iter().map(|c| c.logprob.exp()).sum::<f64>();
                let full = token.top.len() >= usize::from(token.requested);
                let least = token.top.iter().map(|c| c.logprob.exp()).fold(1.0, f64::min);
                let missing = hidden * if full { u.min(least) } else { u }.max(0.0);
                let (p0, p1) = if e.p0 == 0.0 { (missing, e.p1) } else { (e.p0, missing) };
                let truth = p1 / (p0 + p1);
                prop_assert!(e.low <= truth + 1e-9 && truth <= e.high + 1e-9, "{e:?} {truth}");
            } else {
                prop_assert!(close(e.soft, e.p1 / (e.p0 + e.p1)));
            }
        }
    }
}
