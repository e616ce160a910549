//! The deployments that the function app asks, and their quotas.

use super::connect;
use crate::clock::Clock;
use crate::config::{LabelingArgs, ServiceArgs};
use crate::functions::Connect;
use crate::labeling::strategy;
use crate::run::quota::QuotaRecord;
use crate::run::record::ApiProfile;
use crate::run::settings::{LabelSettings, Method};
use crate::run::turn::Labeler;
use crate::store::OwnFolder;
use crate::teacher::sharing::keep_share;
use crate::teacher::turnstile::Turnstile;
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The deployments of the account that the settings name.
#[derive(Debug)]
pub(super) struct Deployments {
    labeling: LabelingArgs,
    service: ServiceArgs,
    /// One for each call that may be in flight, whoever makes it.
    slots: Arc<Semaphore>,
    /// The work area, in which the instances of the app divide quotas.
    work: OwnFolder,
    /// The pace of each deployment, by its name.
    turnstiles: Mutex<HashMap<String, Arc<Turnstile>>>,
    /// Cancelled when the process is to end.
    stop: CancellationToken,
}

impl Deployments {
    /// The deployments that `service` names or that runs name instead. Quotas are divided with other
    /// instances in `work`, until `stop` is cancelled.
    pub(super) fn new(
        labeling: LabelingArgs,
        service: ServiceArgs,
        work: OwnFolder,
        stop: CancellationToken,
    ) -> Self {
        Self {
            slots: connect::slots(&service),
            labeling,
            service,
            work,
            turnstiles: Mutex::default(),
            stop,
        }
    }

    /// The pace of a deployment, which all who ask it in this process share.
    fn turnstile(&self, deployment: &str) -> Arc<Turnstile> {
        let known = self.turnstiles.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if let Some(turnstile) = known.get(deployment) {
            return Arc::clone(turnstile);
        }
        let (quota, concurrency) = (self.service.quota(), self.service.concurrency);
        let turnstile = Arc::new(Turnstile::shared(quota, concurrency));
        known.insert(deployment.to_owned(), Arc::clone(&turnstile));
        let endpoint = self.service.endpoint.clone().unwrap_or_default();
        let record = QuotaRecord::new(self.work.clone(), &endpoint, deployment);
        let (kept, stop) = (Arc::clone(&turnstile), self.stop.clone());
        tokio::spawn(async move {
            let name = Uuid::new_v4().to_string();
            let clock = Clock::system();
            keep_share(&kept, &record, &name, clock, connect::rng(), &stop).await;
        });
        turnstile
    }

    /// The settings of the service for a run, which may be about another deployment.
    fn service_of(&self, settings: &LabelSettings) -> ServiceArgs {
        ServiceArgs {
            deployment: Some(settings.deployment.clone()),
            model: settings.model.clone(),
            model_family: Some(settings.model_family),
            encoding: Some(settings.encoding),
            ..self.service.clone()
        }
    }
}

#[async_trait]
impl Connect for Deployments {
    async fn settle(&self, settings: &LabelSettings) -> Result<ApiProfile, String> {
        let service = self.service_of(settings);
        let transport = connect::transport(&service).await;
        let transport = transport.map_err(|error| super::sentence(&error))?;
        let settled = connect::settle(&transport, &self.labeling, &service)
            .await
            .map_err(|stop| stop.to_string())?;
        Ok(ApiProfile {
            api_profile: settled.profile,
            api_profile_reasons: settled.reasons,
            answered_by: settled.answered_by,
        })
    }

    async fn labeler(&self, method: &Method) -> Result<Labeler, String> {
        let settings = &method.settings;
        let strategy = strategy::by_name(&settings.strategy).map_err(|error| error.to_string())?;
        let service = self.service_of(settings);
        let transport = connect::transport(&service).await;
        let transport = transport.map_err(|error| super::sentence(&error))?;
        let teacher = connect::teacher(
            transport,
            method.api_profile.clone(),
            &self.labeling,
            &service,
            Arc::clone(&self.slots),
            self.turnstile(&settings.deployment),
        )
        .map_err(|stop| stop.to_string())?;
        let tariff = service.tariff(method.answered_by.as_deref());
        Ok(Labeler::new(
            Arc::new(teacher),
            settings,
            strategy,
            !self.labeling.no_dedupe,
            Arc::default(),
            tariff,
        ))
    }
}
