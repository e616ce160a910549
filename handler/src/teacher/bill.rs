//! What an answer says about its bill.
//!
//! Invariant: a request that may have been billed is never counted as free.

use crate::dataset::figures::Tokens;
use crate::json::{Json, field};

/// Tokens that a service may count in addition to the texts that were sent.
const BESIDE_THE_TEXTS: u64 = 1_000;

/// What the answer to one request says about its bill.
#[derive(Debug, Clone, PartialEq)]
pub enum Bill {
    /// The answer's usage.
    Usage(Tokens),
    /// The service may have billed it and no readable usage says what, so the reservation counts.
    Unread,
    /// Nothing was billed.
    Nothing,
}

/// How a request ended, as far as its bill depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// It never reached the service.
    NotSent,
    /// It was sent, and no whole answer came: a time-out or a broken connection.
    Broken,
    /// The service answered.
    Answered {
        /// The HTTP status; for an error object in a 2xx, the status that it names.
        status: u16,
        /// The answer's readable usage.
        usage: Option<Tokens>,
        /// The model may have run: an answer with choices, or one that cannot be parsed; a 400 for the
        /// content filter, the input limit or the output limit.
        evaluated: bool,
    },
}

impl Bill {
    /// The bill of a request that ended like this.
    ///
    /// Microsoft's page on costs names 400 for the content filter or the input limit and 408 as
    /// answers that may be charged; 499 and 5xx may come from a gateway after the model ran.
    pub(super) fn of(ending: Ending) -> Self {
        match ending {
            Ending::NotSent => Self::Nothing,
            Ending::Broken => Self::Unread,
            Ending::Answered {
                usage: Some(tokens),
                ..
            } => Self::Usage(tokens),
            Ending::Answered {
                status, evaluated, ..
            } => match status {
                200..=299 | 400 if evaluated => Self::Unread,
                408 | 499 | 500..=599 => Self::Unread,
                _ => Self::Nothing,
            },
        }
    }
}

/// Reads an answer's `usage`; `None` where it cannot be read. [`believed`] says whether it can be true.
pub(super) fn usage(usage: &Json<'_>) -> Option<Tokens> {
    let prompt = count(field(usage, "prompt_tokens")?)?;
    let completion = match field(usage, "completion_tokens") {
        Some(completion) => count(completion)?,
        None => count(field(usage, "total_tokens")?)?.checked_sub(prompt)?,
    };
    let cached = field(usage, "prompt_tokens_details")
        .and_then(|details| count(field(details, "cached_tokens")?))
        .unwrap_or(0);
    Some(Tokens {
        calls: 1,
        prompt,
        cached: cached.min(prompt),
        completion,
        ..Tokens::default()
    })
}

/// Whether a usage can be true. `sent` is an upper bound of the tokens of the prompt, `longest` the longest answer
/// that was allowed; a usage far above them cannot be.
pub(super) fn believed(usage: &Tokens, sent: u64, longest: u64) -> bool {
    let most = sent.saturating_add(longest).saturating_mul(2);
    let most = most.saturating_add(BESIDE_THE_TEXTS);
    // Every request has a prompt: gateways that do not know write 0.
    usage.prompt > 0 && usage.prompt.saturating_add(usage.completion) <= most
}

/// A number of tokens, also where it is written as `17.0` or `"17"`.
fn count(value: &Json<'_>) -> Option<u64> {
    let number = match value {
        Json::Number(number) => number
            .as_u64()
            .map_or_else(|| number.as_f64(), |n| Some(n as f64)),
        Json::Str(text) => text.trim().parse().ok(),
        _ => None,
    };
    // Above 2^53 a float is not an exact count.
    let whole = number.filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n))?;
    Some(whole as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The usage, where it can be read and believed.
    fn read(value: &Value) -> Option<Tokens> {
        usage(&Json::from(value)).filter(|usage| believed(usage, 1_000, 100))
    }

    #[test]
    fn what_counts_as_spent() {
        let answered = |status, evaluated| Ending::Answered {
            status,
            usage: None,
            evaluated,
        };
        let rows = [
            (Ending::NotSent, Bill::Nothing),
            (Ending::Broken, Bill::Unread),
            (answered(200, true), Bill::Unread),
            (answered(200, false), Bill::Nothing),
            (answered(400, true), Bill::Unread),
            (answered(400, false), Bill::Nothing),
            (answered(401, false), Bill::Nothing),
            (answered(403, true), Bill::Nothing),
            (answered(404, false), Bill::Nothing),
            (answered(408, false), Bill::Unread),
            (answered(409, false), Bill::Nothing),
            (answered(413, true), Bill::Nothing),
            (answered(424, false), Bill::Nothing),
            (answered(425, false), Bill::Nothing),
            (answered(429, false), Bill::Nothing),
            (answered(499, false), Bill::Unread),
            (answered(500, false), Bill::Unread),
            (answered(501, false), Bill::Unread),
            (answered(504, false), Bill::Unread),
        ];
        for (ending, bill) in rows {
            assert_eq!(Bill::of(ending), bill, "{ending:?}");
        }
        let tokens = Tokens {
            calls: 1,
            prompt: 7,
            ..Tokens::default()
        };
        for status in [200, 400, 429, 500] {
            let ending = Ending::Answered {
                status,
                usage: Some(tokens),
                evaluated: false,
            };
            assert_eq!(Bill::of(ending), Bill::Usage(tokens), "{status}");
        }
    }

    #[test]
    fn usage_is_read_in_every_form_that_can_be_believed() {
        let read = |value: Value| {
            let tokens = read(&value)?;
            Some((tokens.prompt, tokens.cached, tokens.completion))
        };
        for (prompt, completion) in [
            (json!(90), json!(2)),
            (json!(90.0), json!(2.0)),
            (json!("90"), json!(" 2 ")),
        ] {
            let value = json!({"prompt_tokens": prompt, "completion_tokens": completion});
            assert_eq!(read(value.clone()), Some((90, 0, 2)), "{value}");
        }
        let total = json!({"prompt_tokens": 90, "total_tokens": 92});
        assert_eq!(read(total), Some((90, 0, 2)));
        for (cached, counted) in [
            (json!(50), 50),
            (json!(500), 90),
            (json!(-5), 0),
            (json!(null), 0),
        ] {
            let value = json!({"prompt_tokens": 90, "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": cached}});
            assert_eq!(read(value.clone()), Some((90, counted, 2)), "{value}");
        }
    }

    #[test]
    fn absurd_usage_is_no_usage() {
        let absurd = [
            json!(null),
            json!("90"),
            json!({}),
            json!({"prompt_tokens": 90}),
            json!({"prompt_tokens": 0, "completion_tokens": 0}),
            json!({"prompt_tokens": null, "completion_tokens": 2}),
            json!({"prompt_tokens": 90, "completion_tokens": null}),
            json!({"prompt_tokens": -90, "completion_tokens": 2}),
            json!({"prompt_tokens": 90.5, "completion_tokens": 2}),
            json!({"prompt_tokens": "many", "completion_tokens": 2}),
            json!({"prompt_tokens": true, "completion_tokens": 2}),
            json!({"prompt_tokens": 90, "completion_tokens": -2}),
            json!({"prompt_tokens": 100_000, "completion_tokens": 2}),
            json!({"prompt_tokens": 90, "completion_tokens": 100_000}),
            json!({"prompt_tokens": 1_u64 << 63, "completion_tokens": 1_u64 << 63}),
            json!({"prompt_tokens": 1e300, "completion_tokens": 2}),
        ];
        for value in absurd {
            assert_eq!(read(&value), None, "{value}");
        }
    }
}
