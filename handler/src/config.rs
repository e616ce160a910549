//! Every setting, once: its flag, its variable, its default and what it is for.
//!
//! Flags win over variables. A variable that is set to nothing counts as not set, and a `SOFTLABEL_`
//! variable that no setting has stops the start, since it is a spelling mistake.

use crate::clock::Clock;
use crate::labeling::label::HardLabel;
use crate::labeling::strategy::{self, Budget, Strategy};
use crate::teacher::Patience;
use crate::teacher::breaker::Endurance;
use crate::teacher::credential::{
    self, Auth, Identities, Secret, Surroundings, VaultChoice, VaultSecret,
};
use crate::teacher::model::{Family, Price};
use crate::teacher::tokens::Encoding;
use crate::teacher::transport::Timeouts;
use clap::builder::{BoolishValueParser, Resettable};
use clap::{ArgAction, Args, Command, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// Heads the settings of the credential in the help.
const CREDENTIAL: &str = "Credential";

/// The secret that is asked for where no other is named.
const KEYVAULT_SECRET: &str = "azure-openai-api-key";

/// The scope of Azure OpenAI.
const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

const AFTER_HELP: &str = "\
Exit codes: 0 complete, 1 could not run, 2 wrong usage, 3 ran to the end with failed turns or \
conversations, 130 or 143 stopped by a signal (the same command continues).

Example:
  export AZURE_OPENAI_ENDPOINT=https://NAME.openai.azure.com AZURE_OPENAI_API_KEY=…
  softlabel test --message \"why does my build fail?\"
  softlabel label --input data/v4 --output labeled/";

/// Labels chat datasets: per user turn a hard label, a soft label and a rationale.
///
/// The label says whether answering the user's message requires reasoning (0) or not (1). The soft
/// label is P(1), taken from the token probabilities of an Azure OpenAI deployment.
#[derive(Debug, Parser)]
#[command(name = "softlabel", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Subcommands,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Subcommands {
    /// Label a dataset folder or a single file.
    #[command(after_help = AFTER_HELP)]
    Label(Box<LabelArgs>),
    /// Show the effective settings, limits, strategies and what the labels mean.
    Info(Box<InfoArgs>),
    /// Label one message and show everything the answer says.
    Test(Box<TestArgs>),
}

/// Settings of `softlabel label`.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// A dataset's folder, or one file: a JSON array or JSONL, recognised by its content.
    #[arg(short, long, env = "SOFTLABEL_INPUT", value_name = "PATH")]
    pub input: PathBuf,
    /// For a dataset the folder in which LABELED_DATASET/ appears; for a file the file to write.
    #[arg(short, long, env = "SOFTLABEL_OUTPUT", value_name = "PATH")]
    pub output: PathBuf,
    /// Where manifests and results are kept, to continue from. For a dataset by default
    /// .softlabel/DATASET in the output folder, for a file OUTPUT.softlabel.
    #[arg(long, env = "SOFTLABEL_WORK", value_name = "FOLDER")]
    pub work: Option<PathBuf>,
    /// The split to write into the lines of a single file that lies in no dataset.
    #[arg(long, env = "SOFTLABEL_SPLIT", value_name = "NAME")]
    pub split: Option<String>,
    /// The bucket to write into the lines of a single file that lies in no dataset.
    #[arg(long, env = "SOFTLABEL_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,
    /// Label what is intact of a file that is cut off, and mark the result partial.
    #[arg(long, env = "SOFTLABEL_SALVAGE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub salvage: bool,
    /// Forget what an earlier run left in the work folder, and start over.
    #[arg(long, env = "SOFTLABEL_RESTART", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub restart: bool,
    /// Ask again for the turns that failed, and for nothing else.
    #[arg(long, env = "SOFTLABEL_ONLY", value_enum)]
    pub only: Option<Only>,
    /// Say what a run will take, with one prompt of each kind, and send nothing.
    #[arg(long, env = "SOFTLABEL_DRY_RUN", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// The deployment's quota in tokens a minute, for --dry-run.
    #[arg(long, env = "SOFTLABEL_TPM", default_value_t = 1_000_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub tpm: u32,
    /// The deployment's quota in requests a minute, for --dry-run.
    #[arg(long, env = "SOFTLABEL_RPM", default_value_t = 10_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub rpm: u32,
    /// How long a label takes, for --dry-run.
    #[arg(long, env = "SOFTLABEL_LABEL_LATENCY", default_value = "600ms", value_name = "TIME",
          value_parser = parse_time)]
    pub label_latency: Duration,
    /// How long a rationale takes, for --dry-run.
    #[arg(long, env = "SOFTLABEL_RATIONALE_LATENCY", default_value = "2s", value_name = "TIME",
          value_parser = parse_time)]
    pub rationale_latency: Duration,
    /// Turns a chunk of work; a chunk holds whole conversations.
    #[arg(long, env = "SOFTLABEL_CHUNK_TURNS", default_value_t = 128, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub chunk_turns: u32,
    /// How progress is shown.
    #[arg(long, env = "SOFTLABEL_PROGRESS", value_enum, default_value_t = ProgressStyle::Auto)]
    pub progress: ProgressStyle,
    /// What a label is.
    #[command(flatten)]
    pub labeling: LabelingArgs,
    /// Whom to ask.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Settings of `softlabel info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// What a label is.
    #[command(flatten)]
    pub labeling: LabelingArgs,
    /// Whom to ask.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Settings of `softlabel test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The message to label.
    #[arg(
        long,
        env = "SOFTLABEL_MESSAGE",
        value_name = "TEXT",
        default_value = "Why does my Rust build fail with E0502, and how should I restructure it?"
    )]
    pub message: String,
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// What a label is.
    #[command(flatten)]
    pub labeling: LabelingArgs,
    /// Whom to ask.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What a label is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Labels")]
pub struct LabelingArgs {
    /// What of a conversation the model sees; `softlabel info` describes the strategies.
    #[arg(short, long, env = "SOFTLABEL_STRATEGY", default_value = strategy::DEFAULT,
          value_name = "NAME", value_parser = parse_strategy)]
    pub strategy: StrategyName,
    /// Do not ask for rationales.
    #[arg(long, visible_alias = "no-rationale", env = "SOFTLABEL_NO_RATIONALES",
          action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_rationales: bool,
    /// The hard label: the token that was generated, or the more probable one.
    #[arg(
        long,
        env = "SOFTLABEL_HARD_LABEL",
        default_value = "generated",
        value_name = "generated|argmax"
    )]
    pub hard_label: HardLabel,
    /// Tokens of a message that are shown; a longer one is cut in the middle.
    #[arg(long, env = "SOFTLABEL_MESSAGE_TOKENS", default_value_t = 4000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=200_000))]
    pub message_tokens: u32,
    /// Tokens of what is shown beside the message (strategies with_context, with_response).
    #[arg(long, env = "SOFTLABEL_CONTEXT_TOKENS", default_value_t = 4000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=200_000))]
    pub context_tokens: u32,
    /// Ask for identical inputs each time, instead of once.
    #[arg(long, env = "SOFTLABEL_NO_DEDUPE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_dedupe: bool,
}

/// Whom to ask, and how patiently.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Service")]
pub struct ServiceArgs {
    /// The endpoint of the Azure OpenAI account.
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
    /// What the service is shown: a key, from the Key Vault or else AZURE_OPENAI_API_KEY, or tokens of
    /// Entra for the model itself. Keys of a vault and tokens are renewed during a run.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_AUTH", value_enum, default_value_t = Auth::Key)]
    pub auth: Auth,
    /// The Key Vault that holds the key. It is read as the managed identity, the workload identity, or
    /// the user of az login or azd login.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_KEYVAULT_URL", value_name = "https://NAME.vault.azure.net", value_parser = parse_vault_url)]
    pub keyvault_url: Option<String>,
    /// The name of the secret that is the key.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_KEYVAULT_SECRET", value_name = "NAME",
          default_value = KEYVAULT_SECRET, value_parser = parse_secret_name)]
    pub keyvault_secret: String,
    /// Do not look for the key in a Key Vault.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_NO_KEYVAULT", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_keyvault: bool,
    /// What Entra tokens for the model are asked for; some endpoints want that of ai.azure.com.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_ENTRA_SCOPE", value_name = "SCOPE",
          default_value = ENTRA_SCOPE, value_parser = parse_scope)]
    pub entra_scope: String,
    /// The client id of a user-assigned managed identity or a workload identity; without one the
    /// system-assigned identity is meant.
    #[arg(long, help_heading = CREDENTIAL, env = "AZURE_CLIENT_ID", value_name = "ID")]
    pub identity_client_id: Option<String>,
    /// Time for each step towards a credential: a token from one identity, an answer of the vault.
    #[arg(long, help_heading = CREDENTIAL, env = "SOFTLABEL_CREDENTIAL_TIMEOUT", default_value = "30s", value_name = "TIME",
          value_parser = parse_time)]
    pub credential_timeout: Duration,
    /// A dated API version, such as 2024-10-21. Without one the v1 form of the URL is used, which
    /// gpt-5.1 and later need.
    #[arg(long, env = "AZURE_OPENAI_API_VERSION", value_name = "DATE")]
    pub api_version: Option<String>,
    /// The deployment's name; by default the model's.
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
    /// Which parameters the model takes; by default known from its name.
    #[arg(long, env = "SOFTLABEL_MODEL_FAMILY", value_enum)]
    pub model_family: Option<Family>,
    /// How the model counts tokens; by default known from its name.
    #[arg(
        long,
        env = "SOFTLABEL_ENCODING",
        value_name = "o200k_base|cl100k_base"
    )]
    pub encoding: Option<Encoding>,
    /// Calls in flight at most.
    #[arg(short, long, env = "SOFTLABEL_CONCURRENCY", default_value_t = 50, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// Time until a connection must stand.
    #[arg(long, env = "SOFTLABEL_CONNECT_TIMEOUT", default_value = "10s", value_name = "TIME",
          value_parser = parse_time)]
    pub connect_timeout: Duration,
    /// Time for a call, from sending to the last byte of the answer.
    #[arg(long, env = "SOFTLABEL_CALL_TIMEOUT", default_value = "60s", value_name = "TIME",
          value_parser = parse_time)]
    pub call_timeout: Duration,
    /// Attempts a call for faults (408, 409, 5xx, broken connections), the first one counted.
    #[arg(long, env = "SOFTLABEL_ATTEMPTS", default_value_t = 5, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts: u32,
    /// Longest wait before the second attempt; it doubles from one to the next, with full jitter.
    #[arg(long, env = "SOFTLABEL_FIRST_BACKOFF", default_value = "1s", value_name = "TIME",
          value_parser = parse_time)]
    pub first_backoff: Duration,
    /// Longest wait between two attempts.
    #[arg(long, env = "SOFTLABEL_LONGEST_BACKOFF", default_value = "60s", value_name = "TIME",
          value_parser = parse_time)]
    pub longest_backoff: Duration,
    /// How long a call may go on meeting 429 before it counts as failed.
    #[arg(long, env = "SOFTLABEL_THROTTLE_PATIENCE", default_value = "15m", value_name = "TIME",
          value_parser = parse_time)]
    pub throttle_patience: Duration,
    /// Without any answer for so long, and only failures, sending stops but for a probe.
    #[arg(long, env = "SOFTLABEL_OUTAGE_AFTER", default_value = "5s", value_name = "TIME",
          value_parser = parse_time)]
    pub outage_after: Duration,
    /// Time between two probes in an outage.
    #[arg(long, env = "SOFTLABEL_OUTAGE_PROBE", default_value = "10s", value_name = "TIME",
          value_parser = parse_time)]
    pub outage_probe: Duration,
    /// How long an outage may last before the run stops; the same command continues it.
    #[arg(long, env = "SOFTLABEL_OUTAGE_PATIENCE", default_value = "30m", value_name = "TIME",
          value_parser = parse_time)]
    pub outage_patience: Duration,
    /// US dollars per million prompt tokens; known for gpt-5.2.
    #[arg(long, env = "SOFTLABEL_PRICE_INPUT", value_name = "USD", value_parser = parse_price,
          requires = "price_output")]
    pub price_input: Option<f64>,
    /// US dollars per million cached prompt tokens; by default as others.
    #[arg(long, env = "SOFTLABEL_PRICE_CACHED", value_name = "USD", value_parser = parse_price,
          requires = "price_input")]
    pub price_cached: Option<f64>,
    /// US dollars per million generated tokens.
    #[arg(long, env = "SOFTLABEL_PRICE_OUTPUT", value_name = "USD", value_parser = parse_price,
          requires = "price_input")]
    pub price_output: Option<f64>,
}

/// What is logged.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// What is logged to stderr: error, warn, info, debug, or a filter such as softlabel=debug.
    #[arg(
        long,
        env = "SOFTLABEL_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    pub log: String,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// The turns that failed.
    Failed,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// A line every few seconds.
    Lines,
    /// Nothing.
    None,
}

/// The name of a strategy that there is.
#[derive(Clone, Copy)]
pub struct StrategyName(pub &'static dyn Strategy);

impl std::fmt::Debug for StrategyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

fn parse_strategy(name: &str) -> Result<StrategyName, strategy::UnknownStrategy> {
    strategy::by_name(name).map(StrategyName)
}

/// A time such as `500ms`, `10s` or `15m`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write for example 500ms, 10s or 15m");
    let time = text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| wrong())?;
    let day = Duration::from_secs(86_400);
    if (Duration::from_millis(1)..=day).contains(&time) {
        Ok(time)
    } else {
        Err("a time is at least 1ms and at most 24h".into())
    }
}

/// A vault's address, without a slash at its end.
fn parse_vault_url(text: &str) -> Result<String, String> {
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
fn parse_secret_name(text: &str) -> Result<String, String> {
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
fn parse_scope(text: &str) -> Result<String, String> {
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

fn parse_price(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(price) if price.is_finite() && price >= 0.0 => Ok(price),
        _ => Err("a price is a number of US dollars per million tokens".into()),
    }
}

impl LabelingArgs {
    /// Limits of what is shown.
    pub fn budget(&self) -> Budget {
        Budget {
            message_tokens: self.message_tokens as usize,
            context_tokens: self.context_tokens as usize,
        }
    }
}

impl ServiceArgs {
    /// The deployment's name.
    pub fn deployment(&self) -> &str {
        self.deployment.as_deref().unwrap_or(&self.model)
    }

    /// The model's family, set or by its name.
    pub fn family(&self) -> Family {
        self.model_family
            .unwrap_or_else(|| Family::of_model(&self.model))
    }

    /// The model's encoding, set or by its name; what is new counts as o200k_base.
    pub fn encoding(&self) -> Encoding {
        self.encoding
            .or_else(|| Encoding::for_model(&self.model))
            .unwrap_or(Encoding::O200kBase)
    }

    /// The price of tokens, set or by the model's name; `None` where it is not known.
    pub fn price(&self) -> Option<Price> {
        match (self.price_input, self.price_output) {
            (Some(input), Some(output)) => Some(Price {
                input,
                cached: self.price_cached.unwrap_or(input),
                output,
            }),
            _ => Price::of_model(&self.model),
        }
    }

    /// The time-outs of a call.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: self.connect_timeout,
            call: self.call_timeout,
        }
    }

    /// Where to look for a credential, given what the platform has put into the environment.
    pub fn credential(&self, surroundings: Surroundings) -> credential::Settings {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let vault = match set(&self.keyvault_url) {
            _ if self.no_keyvault => VaultChoice::NotTried("not tried, --no-keyvault is set"),
            None => VaultChoice::NotTried("not tried, no --keyvault-url is set"),
            Some(url) => VaultChoice::Ask(VaultSecret {
                url,
                name: self.keyvault_secret.clone(),
            }),
        };
        credential::Settings {
            auth: self.auth,
            vault,
            key: self.api_key.clone(),
            entra_scope: self.entra_scope.clone(),
            identities: Identities {
                client_id: set(&self.identity_client_id),
                surroundings,
                connect_timeout: self.connect_timeout,
                timeout: self.credential_timeout,
            },
            clock: Clock::system(),
        }
    }

    /// The patience with faults and throttling.
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

/// The variables of all settings.
fn variables(command: &Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter_map(|arg| arg.get_env()?.to_str());
    let below = command.get_subcommands().flat_map(variables);
    own.map(str::to_owned).chain(below).collect()
}

/// The command, blind to variables that are set to nothing: they count as not set.
pub fn without_empty_variables(
    command: Command,
    value: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Command {
    let command = command.mut_args(|arg| {
        let empty = arg
            .get_env()
            .and_then(value)
            .is_some_and(|value| value.is_empty());
        if empty {
            arg.env(Resettable::Reset)
        } else {
            arg
        }
    });
    command.mut_subcommands(|command| without_empty_variables(command, value))
}

/// The names among `set` that look like ours but are no setting.
pub fn unknown_variables(command: &Command, set: impl IntoIterator<Item = String>) -> Vec<String> {
    let known = variables(command);
    #[cfg(debug_assertions)]
    let known = [known, vec![credential::VAULT_LOOPBACK.to_owned()]].concat();
    let ours = set
        .into_iter()
        .filter(|name| name.starts_with("SOFTLABEL_"));
    ours.filter(|name| !known.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        for command in Cli::command().get_subcommands() {
            for arg in command.get_arguments() {
                let id = arg.get_id().as_str();
                assert!(
                    arg.get_env().is_some() || matches!(id, "help" | "version"),
                    "{id}"
                );
            }
        }
    }

    #[test]
    fn a_variable_set_to_nothing_is_not_set() {
        let empty = |name: &OsStr| (name == "SOFTLABEL_MODEL").then(OsString::new);
        let command = without_empty_variables(Cli::command(), &empty);
        let info = command.find_subcommand("info").unwrap();
        let sees = |id: &str| {
            let mut args = info.get_arguments();
            args.find(|arg| arg.get_id() == id)
                .unwrap()
                .get_env()
                .is_some()
        };
        assert!(!sees("model") && sees("deployment"));
    }

    /// A row a setting of `softlabel label`: flag, variable, default, what it is for.
    fn settings_table() -> Vec<String> {
        let command = Cli::command();
        let label = command.find_subcommand("label").unwrap();
        let rows = label.get_arguments().filter_map(|arg| {
            let flag = arg.get_long().filter(|flag| *flag != "help")?;
            let short = arg
                .get_short()
                .map_or(String::new(), |short| format!(", `-{short}`"));
            let defaults = arg
                .get_default_values()
                .iter()
                .map(|value| value.to_str().unwrap());
            let default = match arg.get_action() {
                ArgAction::SetTrue => String::new(),
                _ => defaults.map(|value| format!("`{value}`")).collect(),
            };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.replace('\n', " ").replace('|', "\\|");
            let variable = arg.get_env().unwrap().to_str().unwrap();
            Some(format!(
                "| `--{flag}`{short} | `{variable}` | {default} | {help} |"
            ))
        });
        rows.collect()
    }

    #[test]
    fn the_readme_lists_every_setting() {
        let readme = include_str!("../../README.md");
        let table = settings_table();
        assert!(
            table.iter().all(|row| readme.contains(row.as_str())),
            "the table of README's chapter Settings is to be\n| flag | variable | default | what it is for |\n|---|---|---|---|\n{}",
            table.join("\n")
        );
    }

    #[test]
    fn the_readme_gives_a_reason_for_every_dependency() {
        let readme = include_str!("../../README.md");
        let manifests = [
            include_str!("../Cargo.toml"),
            include_str!("../../tests/Cargo.toml"),
        ];
        let mut listed = false;
        for line in manifests.iter().flat_map(|manifest| manifest.lines()) {
            if line.starts_with('[') {
                listed = line.ends_with("dependencies]");
                continue;
            }
            if let Some((name, _)) = line.split_once('=').filter(|_| listed) {
                let name = name.trim();
                assert!(
                    readme.contains(&format!("| `{name}` |")),
                    "{name} is not in README"
                );
            }
        }
    }

    #[test]
    fn a_misspelt_variable_is_found() {
        let set = ["SOFTLABEL_MODLE", "SOFTLABEL_MODEL", "HOME"].map(str::to_owned);
        assert_eq!(unknown_variables(&Cli::command(), set), ["SOFTLABEL_MODLE"]);
    }

    /// The variable that leads a vault's requests to this machine, spelt out here, as a release build
    /// does not know it.
    #[test]
    fn the_vault_of_the_tests_can_be_reached_in_debug_builds_only() {
        let set = ["SOFTLABEL_TEST_VAULT_LOOPBACK".to_owned()];
        let unknown = unknown_variables(&Cli::command(), set.clone());
        assert_eq!(
            unknown,
            if cfg!(debug_assertions) {
                vec![]
            } else {
                set.to_vec()
            }
        );
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

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("15m"), Ok(Duration::from_secs(900)));
        for wrong in ["", "10", "-3s", "soon", "0s", "48h"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

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
        assert_eq!(known.unwrap().input, 1.75);
        assert_eq!(parse(&["-m", "x"]).unwrap(), None);
        let set = parse(&["-m", "x", "--price-input", "2", "--price-output", "8"]).unwrap();
        assert_eq!(
            set,
            Some(Price {
                input: 2.0,
                cached: 2.0,
                output: 8.0
            })
        );
        let error: clap::Error = parse(&["--price-input", "2"]).unwrap_err();
        assert!(error.to_string().contains("--price-output"));
    }
}
