//! Where requests go: the forms of the URL.

use clap::ValueEnum;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Which form of the API is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// Azure OpenAI: its URLs, and a key in `api-key` or a token of Entra.
    #[default]
    Azure,
    /// OpenAI, and every server that speaks like it: vLLM, SGLang, llama.cpp's server, Ollama.
    #[value(name = "openai")]
    #[serde(rename = "openai")]
    OpenAi,
}

impl Api {
    /// For serde: Azure is not written down.
    pub fn is_azure(&self) -> bool {
        *self == Self::Azure
    }

    /// The name in settings: `azure` or `openai`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::OpenAi => "openai",
        }
    }
}

/// The URL that all requests of a deployment go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    api: Api,
    deployment: String,
    /// The deployment's name is only assumed to be the model's.
    named_after_model: bool,
    dated: bool,
}

/// Why an address cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It cannot be read as a URL, or not as one of HTTP.
    #[error("{0} is not a URL ({1}); it looks like {2}", setting(*api), why, example(*api))]
    NotAUrl {
        /// The form of the API that it is for.
        api: Api,
        /// What is wrong with it, without a full stop.
        why: String,
    },
    /// A secret stands in the URL, where every log shows it.
    #[error(
        "{0} carries a user name or a query; give the bare address and put the key into {1}",
        setting(*api),
        key(*api)
    )]
    NotBare {
        /// The form of the API that it is for.
        api: Api,
    },
    /// A key would travel in the clear.
    #[error(
        "AZURE_OPENAI_ENDPOINT must begin with https:// (http:// is accepted only for this \
         machine), or the key would travel in the clear"
    )]
    NotSecure,
    /// Key and messages would travel in the clear.
    #[error(
        "OPENAI_BASE_URL must begin with https:// (http:// is accepted only for this machine), or \
         key and messages \
         would travel in the clear; where that network can be trusted, add --allow-http"
    )]
    InTheClear,
    /// What the URL says differs from what a setting says.
    #[error(
        "AZURE_OPENAI_ENDPOINT names the {what} {url:?}, and {setting} is {set:?}; give only one of them"
    )]
    Contradiction {
        /// What both name: `deployment` or `API version`.
        what: &'static str,
        /// What the URL says.
        url: String,
        /// The setting that says something else.
        setting: &'static str,
        /// What that setting says.
        set: String,
    },
}

/// The variable that holds the address.
pub(super) fn setting(api: Api) -> &'static str {
    match api {
        Api::Azure => "AZURE_OPENAI_ENDPOINT",
        Api::OpenAi => "OPENAI_BASE_URL",
    }
}

/// The variable that holds the key.
pub(super) fn key(api: Api) -> &'static str {
    match api {
        Api::Azure => "AZURE_OPENAI_API_KEY",
        Api::OpenAi => "OPENAI_API_KEY",
    }
}

fn example(api: Api) -> &'static str {
    match api {
        Api::Azure => "https://NAME.openai.azure.com",
        Api::OpenAi => "http://localhost:8000/v1",
    }
}

/// What an address of Azure OpenAI says: the account, and perhaps a deployment and an API version. Portals
/// show whole "Target URIs", such as `https://NAME.openai.azure.com/openai/deployments/D/chat/completions` with
/// an `api-version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Without what follows `/openai`.
    pub account: String,
    /// The deployment that a Target URI names.
    pub deployment: Option<String>,
    /// The dated API version of its query; `None` where the v1 form is named.
    pub version: Option<String>,
}

impl Target {
    /// Reads an address as a portal shows it, or the bare one of an account.
    ///
    /// # Errors
    /// If it is no URL, or carries what does not belong into an address.
    pub fn read(endpoint: &str) -> Result<Self, EndpointError> {
        let api = Api::Azure;
        let not_a_url = |why: &str| EndpointError::NotAUrl {
            api,
            why: why.to_owned(),
        };
        let mut url = Url::parse(endpoint.trim()).map_err(|error| not_a_url(&error.to_string()))?;
        let bare = url.username().is_empty() && url.password().is_none();
        let mut version = None;
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "api-version" => version = Some(value.into_owned()),
                _ => return Err(EndpointError::NotBare { api }),
            }
        }
        if !bare {
            return Err(EndpointError::NotBare { api });
        }
        url.set_query(None);
        url.set_fragment(None);
        let segments = url
            .path_segments()
            .ok_or_else(|| not_a_url("it cannot carry a path"))?;
        let segments = segments.filter(|part| !part.is_empty());
        let segments = segments.map(str::to_owned).collect::<Vec<_>>();
        let openai = segments.iter().position(|part| part == "openai");
        let (before, after) = segments.split_at(openai.unwrap_or(segments.len()));
        // The way to the models of all makers; those of OpenAI are reached below /openai as well.
        let all_makers = ["models", "chat", "completions"].map(str::to_owned);
        let before = match before.strip_suffix(&all_makers) {
            Some(account) => {
                version = None;
                account
            }
            None => before,
        };
        let after = after.iter().map(String::as_str).collect::<Vec<_>>();
        let deployment = match after.as_slice() {
            ["openai", "deployments", name, ..] => Some((*name).to_owned()),
            // In the v1 form a version says nothing: "preview" at most.
            ["openai", "v1", ..] => {
                version = None;
                None
            }
            _ => None,
        };
        {
            let mut path = url
                .path_segments_mut()
                .map_err(|()| not_a_url("it cannot carry a path"))?;
            path.clear().extend(before);
        }
        let deployment = deployment.map(|name| percent_decoded(&name));
        Ok(Self {
            account: url.as_str().trim_end_matches('/').to_owned(),
            deployment,
            version,
        })
    }
}

/// A segment of a path as text.
fn percent_decoded(segment: &str) -> String {
    // A form's text decodes as a path does, except the plus sign.
    let query = format!("x:?x={}", segment.replace('+', "%2B"));
    let url = Url::parse(&query).ok();
    let decoded = url.and_then(|url| Some(url.query_pairs().next()?.1.into_owned()));
    decoded.unwrap_or_else(|| segment.to_owned())
}

impl Endpoint {
    /// The address of `deployment` below `account`: the v1 form, or the dated form where an
    /// `api_version` is given.
    ///
    /// # Errors
    /// If `account` is no URL, or would send a key in the clear to another machine.
    pub fn new(
        account: &str,
        deployment: &str,
        api_version: Option<&str>,
    ) -> Result<Self, EndpointError> {
        let target = Target::read(account)?;
        let api = Api::Azure;
        let not_a_url = |why: String| EndpointError::NotAUrl { api, why };
        let url = Url::parse(&target.account);
        let mut url = url.map_err(|error| not_a_url(error.to_string()))?;
        if !(url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url))) {
            return Err(EndpointError::NotSecure);
        }
        {
            let path = url.path_segments_mut();
            let mut path = path.map_err(|()| not_a_url("it cannot carry a path".into()))?;
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
            api,
            deployment: deployment.to_owned(),
            named_after_model: false,
            dated: api_version.is_some(),
        })
    }

    /// The address of chat completions below `base_url`, such as `http://gpu-box:8000/v1`; without a path
    /// `/v1` is meant. Plain http to another machine is taken only if `allow_http`.
    ///
    /// # Errors
    /// If `base_url` is no URL, or would send key and messages in the clear unasked.
    pub fn openai(base_url: &str, model: &str, allow_http: bool) -> Result<Self, EndpointError> {
        let api = Api::OpenAi;
        let not_a_url = |why: String| EndpointError::NotAUrl { api, why };
        let url = Url::parse(base_url.trim());
        let mut url = url.map_err(|error| not_a_url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(not_a_url(
                "it does not begin with http:// or https://".into(),
            ));
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::NotBare { api });
        }
        if url.scheme() == "http" && !is_loopback(&url) && !allow_http {
            return Err(EndpointError::InTheClear);
        }
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/chat/completions").unwrap_or(path);
        let path = if path.is_empty() { "/v1" } else { path };
        let path = format!("{path}/chat/completions");
        url.set_path(&path);
        Ok(Self {
            url,
            api,
            deployment: model.to_owned(),
            named_after_model: false,
            dated: false,
        })
    }

    /// The whole URL of chat completions, with the `api-version` of the dated form.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Which form of the API is spoken there.
    pub fn api(&self) -> Api {
        self.api
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

    /// Whether requests stay on this machine.
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
        let what = match self.api {
            Api::Azure => "deployment",
            Api::OpenAi => "model",
        };
        format!("POST {url} for the {what} {deployment:?}{named}")
    }

    /// The deployment's name; in the OpenAI form, the model's.
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
            "https://x.openai.azure.com/openai",
            "https://x.openai.azure.com/openai/v1/",
            "https://x.openai.azure.com/openai/v1/chat/completions",
            "https://x.openai.azure.com/openai/v1/chat/completions?api-version=preview",
            "https://x.openai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
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
        assert_eq!(
            url("https://gateway.example.com/ai/openai/v1", None).unwrap(),
            "https://gateway.example.com/ai/openai/v1/chat/completions"
        );
    }

    #[test]
    fn a_target_uri_names_deployment_and_version() {
        let target = Target::read(
            "https://x.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
        );
        let expected = Target {
            account: "https://x.openai.azure.com".into(),
            deployment: Some("my gpt".into()),
            version: Some("2024-10-21".into()),
        };
        assert_eq!(target, Ok(expected));
        let bare = Target::read("https://x.cognitiveservices.azure.com/").unwrap();
        assert_eq!((bare.deployment, bare.version), (None, None));
        let all_makers = "https://x.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview";
        let target = Target::read(all_makers).unwrap();
        assert_eq!(target.account, "https://x.services.ai.azure.com");
        assert_eq!((target.deployment, target.version), (None, None));
        assert_eq!(bare.account, "https://x.cognitiveservices.azure.com");
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
            let api = Api::Azure;
            assert_eq!(url(odd, None), Err(EndpointError::NotBare { api }), "{odd}");
        }
    }

    #[test]
    fn what_is_not_a_url_is_said() {
        for odd in ["x.openai.azure.com", "", "mailto:x"] {
            let error = url(odd, None).unwrap_err();
            assert!(matches!(error, EndpointError::NotAUrl { .. }), "{odd}");
        }
    }

    #[test]
    fn any_other_server_is_asked_below_its_base_url() {
        let url = |base: &str, allow| {
            Endpoint::openai(base, "m", allow).map(|endpoint| endpoint.url().to_string())
        };
        for (base, address) in [
            (
                "http://localhost:8000/v1",
                "http://localhost:8000/v1/chat/completions",
            ),
            (
                "http://127.0.0.1:8000/v1/",
                "http://127.0.0.1:8000/v1/chat/completions",
            ),
            ("http://[::1]:8000", "http://[::1]:8000/v1/chat/completions"),
            (
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "https://x.example.com/a/b",
                "https://x.example.com/a/b/chat/completions",
            ),
            (
                "https://x.example.com/v1/chat/completions",
                "https://x.example.com/v1/chat/completions",
            ),
        ] {
            assert_eq!(url(base, false).as_deref(), Ok(address), "{base}");
        }
        let far = "http://gpu-box:8000/v1";
        assert_eq!(url(far, false), Err(EndpointError::InTheClear));
        assert_eq!(
            url(far, true).as_deref(),
            Ok("http://gpu-box:8000/v1/chat/completions")
        );
        let api = Api::OpenAi;
        for odd in [
            "https://u:p@x.example.com/v1",
            "https://x.example.com/v1?key=k",
        ] {
            assert_eq!(url(odd, true), Err(EndpointError::NotBare { api }), "{odd}");
        }
        for odd in ["gpu-box:8000", "", "ftp://x/v1"] {
            let error = url(odd, true).unwrap_err();
            assert!(matches!(error, EndpointError::NotAUrl { .. }), "{odd}");
        }
    }
}
