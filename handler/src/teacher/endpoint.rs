//! Where requests go: the two forms of the URL.

use reqwest::Url;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    deployment: String,
    /// The deployment's name is only assumed to be the model's.
    named_after_model: bool,
    dated: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "AZURE_OPENAI_ENDPOINT is not a URL ({0}); it looks like https://NAME.openai.azure.com"
    )]
    NotAUrl(String),
    /// A secret stands in the URL, where every log shows it.
    #[error(
        "AZURE_OPENAI_ENDPOINT carries a user name or a query; give the bare address and put the \
         key into AZURE_OPENAI_API_KEY"
    )]
    NotBare,
    /// A key would travel in the clear.
    #[error(
        "AZURE_OPENAI_ENDPOINT must begin with https:// (http:// is taken for this machine only), \
         or the key would travel in the clear"
    )]
    NotSecure,
}

impl Endpoint {
    /// The address of `deployment` below `endpoint`: the v1 form, or the dated form where an
    /// `api_version` is given. An `/openai/v1` at the end of `endpoint`, as portals show it, is
    /// accepted.
    ///
    /// # Errors
    /// If `endpoint` is no URL, or would send a key in the clear to another machine.
    pub fn new(
        endpoint: &str,
        deployment: &str,
        api_version: Option<&str>,
    ) -> Result<Self, EndpointError> {
        let trimmed = endpoint.trim().trim_end_matches('/');
        let trimmed = trimmed.strip_suffix("/openai/v1").unwrap_or(trimmed);
        let trimmed = trimmed.strip_suffix("/openai").unwrap_or(trimmed);
        let mut url =
            Url::parse(trimmed).map_err(|error| EndpointError::NotAUrl(error.to_string()))?;
        if !(url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url))) {
            return Err(EndpointError::NotSecure);
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() {
            return Err(EndpointError::NotBare);
        }
        {
            let not_a_base = || EndpointError::NotAUrl("it cannot carry a path".into());
            let mut path = url.path_segments_mut().map_err(|()| not_a_base())?;
            path.pop_if_empty().push("openai");
            match api_version {
                None => path.extend(["v1", "chat", "completions"]),
                Some(_) => path.extend(["deployments", deployment, "chat", "completions"]),
            };
        }
        if let Some(version) = api_version {
            url.query_pairs_mut().append_pair("api-version", version);
        }
        Ok(Self {
            url,
            deployment: deployment.to_owned(),
            named_after_model: false,
            dated: api_version.is_some(),
        })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The `model` of a request's body; the dated form names the deployment in its path instead.
    pub fn model(&self) -> Option<&str> {
        (!self.dated).then_some(self.deployment.as_str())
    }

    /// The same; where `assumed`, the deployment's name was not set, but taken from the model's.
    #[must_use]
    pub fn named_after_model(self, assumed: bool) -> Self {
        Self {
            named_after_model: assumed,
            ..self
        }
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// What a request tries, for error messages.
    pub fn tried(&self) -> String {
        let Self {
            url, deployment, ..
        } = self;
        let named = match self.named_after_model {
            true => ", named after --model as no --deployment is set",
            false => "",
        };
        format!("POST {url} for the deployment {deployment:?}{named}")
    }

    pub fn deployment(&self) -> &str {
        &self.deployment
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str, version: Option<&str>) -> Result<String, EndpointError> {
        Endpoint::new(endpoint, "gpt 5", version).map(|endpoint| endpoint.url().to_string())
    }

    #[test]
    fn both_forms_of_the_url() {
        for endpoint in [
            "https://x.openai.azure.com",
            "https://x.openai.azure.com/",
            "https://x.openai.azure.com/openai/v1/",
        ] {
            assert_eq!(
                url(endpoint, None).unwrap(),
                "https://x.openai.azure.com/openai/v1/chat/completions"
            );
            assert_eq!(
                url(endpoint, Some("2024-10-21")).unwrap(),
                "https://x.openai.azure.com/openai/deployments/gpt%205/chat/completions\
                 ?api-version=2024-10-21"
            );
        }
    }

    #[test]
    fn a_key_never_travels_in_the_clear_to_another_machine() {
        assert_eq!(
            url("http://x.openai.azure.com", None),
            Err(EndpointError::NotSecure)
        );
        assert_eq!(url("ftp://x", None), Err(EndpointError::NotSecure));
        assert!(url("http://127.0.0.1:8080", None).is_ok());
    }

    #[test]
    fn a_secret_in_the_url_is_refused() {
        for odd in [
            "https://u:p@x.openai.azure.com",
            "https://x.openai.azure.com/?api-key=k",
        ] {
            assert_eq!(url(odd, None), Err(EndpointError::NotBare), "{odd}");
        }
    }

    #[test]
    fn what_is_not_a_url_is_said() {
        assert!(matches!(
            url("x.openai.azure.com", None),
            Err(EndpointError::NotAUrl(_))
        ));
        assert!(matches!(url("", None), Err(EndpointError::NotAUrl(_))));
    }
}
