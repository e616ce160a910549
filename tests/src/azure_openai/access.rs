//! Who may call.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::config::Access;
use super::errors::ErrorAnswer;

/// How a request identified itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// The header `api-key`.
    Key,
    /// `Authorization: Bearer`.
    Bearer,
    /// Not at all.
    None,
}

/// What a request identified itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    Key(&'a str),
    Bearer(&'a str),
    None,
}

/// What a log shows in place of a credential: the same number for the same one, so that callers with
/// credentials of their own can be told apart.
pub fn caller(credential: &str) -> u64 {
    xxh3_64(credential.as_bytes())
}

impl<'a> Credential<'a> {
    /// The key wins where a request has both.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let text = |value: &'a axum::http::HeaderValue| value.to_str().unwrap_or("");
        if let Some(key) = headers.get("api-key") {
            return Self::Key(text(key));
        }
        let bearer = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = text(value).split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
        bearer.map_or(Self::None, Self::Bearer)
    }

    /// See [`caller`]; 0 for nobody.
    pub(super) fn caller(self) -> u64 {
        match self {
            Self::Key(credential) | Self::Bearer(credential) => caller(credential),
            Self::None => 0,
        }
    }

    pub(super) fn auth(self) -> Auth {
        match self {
            Self::Key(_) => Auth::Key,
            Self::Bearer(_) => Auth::Bearer,
            Self::None => Auth::None,
        }
    }
}

impl Access {
    pub(super) fn check(&self, credential: Credential<'_>) -> Result<(), ErrorAnswer> {
        let accepts = |list: &[String], value: &str| {
            if list.is_empty() {
                !value.is_empty()
            } else {
                list.iter().any(|v| v == value)
            }
        };
        match credential {
            Credential::Key(key) if accepts(&self.api_keys, key) => Ok(()),
            Credential::Key(_) | Credential::None => Err(ErrorAnswer::wrong_key()),
            Credential::Bearer(token) => {
                let expired = self.expired_tokens.iter().any(|t| t == token);
                if expired || !accepts(&self.bearer_tokens, token) {
                    return Err(ErrorAnswer::wrong_token());
                }
                self.role_missing
                    .map_or(Ok(()), |status| Err(ErrorAnswer::role_missing(status)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_are_told_apart() {
        let access = Access {
            api_keys: vec!["k".to_owned()],
            expired_tokens: vec!["old".to_owned()],
            ..Access::default()
        };
        assert!(access.check(Credential::Key("k")).is_ok());
        assert_eq!(
            access.check(Credential::Key("x")),
            Err(ErrorAnswer::wrong_key())
        );
        assert_eq!(
            access.check(Credential::None),
            Err(ErrorAnswer::wrong_key())
        );
        assert!(access.check(Credential::Bearer("new")).is_ok());
        assert_eq!(
            access.check(Credential::Bearer("old")),
            Err(ErrorAnswer::wrong_token())
        );
        let access = Access {
            role_missing: Some(403),
            ..access
        };
        assert!(access.check(Credential::Key("k")).is_ok());
        assert_eq!(
            access
                .check(Credential::Bearer("new"))
                .unwrap_err()
                .status
                .as_u16(),
            403
        );
    }
}
