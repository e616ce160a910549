//! Storage accounts of an Azurite.

use super::process::Endpoints;
use crate::storage::Storage;

/// The account that storage emulators have by default.
pub(super) const WELL_KNOWN: &str = "devstoreaccount1";

/// The key that storage emulators have by default. Microsoft publishes it; it opens nothing else.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A storage account, and all it takes to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    blob_endpoint: String,
    queue_endpoint: String,
    table_endpoint: String,
}

impl Account {
    pub(super) fn new(name: String, endpoints: &Endpoints) -> Self {
        Self {
            blob_endpoint: format!("{}/{name}", endpoints.blob),
            queue_endpoint: format!("{}/{name}", endpoints.queue),
            table_endpoint: format!("{}/{name}", endpoints.table),
            name,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key, in base64.
    pub fn key(&self) -> &str {
        KEY
    }

    /// Where its containers are, as `http://127.0.0.1:PORT/NAME`.
    pub fn blob_endpoint(&self) -> &str {
        &self.blob_endpoint
    }

    /// Where its queues are, as `http://127.0.0.1:PORT/NAME`.
    pub fn queue_endpoint(&self) -> &str {
        &self.queue_endpoint
    }

    /// What goes into a setting like `AzureWebJobsStorage`.
    pub fn connection_string(&self) -> String {
        let Self {
            name,
            blob_endpoint,
            queue_endpoint,
            table_endpoint,
        } = self;
        format!(
            "DefaultEndpointsProtocol=http;AccountName={name};AccountKey={KEY};\
             BlobEndpoint={blob_endpoint};QueueEndpoint={queue_endpoint};\
             TableEndpoint={table_endpoint};"
        )
    }

    /// A client for it.
    pub fn storage(&self) -> Storage {
        Storage::new(&self.name, KEY, &self.blob_endpoint, &self.queue_endpoint)
    }
}

/// The name of an account to hand out.
pub(super) fn name(index: usize) -> String {
    format!("account{index:03}")
}

/// The well-known account and so many others, as `AZURITE_ACCOUNTS` wants them.
pub(super) fn list(count: usize) -> String {
    let names = std::iter::once(WELL_KNOWN.to_owned()).chain((0..count).map(name));
    names.map(|name| format!("{name}:{KEY};")).collect()
}
