//! Queues and their messages.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use super::{Storage, answer};

/// A queue, which need not exist. Texts are as they are stored: what the host sends is base64.
#[derive(Debug, Clone)]
pub struct Queue {
    storage: Storage,
    name: String,
}

/// A message as it was received or peeked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    /// What identifies it.
    #[serde(rename = "MessageId")]
    pub id: String,
    /// What allows to delete or change it, for as long as nobody else received it. Empty where it was only peeked at.
    #[serde(default)]
    pub pop_receipt: String,
    /// What it says, as it is stored.
    #[serde(rename = "MessageText", default)]
    pub text: String,
    /// How often it was received, this time included.
    #[serde(default)]
    pub dequeue_count: u32,
    /// When it was sent, as an HTTP date.
    pub insertion_time: String,
    /// When it is gone, as an HTTP date.
    pub expiration_time: String,
    /// When others see it again, as an HTTP date. Empty where it was only peeked at.
    #[serde(rename = "TimeNextVisible", default)]
    pub next_visible_time: String,
}

#[derive(Debug, Deserialize)]
struct Messages {
    #[serde(rename = "QueueMessage", default)]
    messages: Vec<Message>,
}

impl Queue {
    pub(super) fn new(storage: Storage, name: &str) -> Self {
        let name = name.to_owned();
        Self { storage, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes it, unless it is there.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn create(&self) -> Result<()> {
        let url = self.url(&[], &[])?;
        answer::unless(self.storage.request(Method::PUT, url), StatusCode::CONFLICT).await?;
        Ok(())
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn exists(&self) -> Result<bool> {
        Ok(self.metadata().await?.is_some())
    }

    /// About how many messages are in it, those that are invisible included; 0 where there is no queue.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn count(&self) -> Result<u64> {
        Ok(self.metadata().await?.unwrap_or(0))
    }

    async fn metadata(&self) -> Result<Option<u64>> {
        let url = self.url(&[], &[("comp", "metadata")])?;
        let Some(response) = answer::found(self.storage.request(Method::GET, url)).await? else {
            return Ok(None);
        };
        let count = response.headers().get("x-ms-approximate-messages-count");
        let count = count.and_then(|count| count.to_str().ok()?.parse().ok());
        Ok(Some(
            count.context("the answer about a queue has no count")?,
        ))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When there is no queue, or the service does not answer, or refuses.
    pub async fn put(&self, text: &str) -> Result<()> {
        self.put_later(text, Duration::ZERO).await
    }

    /// Sends a message that is invisible for a time, in whole seconds.
    ///
    /// # Errors
    /// When there is no queue, or the service does not answer, or refuses.
    pub async fn put_later(&self, text: &str, delay: Duration) -> Result<()> {
        answer::good(self.put_request(text, delay)?).await?;
        Ok(())
    }

    /// Sends a message that is invisible for a time, in whole seconds, and makes the queue first where there
    /// is none.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn put_or_create(&self, text: &str, delay: Duration) -> Result<()> {
        if answer::found(self.put_request(text, delay)?)
            .await?
            .is_none()
        {
            self.create().await?;
            answer::good(self.put_request(text, delay)?).await?;
        }
        Ok(())
    }

    fn put_request(&self, text: &str, delay: Duration) -> Result<RequestBuilder> {
        let delay = delay.as_secs().to_string();
        let url = self.url(&["messages"], &[("visibilitytimeout", &delay)])?;
        let text = quick_xml::escape::escape(text);
        let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        Ok(self.storage.request(Method::POST, url).body(body))
    }

    /// Receives up to 32 messages, which are invisible to others for a time, in whole seconds of at
    /// least one. None where there is no queue.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn get(&self, most: u32, invisible: Duration) -> Result<Vec<Message>> {
        let (most, invisible) = (
            most.to_string(),
            whole_seconds(invisible).max(1).to_string(),
        );
        let query = [
            ("numofmessages", most.as_str()),
            ("visibilitytimeout", &invisible),
        ];
        self.messages(&query).await
    }

    /// Up to 32 of the visible messages, which stay as they are. None where there is no queue.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn peek(&self, most: u32) -> Result<Vec<Message>> {
        let most = most.to_string();
        self.messages(&[("peekonly", "true"), ("numofmessages", &most)])
            .await
    }

    async fn messages(&self, query: &[(&str, &str)]) -> Result<Vec<Message>> {
        let url = self.url(&["messages"], query)?;
        let Some(response) = answer::found(self.storage.request(Method::GET, url)).await? else {
            return Ok(Vec::new());
        };
        let list: Messages = answer::xml(response).await?;
        Ok(list.messages)
    }

    /// Removes a message. Returns whether it could: somebody else may have received it since.
    ///
    /// # Errors
    /// When the service does not answer, or refuses for another reason.
    pub async fn delete(&self, message: &Message) -> Result<bool> {
        let query = [("popreceipt", message.pop_receipt.as_str())];
        let url = self.url(&["messages", &message.id], &query)?;
        let deleted = answer::held(self.storage.request(Method::DELETE, url)).await?;
        Ok(deleted.is_some())
    }

    /// Makes a message invisible to others for a time from now on, in whole seconds, or visible at once, and takes
    /// over the new receipt. Returns whether it could: somebody else may have received it since.
    ///
    /// # Errors
    /// When the service does not answer, or refuses for another reason.
    pub async fn update(&self, message: &mut Message, invisible: Duration) -> Result<bool> {
        let invisible = whole_seconds(invisible).to_string();
        let query = [
            ("popreceipt", message.pop_receipt.as_str()),
            ("visibilitytimeout", &invisible),
        ];
        let url = self.url(&["messages", &message.id], &query)?;
        // Without a body the text stays.
        let request = self
            .storage
            .request(Method::PUT, url)
            .header(CONTENT_LENGTH, 0);
        let Some(response) = answer::held(request).await? else {
            return Ok(false);
        };
        let header = |name| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        message.pop_receipt = header("x-ms-popreceipt").context("the answer has no receipt")?;
        message.next_visible_time = header("x-ms-time-next-visible").unwrap_or_default();
        Ok(true)
    }

    /// Removes all messages, the invisible ones included.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn clear(&self) -> Result<()> {
        let url = self.url(&["messages"], &[])?;
        answer::found(self.storage.request(Method::DELETE, url)).await?;
        Ok(())
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let path = [&[self.name.as_str()], path].concat();
        self.storage.queue_url(&path, query)
    }
}

/// Rounded up: a lease is at least as long as it was meant.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
