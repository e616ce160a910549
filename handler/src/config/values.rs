//! What the values of settings look like.

use super::service::{ENTRA_SCOPE, KEYVAULT_SECRET};
use crate::labeling::task;
use crate::money::{NotAnAmount, Usd};
use crate::teacher::pacing::Concurrency;
use std::time::Duration;

/// A time such as `500ms`, `10s` or `15m`.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write it like 500ms, 10s or 15m");
    let time = text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| wrong())?;
    let day = Duration::from_secs(86_400);
    if (Duration::from_millis(1)..=day).contains(&time) {
        Ok(time)
    } else {
        Err("a time is at least 1ms and at most 24h".into())
    }
}

/// A number of calls in flight, or `auto`.
pub(super) fn parse_concurrency(text: &str) -> Result<Concurrency, String> {
    match text.parse::<u32>() {
        Ok(calls @ 1..=10_000) => Ok(Concurrency::Fixed(calls)),
        Err(_) if text == "auto" => Ok(Concurrency::AUTO),
        _ => Err("give a number of calls in 1..=10000, or auto".into()),
    }
}

/// Messages about chunks that are out at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunksOut {
    /// Enough to keep the instances busy that the quota can use.
    Auto,
    /// This many.
    Fixed(u32),
}

/// A number of messages, or `auto`.
pub(super) fn parse_chunks_out(text: &str) -> Result<ChunksOut, String> {
    match text.parse::<u32>() {
        Ok(chunks @ 1..=100_000) => Ok(ChunksOut::Fixed(chunks)),
        Err(_) if text == "auto" => Ok(ChunksOut::Auto),
        _ => Err("give a number of chunks in 1..=100000, or auto".into()),
    }
}

/// A vault's address, without a slash at its end.
pub(super) fn parse_vault_url(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = text.parse::<reqwest::Url>().ok();
    match url.filter(|url| url.scheme() == "https" && url.path() == "/" && url.query().is_none()) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a vault's address looks like https://NAME.vault.azure.net".into()),
    }
}

/// The name of a vault's secret. It becomes part of a URL.
pub(super) fn parse_secret_name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Ok(KEYVAULT_SECRET.into()),
        name if name.len() <= 127
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') =>
        {
            Ok(name.to_owned())
        }
        _ => Err("the name of a secret is up to 127 letters, digits and dashes".into()),
    }
}

/// A scope of Entra. It becomes part of a command line.
pub(super) fn parse_scope(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Ok(ENTRA_SCOPE.into()),
        scope
            if scope
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._:/".contains(c)) =>
        {
            Ok(scope.to_owned())
        }
        _ => Err(format!("a scope looks like {ENTRA_SCOPE}")),
    }
}

/// The name of a task. It becomes part of a blob's.
pub(super) fn parse_task_name(text: &str) -> Result<String, String> {
    match text.trim() {
        name if task::is_name(name) => Ok(name.to_owned()),
        _ => Err(
            "the name of a task is at most 64 lowercase letters, digits, - and _, and begins with \
             a letter or a digit"
                .into(),
        ),
    }
}

/// An amount of US dollars.
pub(super) fn parse_usd(text: &str) -> Result<Usd, NotAnAmount> {
    text.trim().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("15m"), Ok(Duration::from_secs(900)));
        for wrong in ["", "10", "-3s", "soon", "0s", "48h"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn concurrency_is_a_number_or_auto() {
        assert_eq!(parse_concurrency("50"), Ok(Concurrency::Fixed(50)));
        assert_eq!(parse_concurrency("auto"), Ok(Concurrency::Auto(1000)));
        for wrong in ["", "0", "10001", "-1", "many", "1.5"] {
            assert!(parse_concurrency(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn chunks_out_are_a_number_or_auto() {
        assert_eq!(parse_chunks_out("24"), Ok(ChunksOut::Fixed(24)));
        assert_eq!(parse_chunks_out("auto"), Ok(ChunksOut::Auto));
        for wrong in ["", "0", "100001", "all"] {
            assert!(parse_chunks_out(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_vault_is_named_so_that_nothing_else_can_be_meant() {
        let url = parse_vault_url("https://x.vault.azure.net/").unwrap();
        assert_eq!(url, "https://x.vault.azure.net");
        assert_eq!(parse_vault_url(" "), Ok(String::new()));
        for wrong in [
            "http://x.vault.azure.net",
            "x",
            "https://x.vault.azure.net/secrets/y",
        ] {
            assert!(parse_vault_url(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_secret_name("").unwrap(), "azure-openai-api-key");
        assert_eq!(parse_secret_name("My-Key1").unwrap(), "My-Key1");
        for wrong in ["a/b", "a_b", "../x", "ä"] {
            assert!(parse_secret_name(wrong).is_err(), "{wrong}");
        }
        assert!(parse_scope("https://ai.azure.com/.default").is_ok());
        assert!(parse_scope("x; rm -rf /").is_err());
    }
}
