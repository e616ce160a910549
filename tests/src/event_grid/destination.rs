//! Where events are delivered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::storage::Queue;

/// The header that says what a request to a webhook is about.
const EVENT_TYPE: &str = "aeg-event-type";

/// The waits before an event is delivered again that was not taken, as documented; longer ones follow.
const RETRIES: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
];

/// Where the events of a subscription go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// To a queue, one in a message, in base64. It must be there.
    Queue(Queue),
    /// To a URL, one in a request.
    Webhook(Webhook),
}

/// A URL that takes events. What is behind it may come, go and move.
#[derive(Debug, Clone, Default)]
pub struct Webhook(Arc<Mutex<Option<String>>>);

impl Webhook {
    /// The URL that it leads to from now on; `None` where nothing answers.
    pub fn leads_to(&self, url: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn url(&self) -> Result<String> {
        let url = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        url.clone().context("the webhook leads nowhere")
    }

    async fn send(&self, about: &str, events: &Value) -> Result<Response> {
        let request = Client::new().post(self.url()?).header(EVENT_TYPE, about);
        Ok(request.json(events).send().await?)
    }

    /// The handshake: who answers proves that it wants the events.
    async fn validate(&self) -> Result<()> {
        let code = Uuid::new_v4().to_string();
        let event = json!([{
            "id": Uuid::new_v4().to_string(),
            "topic": "",
            "subject": "",
            "data": { "validationCode": code, "validationUrl": "" },
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": jiff::Timestamp::now().to_string(),
            "metadataVersion": "1",
            "dataVersion": "2",
        }]);
        let answer = self.send("SubscriptionValidation", &event).await?;
        let text = answer.error_for_status()?.text().await?;
        let said = serde_json::from_str::<Value>(&text).unwrap_or_default();
        ensure!(
            said["validationResponse"] == json!(code),
            "the webhook does not answer the handshake with its code, but {text:?}"
        );
        Ok(())
    }
}

impl From<Queue> for Destination {
    fn from(queue: Queue) -> Self {
        Self::Queue(queue)
    }
}

impl From<Webhook> for Destination {
    fn from(webhook: Webhook) -> Self {
        Self::Webhook(webhook)
    }
}

impl Destination {
    /// Makes sure that it takes events.
    pub(super) async fn validate(&self) -> Result<()> {
        match self {
            Self::Queue(queue) if queue.exists().await? => Ok(()),
            Self::Queue(queue) => bail!(
                "there is no queue {} for the events: create it first",
                queue.name()
            ),
            Self::Webhook(webhook) => webhook.validate().await,
        }
    }

    /// Delivers an event, after some time where there is any, and again where it is not taken.
    pub(super) async fn deliver(&self, event: &Value, delay: Duration) {
        tokio::time::sleep(delay).await;
        for wait in RETRIES {
            if self.try_to_deliver(event).await.is_ok() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_to_deliver(&self, event: &Value) -> Result<()> {
        match self {
            Self::Queue(queue) => queue.put(&BASE64_STANDARD.encode(event.to_string())).await,
            Self::Webhook(webhook) => {
                let answer = webhook.send("Notification", &json!([event])).await?;
                answer.error_for_status()?;
                Ok(())
            }
        }
    }
}
