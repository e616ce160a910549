//! From settings to a teacher that is ready to be asked.

use crate::clock::Clock;
use crate::config::{CutArgs, LabelingArgs, ServiceArgs};
use crate::labeling::prompt::{Mark, Prompt, Prompts};
use crate::labeling::strategy::Input;
use crate::labeling::task::Task;
use crate::run::settings::LabelSettings;
use crate::teacher::credential::Surroundings;
use crate::teacher::pace::Pace;
use crate::teacher::probe::{self, Settled};
use crate::teacher::profile::Profile;
use crate::teacher::transport::Transport;
use crate::teacher::{Teacher, disposition::Stop};
use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Turns under way for each call in flight, so that a slow turn holds up no other.
const WINDOW_PER_CALL: usize = 2;

/// What the probe asks about: harmless, and always the same.
const PROBE_MESSAGE: &str = "Thanks, that worked!";

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

/// The harmless classification that finds out how the service is.
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
