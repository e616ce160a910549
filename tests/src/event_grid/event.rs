//! Events in the Event Grid schema.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::storage::{BlobItem, BlobType, Container};

/// What happened to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    Created,
    Deleted,
}

/// The event, with the number of its kind as its sequencer.
pub(super) async fn event(
    container: &Container,
    blob: &BlobItem,
    happened: Happened,
    number: u64,
) -> Result<Value> {
    let (event_type, api) = match happened {
        Happened::Created => ("Microsoft.Storage.BlobCreated", api(container, blob).await?),
        Happened::Deleted => ("Microsoft.Storage.BlobDeleted", "DeleteBlob"),
    };
    let account = "softlabel";
    Ok(json!({
        "topic": format!(
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/{account}/providers/\
             Microsoft.Storage/storageAccounts/{account}"
        ),
        "subject": format!(
            "/blobServices/default/containers/{}/blobs/{}", container.name(), blob.name
        ),
        "eventType": event_type,
        "id": Uuid::new_v4().to_string(),
        "data": {
            "api": api,
            "clientRequestId": Uuid::new_v4().to_string(),
            "requestId": Uuid::new_v4().to_string(),
            "eTag": blob.etag,
            "contentType": blob.content_type,
            "contentLength": blob.length,
            "blobType": blob.kind.name(),
            "accessTier": "Default",
            "url": container.url(&blob.name)?.as_str(),
            // Later ones are greater as texts.
            "sequencer": format!("{number:064X}"),
            "storageDiagnostics": { "batchId": Uuid::new_v4().to_string() },
        },
        "dataVersion": "",
        "metadataVersion": "1",
        "eventTime": Timestamp::now().to_string(),
    }))
}

/// The operation that wrote a blob.
async fn api(container: &Container, blob: &BlobItem) -> Result<&'static str> {
    Ok(if blob.copied {
        "CopyBlob"
    } else if blob.kind == BlobType::Block && container.blocks(&blob.name).await? > 0 {
        "PutBlockList"
    } else {
        "PutBlob"
    })
}
