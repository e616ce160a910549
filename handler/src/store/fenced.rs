//! A folder that is written only while locks are held.

use super::own::{Appender, Draft, Lock, OwnBlobs, Publication, Right};
use super::{BlobStatus, Listed, PutMode, StoreError, Version};
use async_trait::async_trait;
use futures::future::try_join_all;
use std::sync::Arc;

/// Proves, before it replaces or removes a file, that no other process had the locks in between.
///
/// A process that was frozen, or cut off from storage, for longer than its leases last does not know that
/// another one took over, and may be stopped at any instant. So the proof comes after the version to be
/// replaced was read, and before the write: another process that wrote earlier had the locks, and the proof
/// fails; one that writes later makes it another version, and the write fails. What is replaced
/// whatever it is goes the same way: the version that is there is looked up first.
///
/// Lines need no proof: a part is held by a lease of its own, and a line of a ledger may be there twice.
#[derive(Debug)]
pub(super) struct Fenced {
    folder: Arc<dyn OwnBlobs>,
    rights: Rights,
}

#[derive(Clone, Debug)]
struct Rights(Arc<[Arc<dyn Right>]>);

impl Rights {
    async fn prove(&self) -> Result<(), StoreError> {
        try_join_all(self.0.iter().map(|right| right.prove())).await?;
        Ok(())
    }
}

impl Fenced {
    pub(super) fn new(folder: Arc<dyn OwnBlobs>, rights: Vec<Arc<dyn Right>>) -> Self {
        let rights = Rights(rights.into());
        Self { folder, rights }
    }
}

#[async_trait]
impl OwnBlobs for Fenced {
    fn locate(&self, path: &str) -> String {
        self.folder.locate(path)
    }

    fn check(&self, path: &str) -> Result<(), &'static str> {
        self.folder.check(path)
    }

    async fn read_versioned(&self, path: &str) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        self.folder.read_versioned(path).await
    }

    async fn put(&self, path: &str, content: Vec<u8>, mode: PutMode) -> Result<bool, StoreError> {
        if mode != PutMode::Overwrite {
            self.rights.prove().await?;
            return self.folder.put(path, content, mode).await;
        }
        loop {
            let there = self.folder.status(path).await?;
            let over = PutMode::from(there.map(|there| there.version));
            self.rights.prove().await?;
            if self.folder.put(path, content.clone(), over).await? {
                return Ok(true);
            }
        }
    }

    async fn publish(&self, path: &str) -> Result<Publication, StoreError> {
        let draft = self.folder.publish(path).await?;
        let rights = self.rights.clone();
        Ok(Box::new(FencedDraft { draft, rights }))
    }

    async fn try_out(&self, path: &str) -> Result<(), StoreError> {
        self.folder.try_out(path).await
    }

    async fn append(&self, path: &str) -> Result<(Appender, Vec<u8>), StoreError> {
        self.folder.append(path).await
    }

    async fn add_line(&self, path: &str, line: Vec<u8>) -> Result<u64, StoreError> {
        self.folder.add_line(path, line).await
    }

    async fn status(&self, path: &str) -> Result<Option<BlobStatus>, StoreError> {
        self.folder.status(path).await
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.folder.exists(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.folder.list(prefix).await
    }

    async fn remove_file(&self, path: &str) -> Result<(), StoreError> {
        self.rights.prove().await?;
        self.folder.remove_file(path).await
    }

    async fn remove(&self, prefix: &str) -> Result<(), StoreError> {
        self.rights.prove().await?;
        self.folder.remove(prefix).await
    }

    async fn lock(&self, name: &str, holder: &str) -> Result<Lock, StoreError> {
        self.folder.lock(name, holder).await
    }
}

#[derive(Debug)]
struct FencedDraft {
    draft: Publication,
    rights: Rights,
}

#[async_trait]
impl Draft for FencedDraft {
    async fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.draft.write(content).await
    }

    async fn commit(self: Box<Self>, mode: PutMode) -> Result<bool, StoreError> {
        self.rights.prove().await?;
        self.draft.commit(mode).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::local::{LocalOwn, Protected};
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A lock whose holder is frozen when it has been proved for the first time: another process takes it, and
    /// writes.
    #[derive(Debug)]
    struct Taken {
        folder: Arc<dyn OwnBlobs>,
        frozen: AtomicBool,
    }

    #[async_trait]
    impl Right for Taken {
        async fn prove(&self) -> Result<(), StoreError> {
            if self.frozen.swap(true, Ordering::Relaxed) {
                return Err(StoreError::Held {
                    place: "lock".into(),
                    holder: "somebody else".into(),
                });
            }
            let theirs = b"theirs".to_vec();
            let put = self.folder.put("file", theirs, PutMode::Overwrite);
            put.await.map(drop)
        }
    }

    #[tokio::test]
    async fn a_write_over_whatever_is_there_spares_what_came_after_the_proof() {
        for before in [Some("old"), None] {
            let home = tempfile::tempdir().unwrap();
            let local = LocalOwn::new(home.path().into(), &Protected::default());
            let folder: Arc<dyn OwnBlobs> = Arc::new(local.unwrap());
            let put = |content: &str| folder.put("file", content.into(), PutMode::Overwrite);
            if let Some(before) = before {
                put(before).await.unwrap();
            }
            let right = Taken {
                folder: Arc::clone(&folder),
                frozen: AtomicBool::new(false),
            };
            let fenced = Fenced::new(Arc::clone(&folder), vec![Arc::new(right)]);
            let written = fenced
                .put("file", b"ours".to_vec(), PutMode::Overwrite)
                .await;
            assert!(
                matches!(written, Err(StoreError::Held { .. })),
                "{before:?}: {written:?}"
            );
            let (there, _) = folder.read_versioned("file").await.unwrap().unwrap();
            assert_eq!(there, b"theirs");
        }
    }
}
