//! The double of Azure OpenAI as a program.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Parser;
use softlabel_doubles::azure_openai::{
    AlwaysFail, Config, Double, Fault, Latency, LimitChange, Limits, NoLogprobs,
};
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  A service that answers at once, any key accepted, every known model a deployment:
      azure-openai-double

  Call it (the endpoint is the line printed on stdout):
      curl $ENDPOINT/openai/v1/chat/completions -H 'api-key: x' -H 'content-type: application/json' \\
        -d '{\"model\":\"gpt-5.2\",\"max_completion_tokens\":16,\"reasoning_effort\":\"none\",
             \"logprobs\":true,\"top_logprobs\":5,\"messages\":[{\"role\":\"user\",\"content\":\"thanks!\"}]}'

  The first tier of gpt-5.2 at realistic latency, sixty times faster than real:
      azure-openai-double --deployment labels=gpt-5.2 --latency log-normal:400,0.5 \\
        --tpm 1000000 --rpm 10000 --speed 60

  A bad day:
      azure-openai-double --seed 7 --fault 500=0.02 --fault 503=0.01 --fault reset=0.01 \\
        --fault half-body=0.01 --filter-prompt-rate 0.005 --oddity single_entry=0.5 --oddity refusal=0.01

  Quota that drops after 30 s and comes back after 90 s:
      azure-openai-double --tpm 1000000 --limit-change 30:tpm=100000 --limit-change 90:tpm=1000000

While it runs:
      curl $ENDPOINT/_double/            what can be asked of the double itself
      curl $ENDPOINT/_double/stats       sums over all requests
      curl -X PATCH $ENDPOINT/_double/config -d '{\"limits\":{\"rpm\":60}}'

It simulates documents, not measurements; the library's documentation says what it leaves out.";

/// Stands in for Azure OpenAI's chat completions on this machine.
///
/// Behaves as the documents say: URL forms, authentication, parameter rules per model, logprobs,
/// quota, content filter, and, where asked to, everything that goes wrong. Prints its endpoint on one
/// line when ready, and ends on SIGINT or SIGTERM. The same seed gives the same answers.
#[derive(Debug, Parser)]
#[command(name = "azure-openai-double", version, after_long_help = EXAMPLES)]
struct Options {
    /// Start from this JSON file (the shape of GET /_double/config); other options override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0, conflicts_with = "listen")]
    port: u16,
    /// Address to listen on, where 127.0.0.1 will not do.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// A deployment, as MODEL or NAME=MODEL. Given at least once, these are all there are.
    #[arg(long = "deployment", value_name = "[NAME=]MODEL", value_parser = parse_deployment)]
    deployments: Vec<(String, String)>,
    /// An accepted `api-key`. Without any, every key will do.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// An accepted bearer token. Without any, every token will do.
    #[arg(long = "token", value_name = "TOKEN")]
    tokens: Vec<String>,
    /// A bearer token that is refused as expired.
    #[arg(long = "expired-token", value_name = "TOKEN")]
    expired_tokens: Vec<String>,
    /// Refuse every bearer token for want of a role, with status 403 or another one.
    #[arg(long, value_name = "STATUS", num_args = 0..=1, default_missing_value = "403")]
    role_missing: Option<u16>,
    /// Time to answer, in service milliseconds: none, fixed:MS or log-normal:MEDIAN_MS,SIGMA.
    #[arg(long, value_parser = parse_latency)]
    latency: Option<Latency>,
    /// The same for free texts, where it differs.
    #[arg(long, value_name = "LATENCY", value_parser = parse_latency)]
    text_latency: Option<Latency>,
    /// Service seconds per real second: latencies, windows and retry-after shrink by it.
    #[arg(long)]
    speed: Option<f64>,
    /// Tokens a minute, charged on arrival: prompt estimate plus longest answer.
    #[arg(long)]
    tpm: Option<u64>,
    /// Requests a minute, checked over one and ten seconds.
    #[arg(long)]
    rpm: Option<u64>,
    /// Quota from a service second on, as SECONDS:tpm=N,rpm=N; what is left out is unlimited.
    #[arg(long = "limit-change", value_name = "CHANGE", value_parser = parse_limit_change)]
    limit_changes: Vec<LimitChange>,
    /// Answer everything with 429 and a wait of 86,400 seconds.
    #[arg(long)]
    no_quota: bool,
    /// Share of attempts that fail: a status, reset, half-body, slow-body or hang.
    #[arg(long = "fault", value_name = "FAULT=RATE", value_parser = parse_fault)]
    faults: Vec<(Fault, f64)>,
    /// Only so many first attempts at a message are hit by --fault.
    #[arg(long, value_name = "N")]
    max_faults_per_key: Option<u32>,
    /// Messages that contain TEXT fail every time.
    #[arg(long = "always-fail", value_name = "TEXT=FAULT", value_parser = parse_always_fail)]
    always_fail: Vec<AlwaysFail>,
    /// Messages that contain TEXT are refused by the content filter.
    #[arg(long = "filter-prompt", value_name = "TEXT")]
    filter_prompt: Vec<String>,
    /// Share of messages that the content filter refuses.
    #[arg(long, value_name = "RATE")]
    filter_prompt_rate: Option<f64>,
    /// Share of messages whose answer the content filter cuts.
    #[arg(long, value_name = "RATE")]
    filter_completion_rate: Option<f64>,
    /// Share of answers in an odd shape: single_entry, short_list, junk, whitespace_variants, sentinel,
    /// sampled_not_listed, no_bytes, neither_label, refusal, empty_content.
    #[arg(long = "oddity", value_name = "NAME=RATE", value_parser = parse_oddity)]
    oddities: Vec<(String, f64)>,
    /// Log-odds added to the token "1", whatever it means.
    #[arg(long, value_name = "LOG_ODDS", allow_hyphen_values = true)]
    token_bias: Option<f64>,
    /// HTTP 500 whenever two or more top_logprobs are asked for.
    #[arg(long)]
    top_logprobs_500: bool,
    /// No logprobs: left out of a 200 (omit), or 403 (forbid).
    #[arg(long, value_name = "HOW", value_parser = parse_no_logprobs)]
    no_logprobs: Option<NoLogprobs>,
    /// Largest prompt in estimated tokens; without it the model's own.
    #[arg(long, value_name = "TOKENS")]
    context_limit: Option<u64>,
    /// Append each request's record to this file, as JSON lines.
    #[arg(long, value_name = "FILE", conflicts_with = "no_log")]
    log_file: Option<PathBuf>,
    /// Keep request bodies and user texts in the records.
    #[arg(long)]
    keep_bodies: bool,
    /// Keep no records, only counts.
    #[arg(long)]
    no_log: bool,
}

impl Options {
    fn into_config(self) -> Result<Config> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                serde_json::from_str(&text)
                    .with_context(|| format!("{} is not a configuration", path.display()))?
            }
        };
        fn set<T>(setting: &mut T, option: Option<T>) {
            if let Some(value) = option {
                *setting = value;
            }
        }
        set(&mut config.listen, self.listen);
        if self.port != 0 {
            config.listen.set_port(self.port);
        }
        set(&mut config.seed, self.seed);
        if !self.deployments.is_empty() {
            config.deployments = self.deployments.into_iter().collect::<BTreeMap<_, _>>();
        }
        config.access.api_keys.extend(self.keys);
        config.access.bearer_tokens.extend(self.tokens);
        config.access.expired_tokens.extend(self.expired_tokens);
        config.access.role_missing = self.role_missing.or(config.access.role_missing);
        set(&mut config.latency, self.latency);
        config.text_latency = self.text_latency.or(config.text_latency);
        set(&mut config.speed, self.speed);
        config.limits.tpm = self.tpm.or(config.limits.tpm);
        config.limits.rpm = self.rpm.or(config.limits.rpm);
        config.limits.no_quota |= self.no_quota;
        config.limit_changes.extend(self.limit_changes);
        config.faults.rates.extend(self.faults);
        set(
            &mut config.faults.max_faults_per_key,
            self.max_faults_per_key,
        );
        config.faults.always_fail.extend(self.always_fail);
        config
            .content_filter
            .prompt_contains
            .extend(self.filter_prompt);
        set(
            &mut config.content_filter.prompt_rate,
            self.filter_prompt_rate,
        );
        set(
            &mut config.content_filter.completion_rate,
            self.filter_completion_rate,
        );
        set_oddities(&mut config, self.oddities)?;
        set(&mut config.token_bias, self.token_bias);
        config.quirks.top_logprobs_500 |= self.top_logprobs_500;
        config.quirks.no_logprobs = self.no_logprobs.or(config.quirks.no_logprobs);
        config.context_limit_tokens = self.context_limit.or(config.context_limit_tokens);
        config.log_file = self.log_file.or(config.log_file);
        config.keep_bodies |= self.keep_bodies;
        config.keep_log &= !self.no_log;
        Ok(config)
    }
}

/// Goes by way of JSON, so that the names of the oddities stand in one place only.
fn set_oddities(config: &mut Config, rates: Vec<(String, f64)>) -> Result<()> {
    let mut all = serde_json::to_value(&config.oddities).context("oddities")?;
    for (name, rate) in rates {
        let slot = all
            .get_mut(&name)
            .with_context(|| format!("--oddity: there is no {name:?}"))?;
        *slot = rate.into();
    }
    config.oddities = serde_json::from_value(all).context("--oddity")?;
    Ok(())
}

fn parse_deployment(text: &str) -> Result<(String, String)> {
    let (name, model) = text.split_once('=').unwrap_or((text, text));
    ensure!(
        !name.is_empty() && !model.is_empty(),
        "expected MODEL or NAME=MODEL"
    );
    Ok((name.to_owned(), model.to_owned()))
}

fn parse_latency(text: &str) -> Result<Latency> {
    let number = |text: &str| {
        text.parse()
            .with_context(|| format!("{text:?} is not a number"))
    };
    Ok(match text.split_once(':') {
        None if text == "none" => Latency::None,
        Some(("fixed", ms)) => Latency::Fixed { ms: number(ms)? },
        Some(("log-normal", shape)) => {
            let (median, sigma) = shape.split_once(',').context("expected MEDIAN_MS,SIGMA")?;
            Latency::LogNormal {
                median_ms: number(median)?,
                sigma: number(sigma)?,
            }
        }
        _ => {
            return Err(anyhow!(
                "expected none, fixed:MS or log-normal:MEDIAN_MS,SIGMA"
            ));
        }
    })
}

fn parse_rate(text: &str) -> Result<(&str, f64)> {
    let (name, rate) = text.split_once('=').context("expected NAME=RATE")?;
    Ok((
        name,
        rate.parse()
            .with_context(|| format!("{rate:?} is not a number"))?,
    ))
}

fn parse_fault(text: &str) -> Result<(Fault, f64)> {
    let (fault, rate) = parse_rate(text)?;
    Ok((
        fault.parse().map_err(|reason: String| anyhow!(reason))?,
        rate,
    ))
}

fn parse_oddity(text: &str) -> Result<(String, f64)> {
    parse_rate(text).map(|(name, rate)| (name.to_owned(), rate))
}

fn parse_always_fail(text: &str) -> Result<AlwaysFail> {
    let (contains, fault) = text.rsplit_once('=').context("expected TEXT=FAULT")?;
    let fault = fault.parse().map_err(|reason: String| anyhow!(reason))?;
    Ok(AlwaysFail {
        contains: contains.to_owned(),
        fault,
        code: None,
    })
}

fn parse_no_logprobs(text: &str) -> Result<NoLogprobs> {
    match text {
        "omit" => Ok(NoLogprobs::Omit),
        "forbid" => Ok(NoLogprobs::Forbid),
        _ => Err(anyhow!("expected omit or forbid")),
    }
}

fn parse_limit_change(text: &str) -> Result<LimitChange> {
    let (at_s, quota) = text
        .split_once(':')
        .context("expected SECONDS:tpm=N,rpm=N")?;
    let at_s = at_s
        .parse()
        .with_context(|| format!("{at_s:?} is not a number of seconds"))?;
    let mut limits = Limits::default();
    for part in quota.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').context("expected tpm=N or rpm=N")?;
        let value = value
            .parse()
            .with_context(|| format!("{value:?} is not a number"))?;
        match name {
            "tpm" => limits.tpm = Some(value),
            "rpm" => limits.rpm = Some(value),
            _ => return Err(anyhow!("expected tpm=N or rpm=N, not {name:?}")),
        }
    }
    Ok(LimitChange { at_s, limits })
}

#[tokio::main]
async fn main() -> Result<()> {
    let config = Options::parse().into_config()?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let double = Double::start(config).await?;
    let mut stdout = std::io::stdout();
    // Whoever started the double may have closed the pipe by now; that is no reason to stop.
    let _ = writeln!(stdout, "{}", double.endpoint()).and_then(|()| stdout.flush());
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    double.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(options: &[&str]) -> Config {
        let options = [&["azure-openai-double"], options].concat();
        let config = Options::try_parse_from(options)
            .unwrap()
            .into_config()
            .unwrap();
        config.validate().unwrap();
        config
    }

    #[test]
    fn options_reach_the_configuration() {
        assert_eq!(config(&[]), Config::default());
        let config = config(&[
            "--deployment=labels=gpt-5.2",
            "--latency=log-normal:300,0.4",
            "--limit-change=30:tpm=1000,rpm=60",
            "--fault=500=0.1",
            "--fault=half-body=0.2",
            "--always-fail=a=b=503",
            "--oddity=junk=0.25",
            "--token-bias=-0.5",
            "--role-missing",
        ]);
        assert_eq!(
            config.deployments,
            [("labels".to_owned(), "gpt-5.2".to_owned())].into()
        );
        assert_eq!(
            config.latency,
            Latency::LogNormal {
                median_ms: 300.0,
                sigma: 0.4
            }
        );
        assert_eq!(config.limit_changes[0].limits.rpm, Some(60));
        assert_eq!(config.faults.rates[&Fault::HalfBody], 0.2);
        assert_eq!(config.faults.always_fail[0].contains, "a=b");
        assert_eq!(config.oddities.junk, 0.25);
        assert_eq!(config.token_bias, -0.5);
        assert_eq!(config.access.role_missing, Some(403));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for options in [
            ["--latency", "slow"],
            ["--fault", "200=0.1"],
            ["--no-logprobs", "maybe"],
            ["--limit-change", "soon:tpm=1"],
        ] {
            assert!(
                Options::try_parse_from(["x", options[0], options[1]]).is_err(),
                "{options:?}"
            );
        }
        let odd = Options::try_parse_from(["x", "--oddity", "nonsense=1"]).unwrap();
        assert!(odd.into_config().is_err());
    }
}
