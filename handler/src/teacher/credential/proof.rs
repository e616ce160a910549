//! The header that a request proves itself with.

use crate::identity::{Failure, Secret};
use crate::teacher::endpoint::Api;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::time::Duration;

/// A header that the service accepts, for a while.
#[derive(Clone, Debug)]
pub struct Proof {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    /// From now; `None` where nothing is known of an end.
    pub(super) lifetime: Option<Duration>,
}

impl Proof {
    /// A key, sent as `api-key`.
    pub fn key(key: &Secret, lifetime: Option<Duration>) -> Result<Self, Failure> {
        Ok(Self {
            name: HeaderName::from_static("api-key"),
            value: header_value(key.expose(), "key")?,
            lifetime,
        })
    }

    /// A key for `api`, in the header that it wants.
    pub fn key_for(api: Api, key: &Secret, lifetime: Option<Duration>) -> Result<Self, Failure> {
        match api {
            Api::Azure => Self::key(key, lifetime),
            Api::OpenAi if key.is_empty() => Err(Failure::new("the key is empty")),
            Api::OpenAi => Ok(Self {
                name: AUTHORIZATION,
                value: header_value(&format!("Bearer {}", key.expose()), "key")?,
                lifetime,
            }),
        }
    }

    /// Nothing: the service needs no credential. No empty header is sent.
    #[must_use]
    pub fn none() -> Self {
        Self {
            name: AUTHORIZATION,
            value: HeaderValue::from_static(""),
            lifetime: None,
        }
    }

    /// A token of Entra, sent as a bearer.
    pub fn token(token: &Secret, lifetime: Duration) -> Result<Self, Failure> {
        if token.is_empty() {
            return Err(Failure::new("the token is empty"));
        }
        Ok(Self {
            name: AUTHORIZATION,
            value: header_value(&format!("Bearer {}", token.expose()), "token")?,
            lifetime: Some(lifetime),
        })
    }
}

fn header_value(text: &str, what: &str) -> Result<HeaderValue, Failure> {
    if text.is_empty() {
        return Err(Failure::new(format!("the {what} is empty")));
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::new(format!(
            "the {what} holds characters that a header cannot carry"
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_shows_no_secret() {
        let secret = Secret::new("hunter2");
        for proof in [
            Proof::key(&secret, None),
            Proof::token(&secret, Duration::from_secs(1)),
        ] {
            assert!(!format!("{proof:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_being_quoted() {
        let odd = Secret::new("hunter\u{7}2");
        let failure = Proof::key(&odd, None).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "the key holds characters that a header cannot carry"
        );
        assert!(Proof::key(&Secret::new(" "), None).is_err());
        assert!(Proof::token(&Secret::new(""), Duration::from_secs(1)).is_err());
    }
}
