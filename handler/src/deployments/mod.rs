//! From settings to what it takes to ask a deployment: its connection, its pace, and how many calls
//! may be in flight.

mod connect;

pub use connect::{
    chunks_out, label_settings, message_input, pace, settle, slots, teacher, transport, window,
};

use crate::clock::Clock;
use crate::config::{LabelingArgs, ServiceArgs};
use crate::labeling::strategy;
use crate::run::progress::Progress;
use crate::run::record::ApiProfile;
use crate::run::settings::{LabelSettings, Method};
use crate::run::turn::Labeler;
use crate::steps::{Connect, Trouble};
use crate::store::{OwnFolder, sentence};
use crate::teacher::endpoint::Api;
use crate::teacher::pace::Pace;
use crate::teacher::sharing::{SharedQuota, keep_share};
use crate::teacher::transport::Transport;
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The deployments that runs ask: how to reach each one, and the pace of each.
#[derive(Debug)]
pub struct Deployments {
    labeling: LabelingArgs,
    service: ServiceArgs,
    /// One for each call of this process that may be in flight.
    slots: Arc<Semaphore>,
    /// How quotas are divided with other processes; `None` where this process is alone.
    sharing: Option<Sharing>,
    paces: Mutex<HashMap<String, Arc<Pace>>>,
    /// An open connection, which the first one to need a connection takes.
    ready: Mutex<Option<Transport>>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Sharing {
    work: OwnFolder,
    stop: CancellationToken,
}

impl Deployments {
    /// The deployments of an app. Quotas are divided with its other instances in `work`, until `stop` is
    /// cancelled.
    pub fn shared(
        labeling: LabelingArgs,
        service: ServiceArgs,
        work: OwnFolder,
        stop: CancellationToken,
    ) -> Self {
        let sharing = Some(Sharing { work, stop });
        Self::new(labeling, service, sharing, None, Arc::default())
    }

    /// The deployments of a process that shares no quota. `transport` is its open connection to the
    /// deployment in the settings, if there is one; `progress` counts the turns.
    pub fn alone(
        labeling: LabelingArgs,
        service: ServiceArgs,
        transport: Option<Transport>,
        progress: Arc<Progress>,
    ) -> Self {
        Self::new(labeling, service, None, transport, progress)
    }

    fn new(
        labeling: LabelingArgs,
        service: ServiceArgs,
        sharing: Option<Sharing>,
        ready: Option<Transport>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            slots: slots(&service),
            labeling,
            service,
            sharing,
            paces: Mutex::default(),
            ready: Mutex::new(ready),
            progress,
        }
    }

    /// The pace of a deployment, which all who ask it in this process share.
    fn pace(&self, deployment: &str) -> Arc<Pace> {
        let known = self.paces.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = known.get(deployment) {
            return Arc::clone(pace);
        }
        let pace = match &self.sharing {
            Some(sharing) => self.shared_pace(deployment, sharing),
            None => pace(&self.service),
        };
        known.insert(deployment.to_owned(), Arc::clone(&pace));
        pace
    }

    fn shared_pace(&self, deployment: &str, sharing: &Sharing) -> Arc<Pace> {
        let (quota, concurrency) = (self.service.quota(), self.service.concurrency);
        let pace = Arc::new(Pace::shared(quota, concurrency));
        let endpoint = match self.service.api {
            Api::Azure => self.service.endpoint.clone(),
            Api::OpenAi => self.service.pinned_base_url(),
        };
        let endpoint = endpoint.unwrap_or_default();
        let shared = SharedQuota::new(sharing.work.clone(), &endpoint, deployment);
        let (kept, stop) = (Arc::clone(&pace), sharing.stop.clone());
        tokio::spawn(async move {
            let name = Uuid::new_v4().to_string();
            let clock = Clock::system();
            keep_share(&kept, &shared, &name, clock, connect::rng(), &stop).await;
        });
        pace
    }

    /// The settings of the service for a run, which may be about another deployment.
    fn service_of(&self, settings: &LabelSettings) -> ServiceArgs {
        ServiceArgs {
            api: settings.api,
            base_url: settings
                .base_url
                .clone()
                .or_else(|| self.service.base_url.clone()),
            deployment: Some(settings.deployment.clone()),
            model: settings.model.clone(),
            model_family: Some(settings.model_family),
            encoding: Some(settings.encoding),
            ..self.service.clone()
        }
    }

    async fn transport(&self, service: &ServiceArgs) -> Result<Transport, Trouble> {
        let ready = self.ready.lock();
        let ready = ready.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ready) = ready {
            return Ok(ready);
        }
        let transport = transport(service).await;
        transport.map_err(|error| Trouble::Connection(sentence(error.as_ref())))
    }
}

#[async_trait]
impl Connect for Deployments {
    async fn settle(&self, settings: &LabelSettings) -> Result<ApiProfile, Trouble> {
        let service = self.service_of(settings);
        let transport = self.transport(&service).await?;
        let settled = settle(&transport, &self.labeling, &service, &settings.task)
            .await
            .map_err(Trouble::Service)?;
        let tokens = transport.meter().read().tokens;
        if self.sharing.is_none() {
            let ready = self.ready.lock();
            *ready.unwrap_or_else(PoisonError::into_inner) = Some(transport);
        }
        Ok(ApiProfile {
            api_profile: settled.profile,
            api_profile_reasons: settled.reasons,
            answered_by: settled.answered_by,
            probe_tokens: tokens,
        })
    }

    async fn labeler(&self, method: &Method) -> Result<Labeler, Trouble> {
        let settings = &method.settings;
        let strategy = strategy::by_name(&settings.strategy)
            .map_err(|error| Trouble::Connection(error.to_string()))?;
        let service = self.service_of(settings);
        let teacher = teacher(
            self.transport(&service).await?,
            method.api_profile.clone(),
            &self.labeling,
            &service,
            &settings.task,
            Arc::clone(&self.slots),
            self.pace(&settings.deployment),
        )
        .map_err(Trouble::Service)?;
        let tariff = service.tariff(method.answered_by.as_deref());
        Ok(Labeler::new(
            Arc::new(teacher),
            settings,
            strategy,
            !self.labeling.no_dedupe,
            Arc::clone(&self.progress),
            tariff,
        ))
    }
}
