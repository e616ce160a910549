//! What proves to the service who is asking.

use reqwest::header::{HeaderName, HeaderValue};
use std::fmt;

/// A secret that no log, error or `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret in, without the white space around it that copying leaves.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// Why there is no credential.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Nothing is set.
    #[error("there is no key for the service; set AZURE_OPENAI_API_KEY")]
    Missing,
    /// The key holds characters that cannot be sent.
    #[error("AZURE_OPENAI_API_KEY holds characters that a header cannot carry; copy the key again")]
    NotAHeader,
}

/// The header that a request proves itself with.
#[derive(Clone, Debug)]
pub struct Credential {
    name: HeaderName,
    value: HeaderValue,
}

impl Credential {
    /// A key, sent as `api-key`.
    ///
    /// # Errors
    /// If there is no key, or it cannot be sent.
    pub fn from_key(key: Option<&Secret>) -> Result<Self, CredentialError> {
        let key = key
            .filter(|key| !key.is_empty())
            .ok_or(CredentialError::Missing)?;
        let mut value = HeaderValue::from_str(&key.0).map_err(|_| CredentialError::NotAHeader)?;
        value.set_sensitive(true);
        Ok(Self {
            name: HeaderName::from_static("api-key"),
            value,
        })
    }

    /// Name and value of the header.
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        (self.name.clone(), self.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new("hunter2\n");
        assert!(!format!("{secret:?}").contains("hunter2"));
        let credential = Credential::from_key(Some(&secret)).unwrap();
        assert!(!format!("{credential:?}").contains("hunter2"));
        assert_eq!(credential.header().1.to_str().unwrap(), "hunter2");
    }

    #[test]
    fn a_key_that_cannot_be_used_is_said() {
        assert_eq!(
            Credential::from_key(None).unwrap_err(),
            CredentialError::Missing
        );
        let blank = Secret::new(" ");
        assert_eq!(
            Credential::from_key(Some(&blank)).unwrap_err(),
            CredentialError::Missing
        );
        let odd = Secret::new("a\u{7}b");
        assert_eq!(
            Credential::from_key(Some(&odd)).unwrap_err(),
            CredentialError::NotAHeader
        );
    }
}
