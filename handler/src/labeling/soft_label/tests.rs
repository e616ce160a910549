use super::*;

pub(super) fn candidate(token: &str, probability: f64) -> Candidate {
    at(token, probability.ln())
}

pub(super) fn at(token: &str, logprob: f64) -> Candidate {
    Candidate {
        token: token.to_owned(),
        bytes: Some(token.as_bytes().to_vec()),
        logprob,
    }
}

pub(super) fn first(sampled: &str, top: &[(&str, f64)], requested: u8) -> FirstToken {
    let top: Vec<Candidate> = top.iter().map(|&(token, p)| candidate(token, p)).collect();
    let sampled = top
        .iter()
        .find(|c| c.token == sampled)
        .cloned()
        .unwrap_or_else(|| at(sampled, ABSENT));
    FirstToken {
        sampled,
        top,
        requested,
    }
}

#[track_caller]
fn assert_close(actual: f64, expected: f64) {
    assert!(
        (actual - expected).abs() < 1e-12,
        "{actual} is not {expected}"
    );
}

#[test]
fn both_labels_listed_are_measured() {
    // 0.2 / (0.6 + 0.2)
    let estimate = estimate(&first("0", &[("0", 0.6), ("1", 0.2), ("The", 0.1)], 5)).unwrap();
    assert_close(estimate.soft, 0.25);
    assert_eq!(
        (estimate.low, estimate.high),
        (estimate.soft, estimate.soft)
    );
    assert!(!estimate.censored);
    assert_close(estimate.p0, 0.6);
    assert_close(estimate.p1, 0.2);
    assert_close(estimate.mass, 0.8);
    assert_eq!(estimate.generated, "0");
    assert_eq!(estimate.generated_label, Some(Label::Zero));
}

#[test]
fn variants_with_whitespace_are_summed_and_longer_tokens_are_not() {
    let list = [
        ("1", 0.3),
        (" 1", 0.1),
        ("1\n", 0.1),
        ("0", 0.25),
        ("10", 0.2),
    ];
    let estimate = estimate(&first("1", &list, 5)).unwrap();
    // 0.5 / 0.75
    assert_close(estimate.soft, 2.0 / 3.0);
    assert_close(estimate.mass, 0.75);
}

#[test]
fn a_single_entry_leaves_the_other_label_bounded() {
    let estimate = estimate(&first("1", &[("1", 0.9)], 5)).unwrap();
    // u = 0.1; [0.9 / 1.0, 1]; 0.9 / 0.95
    assert!(estimate.censored);
    assert_close(estimate.low, 0.9);
    assert_close(estimate.high, 1.0);
    assert_close(estimate.soft, 0.9 / 0.95);
    assert_eq!(estimate.p0, 0.0);
}

#[test]
fn only_zero_listed_is_the_mirror_image() {
    let estimate = estimate(&first("0", &[("0", 0.9)], 5)).unwrap();
    assert!(estimate.censored);
    assert_close(estimate.low, 0.0);
    assert_close(estimate.high, 0.1);
    assert_close(estimate.soft, 0.05 / 0.95);
}

#[test]
fn a_full_list_bounds_what_is_not_in_it_by_its_smallest_entry() {
    let list = [
        ("1", 0.8),
        ("A", 0.04),
        ("B", 0.03),
        ("C", 0.02),
        ("D", 0.01),
    ];
    // Σ = 0.9, but nothing outside a full list is above 0.01.
    let full = estimate(&first("1", &list, 5)).unwrap();
    assert_close(full.low, 0.8 / 0.81);
    assert_close(full.soft, 0.8 / 0.805);
    // One entry short of what was asked for says nothing of the kind.
    let short = estimate(&first("1", &list[..4], 5)).unwrap();
    assert_close(short.low, 0.8 / (0.8 + 0.11));
}

#[test]
fn entries_without_a_probability_do_not_fill_the_list() {
    let mut token = first("1", &[("1", 0.8), ("A", 0.04), ("B", 0.03), ("C", 0.02)], 5);
    for absent in [
        ABSENT,
        -1e5,
        f64::NAN,
        f64::NEG_INFINITY,
        f64::INFINITY,
        0.5,
    ] {
        token.top.push(at("0", absent));
        let estimate = estimate(&token).unwrap();
        assert!(estimate.censored, "{absent}");
        assert_close(estimate.low, 0.8 / (0.8 + 0.11));
        token.top.pop();
    }
}

#[test]
fn the_sampled_token_counts_where_the_list_lacks_it() {
    let mut token = first("0", &[("1", 0.9)], 1);
    token.sampled = candidate("0", 0.05);
    let estimate = estimate(&token).unwrap();
    assert!(!estimate.censored);
    assert_close(estimate.soft, 0.9 / 0.95);
}

#[test]
fn the_sampled_token_counts_once_whether_or_not_it_has_bytes() {
    let mut token = first("1", &[("1", 0.6), ("0", 0.2)], 5);
    token.sampled.bytes = None;
    assert_close(estimate(&token).unwrap().soft, 0.75);
}

#[test]
fn a_sampled_token_without_probability_still_is_what_was_generated() {
    let estimate = estimate(&first("1", &[("0", 0.99)], 1)).unwrap();
    assert!(estimate.censored);
    assert_eq!(estimate.generated_label, Some(Label::One));
    assert!(estimate.soft < 0.01);
}

#[test]
fn bytes_say_more_than_the_token() {
    let odd = |token: &str, bytes: &[u8], p: f64| Candidate {
        token: token.to_owned(),
        bytes: Some(bytes.to_vec()),
        logprob: p.ln(),
    };
    let token = FirstToken {
        sampled: odd("\\x31", b"1", 0.6),
        top: vec![
            odd("\\x31", b"1", 0.6),
            odd("0", &[0xf0, 0x9f], 0.3),
            odd("x", b"0", 0.1),
        ],
        requested: 5,
    };
    let estimate = estimate(&token).unwrap();
    assert_close(estimate.p0, 0.1);
    assert_close(estimate.p1, 0.6);
    assert_eq!(estimate.generated, "1");
}

#[test]
fn neither_label_is_no_label() {
    let error = estimate(&first("Sure", &[("Sure", 0.9), ("I", 0.1)], 2)).unwrap_err();
    assert_eq!(
        error,
        NoLabel::NotListed {
            generated: "Sure".to_owned()
        }
    );
    let error = estimate(&first("1", &[], 5)).unwrap_err();
    assert_eq!(error, NoLabel::NoProbability);
    assert!(!error.to_string().contains("neither"));
}

#[test]
fn a_logprob_above_0_by_rounding_is_0() {
    for rounded in [0.0, -0.0, 1.2e-7, 1e-4, 1e-3] {
        let top = vec![at("1", rounded), at("0", -9.0)];
        let token = FirstToken {
            sampled: at("1", rounded),
            top,
            requested: 5,
        };
        let both = estimate(&token).unwrap();
        assert!(!both.censored, "{rounded}");
        assert_close(both.soft, 1.0 / (1.0 + (-9.0_f64).exp()));
        assert_eq!((both.p1, both.mass), (1.0, 1.0));
        let alone = FirstToken {
            sampled: at("0", rounded),
            top: Vec::new(),
            requested: 5,
        };
        let alone = estimate(&alone).unwrap();
        assert_eq!((alone.soft, alone.p0, alone.censored), (1e-4, 1.0, true));
    }
    let above = FirstToken {
        sampled: at("1", 1.1e-3),
        top: vec![at("1", 1.1e-3)],
        requested: 5,
    };
    assert_eq!(estimate(&above).unwrap_err(), NoLabel::NoProbability);
}

#[test]
fn a_long_token_is_cut() {
    let token = first("0123456789abcdef", &[("0", 0.5)], 5);
    assert_eq!(estimate(&token).unwrap().generated, "0123456789a");
    let token = first("0123456789abcdef", &[("x", 0.5)], 5);
    let error = estimate(&token).unwrap_err().to_string();
    assert!(!error.contains("0123456789ab"), "{error}");
}

#[test]
fn certainty_is_never_written() {
    let top = vec![at("1", 0.0), at("0", -800.0)];
    let measured = estimate(&FirstToken {
        sampled: at("1", 0.0),
        top,
        requested: 5,
    })
    .unwrap();
    assert!(!measured.censored);
    assert_eq!(measured.soft, 1.0 - 1e-6);
    assert_eq!(format!("{:.6}", measured.soft), "0.999999");

    let one = FirstToken {
        sampled: at("0", 0.0),
        top: vec![at("0", 0.0)],
        requested: 5,
    };
    let censored = estimate(&one).unwrap();
    assert_eq!(
        (censored.soft, censored.low, censored.high),
        (1e-4, 0.0, 0.0)
    );
}

#[test]
fn probabilities_that_underflow_still_compare() {
    // e^-800 and e^-801 are both 0 as f64; their ratio is not.
    let top = vec![at("Hello", 0.0), at("1", -800.0), at("0", -801.0)];
    let estimate = estimate(&FirstToken {
        sampled: at("Hello", 0.0),
        top,
        requested: 5,
    })
    .unwrap();
    assert_close(estimate.soft, 1.0 / (1.0 + (-1.0f64).exp()));
    assert_eq!(estimate.mass, 0.0);
}

#[test]
fn one_label_that_underflows_with_nothing_left_over_is_no_nan() {
    let top = vec![at("Hello", 0.0), at("1", -800.0)];
    let token = FirstToken {
        sampled: at("Hello", 0.0),
        top,
        requested: 5,
    };
    let estimate = estimate(&token).unwrap();
    assert_eq!(
        (estimate.soft, estimate.low, estimate.high),
        (1.0 - 1e-4, 1.0, 1.0)
    );
}

#[test]
fn the_full_record_reads_back() {
    // Values of few binary digits: serde_json reads others back to within one unit in the last place.
    let estimate = Estimate {
        soft: 0.75,
        low: 0.5,
        high: 1.0,
        censored: true,
        p0: 0.0,
        p1: 0.5,
        mass: 0.5,
        generated: " 1".to_owned(),
        generated_label: Some(Label::One),
    };
    let json = serde_json::to_string(&estimate).unwrap();
    assert_eq!(serde_json::from_str::<Estimate>(&json).unwrap(), estimate);
}
