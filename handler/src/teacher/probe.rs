//! The call before a run that settles the request profile.
//!
//! It reads what the deployment refuses and drops or changes that parameter, once, for the whole
//! run. If the deployment gives no log probabilities, it says so before anything is paid for.

use super::ask::Patience;
use super::disposition::Disposition;
use super::model::Family;
use super::profile::{LengthParameter, Profile};
use super::purse::Purse;
use super::stop::Stop;
use super::tariff::Tariff;
use super::transport::{Exchange, Transport};
use super::wire::{self, Answer, Choice, Request};
use crate::dataset::figures::Tokens;
use crate::labeling::call;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// After this many HTTP 500 in a row a shorter list of candidates is tried: some deployments answer
/// 500 to `top_logprobs` above 1.
const SERVER_ERRORS_BEFORE_ONE: u32 = 2;

/// Bytes of a token in English, about. Only what an answer without a readable bill counts for depends
/// on it.
const BYTES_A_TOKEN: u64 = 4;

/// A profile that the deployment has answered to.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The parameters.
    pub profile: Profile,
    /// Why they are what they are, one sentence a step.
    pub reasons: Vec<String>,
    /// The model that answered, as the service names it.
    pub answered_by: Option<String>,
}

/// Settles the profile of the deployment behind `transport`, starting from `profile`, with the
/// prompts of a harmless classification. The transport's meter counts what that costs by `tariff`.
///
/// # Errors
/// Why no run is possible.
pub async fn settle(
    transport: &Transport,
    mut profile: Profile,
    system: &str,
    user: &str,
    patience: Patience,
    tariff: Tariff,
) -> Result<Settled, Stop> {
    let mut probe = Probe {
        transport,
        system,
        user,
        patience,
        purse: Purse::unlimited(Arc::new(tariff)),
        answered_by: None,
        started: Instant::now(),
        faults: 0,
    };
    let mut reasons = Vec::new();
    let mut tried = vec![profile.clone()];
    // A single answer without log probabilities may be a refusal or empty, as any answer may.
    let mut asked_again = false;
    // What the service said against log probabilities, while it may be the effort's fault.
    let mut against = None;
    loop {
        match probe.see(&profile).await? {
            Seen::Candidates(count) => {
                reasons.push(format!("The deployment answered with {count} candidates."));
                return Ok(Settled {
                    profile,
                    reasons,
                    answered_by: probe.answered_by,
                });
            }
            Seen::Without(stop) if asked_again => return Err(stop),
            Seen::Without(_) => asked_again = true,
            Seen::Refused { param, message } => {
                if param.as_deref() == Some("logprobs") {
                    against = Some(message.clone());
                }
                let adapted = adapt(&profile, param.as_deref(), &message);
                let Some((next, reason)) = adapted.filter(|(next, _)| !tried.contains(next)) else {
                    return Err(match against {
                        Some(message) => Stop::NoLogprobs(message),
                        None => Stop::Parameters { param, message },
                    });
                };
                reasons.push(format!("{reason} ({message})."));
                tried.push(next.clone());
                profile = next;
            }
            Seen::ServerErrors => {
                let one = Profile {
                    top_logprobs: 1,
                    ..profile.clone()
                };
                // It may just have been out of order: the long list has a second chance.
                if let Seen::Candidates(_) = probe.see(&one).await?
                    && let Seen::ServerErrors = probe.see(&profile).await?
                {
                    reasons.push(format!(
                        "top_logprobs is 1, as the deployment answers HTTP 500 to {}.",
                        profile.top_logprobs
                    ));
                    return Ok(Settled {
                        profile: one,
                        reasons,
                        answered_by: probe.answered_by,
                    });
                }
            }
        }
    }
}

/// What a deployment says to a profile, once passing troubles are waited out.
enum Seen {
    /// It answered with this many candidates.
    Candidates(usize),
    /// It answered without any; why no run would be possible.
    Without(Stop),
    /// It takes no such parameter.
    Refused {
        param: Option<String>,
        message: String,
    },
    /// HTTP 500 to more than one candidate, twice.
    ServerErrors,
}

/// Sends the same question under one profile after the other.
struct Probe<'a> {
    transport: &'a Transport,
    system: &'a str,
    user: &'a str,
    patience: Patience,
    purse: Purse,
    /// The model that answered last.
    answered_by: Option<String>,
    started: Instant,
    /// Passing troubles so far, under all profiles.
    faults: u32,
}

impl Probe<'_> {
    async fn see(&mut self, profile: &Profile) -> Result<Seen, Stop> {
        let model = self.transport.endpoint().model();
        let request = profile.classification(model, self.system, self.user);
        let mut server_errors = 0;
        loop {
            let result = self.send(&request).await;
            match result {
                Ok(answer) => {
                    let mut choice = answer.choice;
                    return Ok(match choice.take_first_token(profile.top_logprobs) {
                        // A list of only the sampled token counts too.
                        Some(first)
                            if first.sampled.logprob.is_finite() || !first.top.is_empty() =>
                        {
                            Seen::Candidates(first.top.len().max(1))
                        }
                        _ => Seen::Without(no_logprobs(&choice)),
                    });
                }
                Err(Disposition::Refused {
                    stop: Stop::Parameters { param, message },
                    ..
                }) => {
                    return Ok(Seen::Refused { param, message });
                }
                Err(Disposition::NoRoom { message }) => {
                    return Ok(Seen::Refused {
                        param: None,
                        message,
                    });
                }
                Err(Disposition::Refused { stop, .. } | Disposition::Stop(stop)) => {
                    return Err(stop);
                }
                Err(Disposition::Turn(error)) => {
                    let message = error.message.trim_end_matches('.');
                    let tried = self.transport.endpoint().tried();
                    return Err(Stop::Refused(message.to_owned()).tried(&tried));
                }
                Err(Disposition::Throttled { after, .. }) => self.wait_for_quota(after).await?,
                Err(Disposition::Retry {
                    reason,
                    status,
                    after,
                }) => {
                    let server_error = status == Some(500);
                    server_errors = if server_error { server_errors + 1 } else { 0 };
                    if server_errors == SERVER_ERRORS_BEFORE_ONE && profile.top_logprobs > 1 {
                        return Ok(Seen::ServerErrors);
                    }
                    self.wait_after_fault(reason, status, after).await?;
                }
            }
        }
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<Answer, Disposition> {
        let prompt = request.text_bytes() / BYTES_A_TOKEN;
        let answer = u64::from(request.answer_tokens());
        // It limits nothing.
        let hold = self.purse.hold(prompt, answer).await.ok();
        let Exchange {
            result,
            bill,
            model,
            ..
        } = self.transport.send(request).await;
        if let Some(hold) = hold {
            self.transport.meter().billed(Tokens {
                reserved: prompt + answer,
                ..hold.settle(&bill, model.as_deref())
            });
        }
        self.answered_by = model.or(self.answered_by.take());
        result
    }

    async fn wait_for_quota(&self, after: Option<Duration>) -> Result<(), Stop> {
        let wait = after.unwrap_or(self.patience.first_backoff);
        let total = self.started.elapsed() + wait;
        if total > self.patience.throttling {
            return Err(Stop::Busy(total.as_secs()));
        }
        tracing::warn!(
            wait_s = wait.as_secs(),
            "the service is busy, the probe waits"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn wait_after_fault(
        &mut self,
        reason: String,
        status: Option<u16>,
        after: Option<Duration>,
    ) -> Result<(), Stop> {
        self.faults += 1;
        if self.faults >= self.patience.attempts {
            return Err(match status {
                Some(500) => Stop::NoLogprobs(format!("{reason} to every request for them")),
                _ => Stop::Unreachable(reason).tried(&self.transport.endpoint().tried()),
            });
        }
        let wait = self.patience.backoff(self.faults - 1);
        let wait = wait.max(self.patience.bounded(after));
        tracing::warn!(%reason, wait_ms = millis(wait), "the probe failed, trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

fn no_logprobs(choice: &Choice) -> Stop {
    let known = ["stop", "length", "tool_calls", "function_call"];
    let finish = choice.finish_reason.as_deref().unwrap_or("no reason given");
    let finish = known
        .into_iter()
        .find(|known| finish == *known)
        .unwrap_or("unknown");
    Stop::NoLogprobs(format!("it answered without them, finish_reason {finish}"))
}

/// The most candidates that a refusal speaks of: the last number in it.
fn ceiling(profile: &Profile, message: &str) -> Option<u8> {
    message
        .rsplit(|c: char| !c.is_ascii_digit())
        .find(|digits| !digits.is_empty())
        .and_then(|digits| digits.parse().ok())
        .filter(|ceiling| (1..profile.top_logprobs).contains(ceiling))
}

/// How many candidates to try where a refusal names no number: five, which all give who give any list, then
/// one.
fn fewer(profile: &Profile) -> u8 {
    match profile.top_logprobs > call::TOP_LOGPROBS {
        true => call::TOP_LOGPROBS,
        false => 1,
    }
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
        // Some servers call the number of candidates so.
        Some("logprobs") if ceiling(profile, message).is_some() => {
            next.top_logprobs = ceiling(profile, message)?;
            format!("top_logprobs is {}", next.top_logprobs)
        }
        Some("logprobs") if profile.family == Family::Compatible => return None,
        // Models that reason by default give log probabilities only at effort none.
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
            next.top_logprobs = ceiling(profile, message).unwrap_or_else(|| fewer(profile));
            format!("top_logprobs is {}", next.top_logprobs)
        }
        Some(wire::SYSTEM_ROLE) => {
            next.no_system_role = true;
            "the instructions stand in the user's message, as there is no system role".into()
        }
        _ if message.contains("max_tokens") && profile.classification_tokens < 16 => {
            next.classification_tokens = 16;
            "room for 16 tokens, as one is not enough".into()
        }
        _ => return None,
    };
    (next != *profile).then_some((next, reason))
}
