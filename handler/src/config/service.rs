//! Settings of the service: address, credential, quota, time limits and retries.

use super::UsageError;
use super::values::{
    parse_concurrency, parse_scope, parse_secret_name, parse_time, parse_usd, parse_vault_url,
};
use crate::clock::Clock;
use crate::money::Usd;
use crate::teacher::Patience;
use crate::teacher::breaker::Endurance;
use crate::teacher::credential::{
    self, Auth, Identities, Secret, Surroundings, VaultChoice, VaultSecret,
};
use crate::teacher::endpoint::{Api, Endpoint, EndpointError, Target};
use crate::teacher::model::{self, Family, Price};
use crate::teacher::pacing::{Concurrency, Quota};
use crate::teacher::profile::Profile;
use crate::teacher::tariff::Tariff;
use crate::teacher::tokens::Encoding;
use crate::teacher::transport::Timeouts;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use std::time::Duration;

const CREDENTIAL: &str = "Credential";

/// The quota of a deployment of gpt-5.2 of the first tier: tokens and requests a minute.
const TPM: u32 = 1_000_000;
const RPM: u32 = 10_000;

pub(super) const KEYVAULT_SECRET: &str = "azure-openai-api-key";

pub(super) const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// The service, and how patiently it is asked.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Service")]
pub struct ServiceArgs {
    /// The API to use: Azure OpenAI's, or OpenAI's, which vLLM, SGLang, llama.cpp's server and Ollama
    /// speak too.
    #[arg(long, env = "SOFTLABEL_API", value_enum, default_value_t = Api::Azure)]
    pub api: Api,
    /// The address before /chat/completions for --api openai, such as http://localhost:8000/v1.
    #[arg(long, env = "OPENAI_BASE_URL", value_name = "URL")]
    pub base_url: Option<String>,
    /// The key for --api openai, if the service wants one. Set the variable: a flag is visible to every
    /// user of the machine.
    #[arg(
        long, help_heading = CREDENTIAL,
        env = "OPENAI_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub openai_api_key: Option<Secret>,
    /// Allow plain http to another machine for --api openai; key and messages then travel in the clear.
    #[arg(long, env = "SOFTLABEL_ALLOW_HTTP", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub allow_http: bool,
    /// The endpoint of the Azure OpenAI account, or the whole target URI that the portal shows.
    #[arg(
        long,
        env = "AZURE_OPENAI_ENDPOINT",
        value_name = "https://NAME.openai.azure.com"
    )]
    pub endpoint: Option<String>,
    /// The key. Set the variable: a flag is visible to every user of the machine.
    #[arg(
        long, help_heading = CREDENTIAL,
        env = "AZURE_OPENAI_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub api_key: Option<Secret>,
    /// How to authenticate: with a key, from the Key Vault or else AZURE_OPENAI_API_KEY, or with Entra
    /// tokens for the model itself. Tokens and keys from a vault are renewed during a run.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_AUTH", value_enum, default_value_t = Auth::Key)]
    pub auth: Auth,
    /// The Key Vault that holds the key. It is read as the managed identity, the workload identity, or
    /// the user of az login or azd login.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_KEYVAULT_URL", value_name = "https://NAME.vault.azure.net", value_parser = parse_vault_url)]
    pub keyvault_url: Option<String>,
    /// The name of the secret that holds the key.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_KEYVAULT_SECRET", value_name = "NAME",
          default_value = KEYVAULT_SECRET, value_parser = parse_secret_name)]
    pub keyvault_secret: String,
    /// Do not look for the key in a Key Vault.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_NO_KEYVAULT", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_keyvault: bool,
    /// The scope of Entra tokens for the model; some endpoints want that of ai.azure.com.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_ENTRA_SCOPE", value_name = "SCOPE",
          default_value = ENTRA_SCOPE, value_parser = parse_scope)]
    pub entra_scope: String,
    /// The client id of a user-assigned managed identity or a workload identity; by default the
    /// system-assigned identity.
    #[arg(long, help_heading = CREDENTIAL, env = "AZURE_CLIENT_ID", value_name = "ID")]
    pub identity_client_id: Option<String>,
    /// Time limit for each step of getting a credential: a token from one identity, an answer from the
    /// vault.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_CREDENTIAL_TIMEOUT", default_value = "30s", value_name = "TIME",
          value_parser = parse_time)]
    pub credential_timeout: Duration,
    /// A dated API version, such as 2024-10-21. By default the v1 form of the URL is used, which gpt-5.1
    /// and later need.
    #[arg(long, env = "AZURE_OPENAI_API_VERSION", value_name = "DATE")]
    pub api_version: Option<String>,
    /// The name of the deployment; by default the name of the model.
    #[arg(long, env = "AZURE_OPENAI_DEPLOYMENT", value_name = "NAME")]
    pub deployment: Option<String>,
    /// The model that is deployed.
    #[arg(
        short,
        long,
        env = "SOFTLABEL_MODEL",
        default_value = "gpt-5.2",
        value_name = "NAME"
    )]
    pub model: String,
    /// The parameters that the model takes; by default derived from its name.
    #[arg(long, env = "SOFTLABEL_MODEL_FAMILY", value_enum)]
    pub model_family: Option<Family>,
    /// The model's tokenizer; by default derived from its name. For other tokenizers, counts are estimates.
    #[arg(
        long,
        env = "SOFTLABEL_ENCODING",
        value_name = "o200k_base|cl100k_base|estimate"
    )]
    pub encoding: Option<Encoding>,
    /// The deployment's quota in tokens a minute, counting prompts and longest answers. Calls stay within
    /// it, and within a lower limit if the service states one. By default 1000000, with --api openai
    /// none.
    #[arg(long, env = "SOFTLABEL_TPM", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub tpm: Option<u32>,
    /// The deployment's quota in requests a minute. By default 10000, with --api openai none.
    #[arg(long, env = "SOFTLABEL_RPM", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub rpm: Option<u32>,
    /// Most calls in flight; auto takes as many as the quota needs at the measured latency, up to 1000.
    #[arg(short, long, env = "SOFTLABEL_CONCURRENCY", default_value = "50", value_name = "N|auto",
          value_parser = parse_concurrency)]
    pub concurrency: Concurrency,
    /// Time limit for opening a connection.
    #[arg(long, env = "SOFTLABEL_CONNECT_TIMEOUT", default_value = "10s", value_name = "TIME",
          value_parser = parse_time)]
    pub connect_timeout: Duration,
    /// Time limit for a call, from sending to the last byte of the answer.
    #[arg(long, env = "SOFTLABEL_CALL_TIMEOUT", default_value = "60s", value_name = "TIME",
          value_parser = parse_time)]
    pub call_timeout: Duration,
    /// Attempts per call after faults (408, 409, 5xx, broken connections), including the first.
    #[arg(long, env = "SOFTLABEL_ATTEMPTS", default_value_t = 5, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts: u32,
    /// Longest wait before the second attempt; it doubles with each attempt, with full jitter.
    #[arg(long, env = "SOFTLABEL_FIRST_BACKOFF", default_value = "1s", value_name = "TIME",
          value_parser = parse_time)]
    pub first_backoff: Duration,
    /// Longest wait between two attempts.
    #[arg(long, env = "SOFTLABEL_LONGEST_BACKOFF", default_value = "60s", value_name = "TIME",
          value_parser = parse_time)]
    pub longest_backoff: Duration,
    /// How long a call may keep getting 429 before it counts as failed.
    #[arg(long, env = "SOFTLABEL_THROTTLE_PATIENCE", default_value = "15m", value_name = "TIME",
          value_parser = parse_time)]
    pub throttle_patience: Duration,
    /// After this time with failures and no answer, sending stops except for a probe.
    #[arg(long, env = "SOFTLABEL_OUTAGE_AFTER", default_value = "5s", value_name = "TIME",
          value_parser = parse_time)]
    pub outage_after: Duration,
    /// Longest time between two probes in an outage; at first it is a 40th of the outage so far.
    #[arg(long, env = "SOFTLABEL_OUTAGE_PROBE", default_value = "10s", value_name = "TIME",
          value_parser = parse_time)]
    pub outage_probe: Duration,
    /// How long an outage may last before the run stops; the same command continues it.
    #[arg(long, env = "SOFTLABEL_OUTAGE_PATIENCE", default_value = "30m", value_name = "TIME",
          value_parser = parse_time)]
    pub outage_patience: Duration,
    /// US dollars per million prompt tokens; by default the list price, if it is known for the model.
    #[arg(long, env = "SOFTLABEL_PRICE_INPUT", value_name = "USD", value_parser = parse_usd,
          requires = "price_output")]
    pub price_input: Option<Usd>,
    /// US dollars per million cached prompt tokens; by default the price of prompt tokens.
    #[arg(long, env = "SOFTLABEL_PRICE_CACHED", value_name = "USD", value_parser = parse_usd,
          requires = "price_input")]
    pub price_cached: Option<Usd>,
    /// US dollars per million generated tokens.
    #[arg(long, env = "SOFTLABEL_PRICE_OUTPUT", value_name = "USD", value_parser = parse_usd,
          requires = "price_input")]
    pub price_output: Option<Usd>,
}

fn filled_str(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.trim().is_empty())
}

/// The text of a setting; blanks count as not set.
fn filled(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.trim().is_empty())
}

impl ServiceArgs {
    /// The settings with deployment and API version taken out of a target URI into their own fields.
    ///
    /// # Errors
    /// If an address is invalid, or settings contradict each other.
    pub fn understood(mut self) -> Result<Self, UsageError> {
        let usage = |error: EndpointError| UsageError(error.to_string());
        if self.api == Api::OpenAi {
            if self.auth == Auth::Entra {
                let text = "--auth entra is for Azure OpenAI; leave it out with --api openai";
                return Err(UsageError(text.into()));
            }
            let limited = self.tpm.is_some() || self.rpm.is_some();
            if matches!(self.concurrency, Concurrency::Auto(_)) && !limited {
                let text = "--concurrency auto follows the quota, and --api openai has none by \
                            default; give --tpm or --rpm, or a number of calls";
                return Err(UsageError(text.into()));
            }
            return Ok(self);
        }
        let Some(endpoint) = filled(&self.endpoint) else {
            return Ok(self);
        };
        let target = Target::read(&endpoint).map_err(usage)?;
        let merge = |set: &mut Option<String>, url, what, setting| match (filled(set), url) {
            (Some(set), Some(url)) if set != url => Err(usage(EndpointError::Contradiction {
                what,
                url,
                setting,
                set,
            })),
            (None, Some(url)) => {
                *set = Some(url);
                Ok(())
            }
            _ => Ok(()),
        };
        let Target {
            account,
            deployment,
            version,
        } = target;
        let named = "AZURE_OPENAI_DEPLOYMENT";
        merge(&mut self.deployment, deployment, "deployment", named)?;
        let dated = "AZURE_OPENAI_API_VERSION";
        merge(&mut self.api_version, version, "API version", dated)?;
        self.endpoint = Some(account);
        Ok(self)
    }

    /// The name in a request: the deployment, or the model where the service has no deployments.
    pub fn deployment(&self) -> &str {
        match self.api {
            Api::Azure => filled_str(&self.deployment).unwrap_or(&self.model),
            Api::OpenAi => &self.model,
        }
    }

    /// The base URL, if requests go there.
    pub fn pinned_base_url(&self) -> Option<String> {
        let url = filled(&self.base_url).filter(|_| self.api == Api::OpenAi)?;
        Some(url.trim().trim_end_matches('/').to_owned())
    }

    /// Where requests go.
    ///
    /// # Errors
    /// If no address is set, or it is invalid.
    pub fn address(&self) -> Result<Endpoint, UsageError> {
        let usage = |error: EndpointError| UsageError(error.to_string());
        match self.api {
            Api::Azure => {
                let endpoint = filled(&self.endpoint).ok_or_else(|| {
                    UsageError(match &self.base_url {
                        Some(_) => "no endpoint of Azure OpenAI is set; to ask the service at OPENAI_BASE_URL, \
                                    give --api openai"
                            .into(),
                        None => "no endpoint is set; set AZURE_OPENAI_ENDPOINT to \
                                 https://NAME.openai.azure.com"
                            .into(),
                    })
                })?;
                let version = filled(&self.api_version);
                let endpoint = Endpoint::new(&endpoint, self.deployment(), version.as_deref());
                let assumed = filled(&self.deployment).is_none();
                Ok(endpoint.map_err(usage)?.named_after_model(assumed))
            }
            Api::OpenAi => {
                let url = filled(&self.base_url).ok_or_else(|| {
                    UsageError(
                        "no base URL is set; set OPENAI_BASE_URL to the address before \
                         /chat/completions, such as http://localhost:8000/v1 or https://api.openai.com/v1"
                            .into(),
                    )
                })?;
                Endpoint::openai(&url, &self.model, self.allow_http).map_err(usage)
            }
        }
    }

    /// The model's family, set or by its name.
    pub fn family(&self) -> Family {
        self.model_family
            .unwrap_or_else(|| Family::of_model_at(&self.model, self.api))
    }

    /// The model's encoding, set or derived from its name. Unknown models count as o200k_base in Azure,
    /// and as unknown elsewhere.
    pub fn encoding(&self) -> Encoding {
        self.encoding
            .unwrap_or_else(|| Encoding::at(&self.model, self.api))
    }

    /// The parameters to begin with.
    pub fn profile(&self) -> Profile {
        Profile::new(self.family(), self.api, self.encoding())
    }

    /// The price of tokens that is set, if one is.
    pub fn set_price(&self) -> Option<Price> {
        let (input, output) = self.price_input.zip(self.price_output)?;
        Some(Price {
            input,
            cached: self.price_cached.unwrap_or(input),
            output,
        })
    }

    /// What calls cost; `answered_by` is the model that answered earlier, if that is known.
    pub fn tariff(&self, answered_by: Option<&str>) -> Tariff {
        Tariff::new(
            self.set_price(),
            &self.model,
            self.deployment(),
            answered_by,
        )
    }

    /// The price of tokens before anything is answered; `None` where it is not known.
    pub fn price(&self) -> Option<Price> {
        self.tariff(None).expected()
    }

    /// What is assumed of a model that is not known, in one sentence.
    pub fn assumed(&self) -> Option<String> {
        let priced = self.price().is_some();
        model::assumed(&self.model, self.family(), self.encoding(), priced)
    }

    /// The quota that is set, or else Azure's first tier or, for OpenAI's API, no limit.
    pub fn quota(&self) -> Quota {
        let (tpm, rpm) = match self.api {
            Api::Azure => (TPM, RPM),
            Api::OpenAi => (Quota::NO_LIMIT, Quota::NO_LIMIT),
        };
        Quota::new(self.tpm.unwrap_or(tpm), self.rpm.unwrap_or(rpm))
    }

    /// The time-outs of a call.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: self.connect_timeout,
            call: self.call_timeout,
        }
    }

    /// The identities of this process, given what the platform has put into the environment.
    pub fn identities(&self, surroundings: Surroundings) -> Identities {
        Identities {
            client_id: filled(&self.identity_client_id),
            only: None,
            surroundings,
            connect_timeout: self.connect_timeout,
            timeout: self.credential_timeout,
        }
    }

    /// Where to look for a credential, given what the platform has put into the environment.
    pub fn credential(&self, surroundings: Surroundings) -> credential::Settings {
        let vault = match filled(&self.keyvault_url) {
            _ if self.no_keyvault => VaultChoice::NotTried("not tried, --no-keyvault is set"),
            None => VaultChoice::NotTried("not tried, no --keyvault-url is set"),
            Some(url) => VaultChoice::Ask(VaultSecret {
                url,
                name: self.keyvault_secret.clone(),
            }),
        };
        let key = match self.api {
            Api::Azure => &self.api_key,
            Api::OpenAi => &self.openai_api_key,
        };
        credential::Settings {
            api: self.api,
            auth: self.auth,
            vault,
            key: key.clone(),
            entra_scope: self.entra_scope.clone(),
            identities: self.identities(surroundings),
            clock: Clock::system(),
        }
    }

    /// How long to go on when the service does not answer as it should.
    pub fn patience(&self) -> Patience {
        Patience {
            attempts: self.attempts,
            first_backoff: self.first_backoff,
            longest_backoff: self.longest_backoff,
            throttling: self.throttle_patience,
            outage: Endurance {
                open_after: self.outage_after,
                probe_every: self.outage_probe,
                give_up_after: self.outage_patience,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cli, Subcommands};
    use clap::Parser;

    #[test]
    fn a_price_is_all_or_nothing() {
        let parse = |args: &[&str]| {
            let args = ["softlabel", "info"].iter().chain(args);
            match Cli::try_parse_from(args)?.command {
                Subcommands::Info(info) => Ok(info.service.price()),
                _ => Ok(None),
            }
        };
        let known = parse(&[]).unwrap();
        assert_eq!(known.unwrap().input.to_string(), "1.75");
        assert_eq!(parse(&["-m", "x"]).unwrap(), None);
        let set = parse(&["-m", "x", "--price-input", "2", "--price-output", "8"]).unwrap();
        assert_eq!(
            set,
            Some(Price {
                input: Usd::from_nanos(2_000_000_000),
                cached: Usd::from_nanos(2_000_000_000),
                output: Usd::from_nanos(8_000_000_000)
            })
        );
        let error: clap::Error = parse(&["--price-input", "2"]).unwrap_err();
        assert!(error.to_string().contains("--price-output"));
    }
}
