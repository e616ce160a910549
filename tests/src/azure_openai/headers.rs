//! Headers of answers, each of which the service may leave out.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::chance::mix;
use super::clock::Clock;
use super::config::Headers;
use super::limits::{Limits, MINUTE, NO_QUOTA, Remaining, Shortage, Throttle};

pub(super) const CLIENT_REQUEST_ID: &str = "x-ms-client-request-id";

pub(super) fn common(headers: &mut HeaderMap, wanted: &Headers, request: &HeaderMap, index: u64) {
    if wanted.apim_request_id {
        let (a, b) = (mix(index + 1), mix(index ^ u64::MAX));
        set(
            headers,
            "apim-request-id",
            &format!(
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                a >> 32,
                (a >> 16) & 0xffff,
                a & 0xffff,
                b >> 48,
                b & 0xffff_ffff_ffff,
            ),
        );
    }
    if let Some(id) = request.get(CLIENT_REQUEST_ID) {
        headers.insert(HeaderName::from_static(CLIENT_REQUEST_ID), id.clone());
    }
}

pub(super) fn origin(headers: &mut HeaderMap, deployment: Option<&str>) {
    headers.insert("x-ms-region", HeaderValue::from_static("East US 2"));
    if let Some(deployment) = deployment {
        set(headers, "x-ms-deployment-name", deployment);
    }
}

pub(super) fn rate_limits(
    headers: &mut HeaderMap,
    wanted: &Headers,
    clock: &Clock,
    limits: &Limits,
    remaining: &Remaining,
) {
    // A minute of those outside holds more where service time is faster.
    let a_minute = |limit: u64| (limit as f64 / clock.real(MINUTE).as_secs_f64() * 60.0) as u64;
    if let Some(rpm) = limits.rpm.filter(|_| wanted.rate_limit_requests) {
        number(headers, "x-ratelimit-limit-requests", a_minute(rpm));
        number(
            headers,
            "x-ratelimit-remaining-requests",
            remaining.requests,
        );
        let reset = clock.real(remaining.requests_reset).as_secs_f64().ceil();
        number(headers, "x-ratelimit-reset-requests", reset as u64);
    }
    if let Some(tpm) = limits.tpm.filter(|_| wanted.rate_limit_tokens) {
        number(headers, "x-ratelimit-limit-tokens", a_minute(tpm));
        number(headers, "x-ratelimit-remaining-tokens", remaining.tokens);
        let reset = clock.real(remaining.tokens_reset).as_secs_f64();
        set(headers, "x-ratelimit-reset-tokens", &format!("{reset:.1}s"));
    }
}

pub(super) fn retry_after(
    headers: &mut HeaderMap,
    wanted: &Headers,
    clock: &Clock,
    throttle: &Throttle,
) {
    if wanted.retry_after {
        number(headers, "retry-after", retry_after_seconds(clock, throttle));
    }
    if wanted.retry_after_ms {
        let ms = real_wait(clock, throttle).as_secs_f64() * 1_000.0;
        number(headers, "retry-after-ms", ms.ceil() as u64);
    }
}

/// Whole real seconds until another try can succeed.
pub(super) fn retry_after_seconds(clock: &Clock, throttle: &Throttle) -> u64 {
    (real_wait(clock, throttle).as_secs_f64().ceil() as u64).max(1)
}

fn real_wait(clock: &Clock, throttle: &Throttle) -> Duration {
    // "Tomorrow" is a signal, not a time to wait; compressed it would lose its meaning.
    match throttle.shortage {
        Shortage::Everything => NO_QUOTA,
        Shortage::Calls | Shortage::Tokens => clock.real(throttle.retry_after),
    }
}

fn number(headers: &mut HeaderMap, name: &'static str, value: u64) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
}

/// Sets a header whose value may hold what a header must not; then it is left out.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
