//! From settings to a teacher that is ready to be asked.

use crate::clock::Clock;
use crate::config::{ChunksOut, CutArgs, LabelingArgs, ServiceArgs};
use crate::labeling::prompt::{Mark, Prompt, Prompts};
use crate::labeling::strategy::Input;
use crate::labeling::task::Task;
use crate::run::settings::LabelSettings;
use crate::teacher::credential::Surroundings;
use crate::teacher::pace::Pace;
use crate::teacher::probe::{self, Settled};
use crate::teacher::profile::Profile;
use crate::teacher::transport::Transport;
use crate::teacher::{Teacher, stop::Stop};
use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Turns under way for each call in flight, so that a slow turn holds up no other.
const WINDOW_PER_CALL: usize = 2;

/// Messages of a queue that the host hands to an instance at a time, and for which it starts an instance:
/// `batchSize` plus `newBatchThreshold` in host.json.
const MESSAGES_AN_INSTANCE: u64 = 24;

/// The most instances for labelling. With half as many again, and a chunk each of many runs, all of which may be out
/// for a while, there are fewer than the 40 that every region allows: other functions get instances, too.
const MOST_INSTANCES: u64 = 20;

/// The latency of a long call, a rationale, in seconds.
const LONG_CALL: f64 = 2.0;

/// What the probe asks about: harmless, and always the same.
const PROBE_MESSAGE: &str = "Thanks, that worked!";

/// The settings that decide what a label is.
pub fn label_settings(
    labeling: &LabelingArgs,
    service: &ServiceArgs,
    task: &Arc<Task>,
) -> LabelSettings {
    let strategy = labeling.strategy.0;
    LabelSettings {
        api: service.api,
        base_url: service.pinned_base_url(),
        model: service.model.clone(),
        model_family: service.family(),
        deployment: service.deployment().to_owned(),
        encoding: service.encoding(),
        strategy: strategy.name().to_owned(),
        strategy_version: strategy.version(),
        prompt_version: task.version(),
        task: Arc::clone(task),
        with_rationales: !labeling.no_rationales,
        hard_label: labeling.hard_label,
        limits: labeling.limits(),
    }
}

/// A line to the deployment, with a credential. Nothing is sent to the deployment yet.
pub async fn transport(service: &ServiceArgs) -> anyhow::Result<Transport> {
    let endpoint = service.address()?;
    let credential = service.credential(Surroundings::of_process());
    let credential = credential.obtain().await?;
    Transport::new(
        endpoint,
        credential,
        service.timeouts(),
        service.concurrency.most() as usize,
        Clock::system(),
    )
    .context("TLS cannot be set up on this machine")
}

pub(super) fn rng() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}

/// Settles the request profile with one call.
pub async fn settle(
    transport: &Transport,
    labeling: &LabelingArgs,
    service: &ServiceArgs,
    task: &Arc<Task>,
) -> Result<Settled, Stop> {
    let prompt = harmless(labeling, service, task)?;
    let profile = service.profile();
    let patience = service.patience();
    let tariff = service.tariff(None);
    let Prompt { system, user } = &prompt;
    probe::settle(transport, profile, system, user, patience, tariff).await
}

/// The harmless classification that tests whether the service answers.
fn harmless(
    labeling: &LabelingArgs,
    service: &ServiceArgs,
    task: &Arc<Task>,
) -> Result<Prompt, Stop> {
    let input = message_input(PROBE_MESSAGE, labeling, service)
        .ok_or_else(|| Stop::Unreachable("there is nothing to ask".into()))?;
    let mark = Mark::fresh(&mut rng(), &input);
    Ok(Prompts::of(task).classification(&input, &mark))
}

/// A lone message as the strategy shows it.
pub fn message_input(
    message: &str,
    labeling: &LabelingArgs,
    service: &ServiceArgs,
) -> Option<Input> {
    use crate::dataset::conversation::{Conversation, Turn};
    let turn = Turn {
        user_message: message.to_owned(),
        ..Turn::default()
    };
    let conversation = Conversation {
        id: String::new(),
        turns: vec![turn],
    };
    let strategy = labeling.strategy.0;
    strategy.input(&conversation, 0, &labeling.limits(), &service.encoding())
}

/// Turns under way at a time: enough for every slot, whatever the chunks' size.
pub fn window(cut: &CutArgs, service: &ServiceArgs) -> usize {
    (service.concurrency.most() as usize * WINDOW_PER_CALL).max(2 * cut.chunk_turns as usize)
}

/// The number of chunk messages in the queue or in work: enough to keep the instances busy that the quota
/// needs for its calls in flight.
pub fn chunks_out(wanted: ChunksOut, service: &ServiceArgs) -> u64 {
    match wanted {
        ChunksOut::Fixed(chunks) => u64::from(chunks),
        ChunksOut::Auto => {
            let in_flight = (service.quota().rpm / 60.0 * LONG_CALL).ceil() as u64;
            let instances = in_flight.div_ceil(u64::from(service.concurrency.most()));
            instances.clamp(1, MOST_INSTANCES) * MESSAGES_AN_INSTANCE
        }
    }
}

/// One slot for each call of this process that may be in flight.
pub fn slots(service: &ServiceArgs) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(service.concurrency.most() as usize))
}

/// The pace of the deployment, all of whose quota is this process's.
pub fn pace(service: &ServiceArgs) -> Arc<Pace> {
    Arc::new(Pace::new(service.quota(), service.concurrency))
}

/// A teacher under a settled profile, which takes a slot for each call and keeps the pace.
pub fn teacher(
    transport: Transport,
    profile: Profile,
    labeling: &LabelingArgs,
    service: &ServiceArgs,
    task: &Arc<Task>,
    slots: Arc<Semaphore>,
    pace: Arc<Pace>,
) -> Result<Teacher, Stop> {
    let (probe, patience) = (harmless(labeling, service, task)?, service.patience());
    let rng = rng();
    Ok(Teacher::new(
        transport, profile, probe, patience, slots, pace, rng,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cli, Subcommands};
    use clap::Parser;
    use std::path::Path;

    #[test]
    fn an_instance_takes_what_host_json_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host.json");
        let host = std::fs::read(path).unwrap();
        let host = serde_json::from_slice::<serde_json::Value>(&host).unwrap();
        let queues = &host["extensions"]["queues"];
        let number = |name: &str| queues[name].as_u64().unwrap();
        let together = number("batchSize") + number("newBatchThreshold");
        assert_eq!(together, MESSAGES_AN_INSTANCE);
    }

    #[test]
    fn so_many_chunks_are_out_that_the_quota_can_be_used() {
        for (args, out) in [
            // 50,000 tokens a minute of gpt-5.2, 500,000, 1,000,000.
            (vec!["--rpm=500"], 24),
            (vec!["--rpm=5000"], 4 * 24),
            (vec!["--rpm=10000"], 7 * 24),
            (vec!["--rpm=10000", "--concurrency=auto"], 24),
            (vec!["--rpm=10000000"], 20 * 24),
            (vec!["--rpm=10000000", "--chunks-out=7"], 7),
        ] {
            let usual = ["softlabel", "serve", "--data=data", "--port=1"];
            let cli = Cli::parse_from(usual.into_iter().chain(args.clone()));
            let Subcommands::Serve(serve) = cli.command else {
                panic!("serve was meant");
            };
            assert_eq!(
                chunks_out(serve.chunks_out, &serve.service),
                out,
                "{args:?}"
            );
        }
    }
}
