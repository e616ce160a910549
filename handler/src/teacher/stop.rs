//! Why a run ends early: what no other message would meet differently.

/// Why a run ends early.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// 401.
    #[error("the service does not accept the credential (401): {0}")]
    Unauthorized(String),
    /// 403.
    #[error(
        "the service refuses access (403: {0}); give the identity the role \"Cognitive Services \
         OpenAI User\" on the account, check the account's network rules, and set --auth entra where \
         keys are disabled"
    )]
    Forbidden(String),
    /// 404.
    #[error(
        "the service does not know this deployment, model or address ({0}); check \
         AZURE_OPENAI_DEPLOYMENT, AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION, or with --api openai \
         OPENAI_BASE_URL and --model"
    )]
    NotFound(String),
    /// 400 for a parameter that every request carries.
    #[error(
        "the model refuses the request's parameters ({message}); check --model and \
         --model-family against what is deployed"
    )]
    Parameters {
        /// The parameter, where the service names it.
        param: Option<String>,
        /// The service's sentence.
        message: String,
    },
    /// The deployment does not give token probabilities.
    #[error(
        "the deployment gives no log probabilities ({0}), without which there is no soft label; \
         deploy a model that gives them, such as gpt-4.1 or gpt-5.2 at effort none, or have the server give \
         them"
    )]
    NoLogprobs(String),
    /// 429 for a day.
    #[error(
        "the deployment has no quota ({0}); raise its capacity or choose another with \
         AZURE_OPENAI_DEPLOYMENT"
    )]
    NoQuota(String),
    /// 429 with a wait longer than the patience.
    #[error(
        "the service asks to wait {0} seconds, longer than --throttle-patience; run the same \
         command again later, which continues the run"
    )]
    Busy(u64),
    /// Nothing but failures, for too long.
    #[error(
        "the service has given no answer for {0} seconds ({1}), longer than --outage-patience; try \
         again later"
    )]
    Outage(u64, String),
    /// The first call was not answered, however often it was tried.
    #[error(
        "the service cannot be reached, or does not answer as it should ({0}); check \
         AZURE_OPENAI_ENDPOINT, or with --api openai OPENAI_BASE_URL, and the network"
    )]
    Unreachable(String),
    /// Every call is refused for no reason that is known.
    #[error(
        "the service refuses every call ({0}); check AZURE_OPENAI_ENDPOINT and \
         AZURE_OPENAI_DEPLOYMENT, or with --api openai OPENAI_BASE_URL, and --model"
    )]
    Refused(String),
}

impl Stop {
    /// The same, and what was tried: `POST https://… for the deployment …`.
    #[must_use]
    pub fn tried(mut self, tried: &str) -> Self {
        if let Self::Unauthorized(said)
        | Self::Forbidden(said)
        | Self::NotFound(said)
        | Self::Unreachable(said)
        | Self::Refused(said)
        | Self::Outage(_, said) = &mut self
        {
            said.push_str("; tried ");
            said.push_str(tried);
        }
        self
    }
}
