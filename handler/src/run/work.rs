//! The JSON files in a run's work area.

use super::RunError;
use super::format_number::{self, Formatted};
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
    parse(work, path, &content).map(Some)
}

/// Understands the content of a JSON file of ours, of any format that this version knows.
///
/// # Errors
/// [`RunError::Newer`] if it is of a newer one, and if it is not what it should be.
pub fn parse<T: DeserializeOwned>(
    work: &OwnFolder,
    path: &str,
    content: &[u8],
) -> Result<T, RunError> {
    let format = format_number::of(content);
    if format > format_number::own() {
        let path = work.locate(path);
        return Err(RunError::Newer { path, format });
    }
    serde_json::from_slice(content).map_err(|source| RunError::Damaged {
        path: work.locate(path),
        source,
    })
}

/// Puts a JSON file of ours in its place, in one step.
///
/// # Errors
/// If it cannot be written.
pub async fn write<T: Serialize>(work: &OwnFolder, path: &str, value: &T) -> Result<(), RunError> {
    put(work, path, serde_json::to_vec(&Formatted::from(value))).await
}

/// The content of a JSON file of ours, with its format.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn formatted<T: Serialize>(
    work: &OwnFolder,
    path: &str,
    value: &T,
) -> Result<Vec<u8>, RunError> {
    content(work, path, serde_json::to_vec(&Formatted::from(value)))
}

/// The same, laid out for people.
///
/// # Errors
/// If it cannot be written.
pub async fn write_readable<T: Serialize>(
    folder: &OwnFolder,
    path: &str,
    value: &T,
) -> Result<(), RunError> {
    put(folder, path, serde_json::to_vec_pretty(value)).await
}

async fn put(
    folder: &OwnFolder,
    path: &str,
    written: serde_json::Result<Vec<u8>>,
) -> Result<(), RunError> {
    let content = content(folder, path, written)?;
    Ok(folder.replace(path, content).await?)
}

/// The content of a JSON file of ours, as it was `written`.
///
/// # Errors
/// If it could not be written as JSON.
pub fn content(
    folder: &OwnFolder,
    path: &str,
    written: serde_json::Result<Vec<u8>>,
) -> Result<Vec<u8>, RunError> {
    let mut content = written.map_err(|source| RunError::Damaged {
        path: folder.locate(path),
        source,
    })?;
    content.push(b'\n');
    Ok(content)
}
