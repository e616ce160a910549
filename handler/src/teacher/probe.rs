//! The call before a run that settles the request profile.
//!
//! It reads what the deployment refuses and drops or changes that parameter, once, for the whole
//! run. Where no log probabilities are to be had it says so before anything is paid for.

use super::ask::Patience;
use super::disposition::{Disposition, Stop};
use super::profile::{LengthParameter, Profile};
use super::transport::{Exchange, Transport};
use super::wire::Choice;
use std::time::Duration;
use tokio::time::Instant;

/// After so many HTTP 500 in a row a shorter list of candidates is tried: some deployments answer
/// 500 to `top_logprobs` above 1. Others were just out of order, so the longer list is tried again.
const SERVER_ERRORS_BEFORE_ONE: u32 = 2;

/// So many answers without log probabilities say that there are none: a single one may be a refusal
/// or empty, as any answer may.
const ANSWERS_WITHOUT: u32 = 2;

/// A profile that the deployment has answered to.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The parameters.
    pub profile: Profile,
    /// Why they are what they are, one sentence a step.
    pub reasons: Vec<String>,
}

/// Settles the profile of the deployment behind `transport`, starting from `profile`, with the
/// prompts of a harmless classification.
///
/// # Errors
/// Why no run is possible.
pub async fn settle(
    transport: &Transport,
    mut profile: Profile,
    system: &str,
    user: &str,
    patience: Patience,
) -> Result<Settled, Stop> {
    let started = Instant::now();
    let mut reasons = Vec::new();
    let mut tried = vec![profile.clone()];
    let mut faults = 0;
    let mut server_errors = 0;
    let mut without = 0;
    // What was asked for before it was shortened to 1, and whether 1 was answered.
    let mut shortened = None;
    let mut one_is_answered = false;
    // What the service said against log probabilities, while it may be the effort's fault.
    let mut refused = None;
    loop {
        let request = profile.classification(transport.endpoint().model(), system, user);
        let Exchange { result, .. } = transport.send(&request).await;
        match result {
            Ok(answer) => {
                let mut choice = answer.into_choice();
                match choice.take_first_token(profile.top_logprobs) {
                    Some(first) if !first.top.is_empty() => {
                        if let Some(longer) = shortened.filter(|_| !one_is_answered) {
                            one_is_answered = true;
                            server_errors = 0;
                            profile.top_logprobs = longer;
                            continue;
                        }
                        reasons.push(format!(
                            "The deployment answered with {} candidates.",
                            first.top.len()
                        ));
                        return Ok(Settled { profile, reasons });
                    }
                    _ => without += 1,
                }
                if without == ANSWERS_WITHOUT {
                    return Err(no_logprobs(&choice));
                }
            }
            Err(Disposition::Stop(Stop::Parameters { param, message })) => {
                if param.as_deref() == Some("logprobs") {
                    refused = Some(message.clone());
                }
                let adapted = adapt(&profile, param.as_deref(), &message);
                let Some((next, reason)) = adapted.filter(|(next, _)| !tried.contains(next)) else {
                    return Err(match refused {
                        Some(message) => Stop::NoLogprobs(message),
                        None => Stop::Parameters { param, message },
                    });
                };
                reasons.push(format!("{reason} ({message})."));
                tried.push(next.clone());
                profile = next;
            }
            Err(Disposition::Stop(stop)) => return Err(stop),
            Err(Disposition::Turn(error)) => {
                return Err(Stop::Parameters {
                    param: None,
                    message: error.message,
                });
            }
            Err(Disposition::Throttled { after }) => {
                let wait = after.unwrap_or(patience.first_backoff);
                if started.elapsed() + wait > patience.throttling {
                    return Err(Stop::Busy(wait.as_secs()));
                }
                tracing::warn!(
                    wait_s = wait.as_secs(),
                    "the service is busy, the probe waits"
                );
                tokio::time::sleep(wait).await;
            }
            Err(Disposition::Retry { reason, after }) => {
                faults += 1;
                server_errors = if reason == "HTTP 500" {
                    server_errors + 1
                } else {
                    0
                };
                if server_errors == SERVER_ERRORS_BEFORE_ONE && profile.top_logprobs > 1 {
                    let longer = std::mem::replace(&mut profile.top_logprobs, 1);
                    if one_is_answered {
                        reasons.push(format!(
                            "top_logprobs is 1, as the deployment answers HTTP 500 to {longer}."
                        ));
                        return Ok(Settled { profile, reasons });
                    }
                    shortened = Some(longer);
                    tried.push(profile.clone());
                } else if faults >= patience.attempts + SERVER_ERRORS_BEFORE_ONE {
                    return Err(if server_errors > SERVER_ERRORS_BEFORE_ONE {
                        Stop::NoLogprobs(format!("{reason} to every request for them"))
                    } else {
                        Stop::Unreachable(reason)
                    });
                }
                let wait = patience.first_backoff.saturating_mul(1 << faults.min(6)) / 2;
                let wait = wait
                    .min(patience.longest_backoff)
                    .max(after.unwrap_or_default());
                tracing::warn!(%reason, wait_ms = millis(wait), "the probe failed, trying again");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

fn no_logprobs(choice: &Choice) -> Stop {
    let finish = choice.finish_reason.as_deref().unwrap_or("no reason given");
    Stop::NoLogprobs(format!("it answered without them, finish_reason {finish}"))
}

/// The profile without what the deployment refuses, and what changed; `None` where nothing helps.
fn adapt(profile: &Profile, param: Option<&str>, message: &str) -> Option<(Profile, String)> {
    let mut next = profile.clone();
    let reason = match param {
        Some("max_tokens") => {
            next.length = LengthParameter::MaxCompletionTokens;
            next.classification_tokens = next.classification_tokens.max(16);
            "max_completion_tokens instead of max_tokens".into()
        }
        Some("max_completion_tokens") => {
            next.length = LengthParameter::MaxTokens;
            "max_tokens instead of max_completion_tokens".into()
        }
        Some("logit_bias") => {
            next.logit_bias = false;
            "no logit_bias".into()
        }
        Some("reasoning_effort") => {
            next.effort_none = false;
            "no reasoning_effort".into()
        }
        // Models that reason unless told otherwise give log probabilities at effort none only.
        Some("logprobs") => {
            next.effort_none = true;
            next.length = LengthParameter::MaxCompletionTokens;
            next.classification_tokens = next.classification_tokens.max(16);
            "reasoning_effort none".into()
        }
        Some("temperature") => {
            next.temperature = false;
            "no temperature, so the default of 1".into()
        }
        Some("top_logprobs") if profile.top_logprobs > 1 => {
            next.top_logprobs = message
                .rsplit(|c: char| !c.is_ascii_digit())
                .find(|digits| !digits.is_empty())
                .and_then(|digits| digits.parse().ok())
                .filter(|&ceiling| (1..profile.top_logprobs).contains(&ceiling))
                .unwrap_or(1);
            format!("top_logprobs is {}", next.top_logprobs)
        }
        _ if message.contains("max_tokens") && profile.classification_tokens < 16 => {
            next.classification_tokens = 16;
            "room for 16 tokens, as one is not enough".into()
        }
        _ => return None,
    };
    (next != *profile).then_some((next, reason))
}
