//! A client for blob and queue storage, as far as tests and doubles need one. Not the product's: what it
//! writes and reads is seen through other eyes than the product's own.
//!
//! It signs one shared access signature for everything in an account and sends it with each request. A
//! clone shares its connections; a client belongs to the runtime that it was first used on.

mod access;
mod answer;
mod container;
mod queue;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use reqwest::{Client, Method, RequestBuilder, Url};

pub use container::{Blob, BlobItem, BlobType, Container};
pub use queue::{Message, Queue};

use access::Signature;
use answer::{Names, xml};

/// The version of the services' REST API that is spoken.
const VERSION: &str = "2023-11-03";

/// A storage account.
#[derive(Debug, Clone)]
pub struct Storage {
    http: Client,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    blob_endpoint: String,
    queue_endpoint: String,
    signature: Signature,
}

impl Storage {
    /// A client for the account of this name. The key is in base64; endpoints include the account,
    /// where the path names it.
    pub fn new(account: &str, key: &str, blob_endpoint: &str, queue_endpoint: &str) -> Self {
        let inner = Inner {
            blob_endpoint: blob_endpoint.trim_end_matches('/').to_owned(),
            queue_endpoint: queue_endpoint.trim_end_matches('/').to_owned(),
            signature: Signature::for_account(account, key),
        };
        Self {
            http: Client::new(),
            inner: Arc::new(inner),
        }
    }

    /// A client for the account that a connection string names.
    ///
    /// # Errors
    /// When it lacks one of name, key and the two endpoints.
    pub fn from_connection_string(text: &str) -> Result<Self> {
        let part = |name: &str| {
            let mut parts = text.split(';').filter_map(|part| part.split_once('='));
            parts
                .find(|(found, _)| *found == name)
                .map(|(_, value)| value)
                .with_context(|| format!("the connection string has no {name}"))
        };
        Ok(Self::new(
            part("AccountName")?,
            part("AccountKey")?,
            part("BlobEndpoint")?,
            part("QueueEndpoint")?,
        ))
    }

    /// A container, which need not exist.
    pub fn container(&self, name: &str) -> Container {
        Container::new(self.clone(), name)
    }

    /// A queue, which need not exist.
    pub fn queue(&self, name: &str) -> Queue {
        Queue::new(self.clone(), name)
    }

    /// The names of all containers, in order.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn containers(&self) -> Result<Vec<String>> {
        let url = self.blob_url(&[], &[("comp", "list")])?;
        let answer = answer::good(self.request(Method::GET, url)).await?;
        let names: Names = xml(answer).await?;
        Ok(names.containers())
    }

    /// The names of all queues, in order.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn queues(&self) -> Result<Vec<String>> {
        let url = self.queue_url(&[], &[("comp", "list")])?;
        let answer = answer::good(self.request(Method::GET, url)).await?;
        let names: Names = xml(answer).await?;
        Ok(names.queues())
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http
            .request(method, url)
            .header("x-ms-version", VERSION)
    }

    fn blob_url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        self.url(&self.inner.blob_endpoint, path, query)
    }

    fn queue_url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        self.url(&self.inner.queue_endpoint, path, query)
    }

    fn url(&self, endpoint: &str, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let mut url = Url::parse(endpoint)
            .with_context(|| format!("the storage endpoint {endpoint} is no URL"))?;
        let folder = path.is_empty();
        url.path_segments_mut()
            .ok()
            .context("the storage endpoint cannot have paths")?
            .pop_if_empty()
            .extend(path)
            // Operations on the account itself have a slash at the end.
            .extend(folder.then_some(""));
        url.query_pairs_mut()
            .extend_pairs(query)
            .extend_pairs(self.inner.signature.query());
        Ok(url)
    }
}
