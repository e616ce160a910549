//! The JSON files in a run's work area.

use super::RunError;
use crate::store::OwnFolder;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A JSON file of ours, if it is there.
///
/// # Errors
/// If it is there and cannot be read, or is not what it should be.
pub async fn read<T: DeserializeOwned>(
    work: &OwnFolder,
    path: &str,
) -> Result<Option<T>, RunError> {
    let Some(content) = work.read(path).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|error| RunError::Damaged {
            path: work.locate(path).display().to_string(),
            reason: error.to_string(),
        })
}

/// Puts a JSON file of ours in its place, in one step.
///
/// # Errors
/// If it cannot be written.
pub async fn write<T: Serialize>(work: &OwnFolder, path: &str, value: &T) -> Result<(), RunError> {
    let mut content = serde_json::to_vec_pretty(value).map_err(|error| RunError::Damaged {
        path: work.locate(path).display().to_string(),
        reason: error.to_string(),
    })?;
    content.push(b'\n');
    Ok(work.replace(path, content).await?)
}
