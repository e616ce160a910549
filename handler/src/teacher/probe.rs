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
/// 500 to `top_logprobs` above 1.
const SERVER_ERRORS_BEFORE_ONE: u32 = 2;

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
    loop {
        let request = profile.classification(transport.endpoint().model(), system, user);
        let Exchange { result, .. } = transport.send(&request).await;
        match result {
            Ok(answer) => {
                let mut choice = answer.into_choice();
                return match choice.take_first_token(profile.top_logprobs) {
                    Some(first) if !first.top.is_empty() => {
                        reasons.push(format!(
                            "The deployment answered with {} candidates.",
                            first.top.len()
                        ));
                        Ok(Settled { profile, reasons })
                    }
                    _ => Err(no_logprobs(&choice)),
                };
            }
            Err(Disposition::Stop(Stop::Parameters { param, message })) => {
                let Some((next, reason)) = adapt(&profile, param.as_deref(), &message) else {
                    return Err(match param.as_deref() {
                        Some("logprobs") => Stop::NoLogprobs(message),
                        _ => Stop::Parameters { param, message },
                    });
                };
                if tried.contains(&next) {
                    return Err(Stop::Parameters { param, message });
                }
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
                    return Err(Stop::NoQuota(format!(
                        "429 for {} seconds, and the service asks for {} more",
                        started.elapsed().as_secs(),
                        wait.as_secs()
                    )));
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
                    reasons.push(format!(
                        "top_logprobs is 1, as the deployment answers HTTP 500 to {}.",
                        profile.top_logprobs
                    ));
                    profile.top_logprobs = 1;
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
