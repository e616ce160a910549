//! RAW on this machine: the places where nothing may be written, and the rights that new files may have.

use super::super::StoreError;
use super::own::resolve;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// RAW on this machine. By default there is none.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// What is RAW and lies in none of the others, links resolved.
    roots: Vec<PathBuf>,
    /// Everything that is RAW, by its identity: a path may be written in several ways.
    places: HashMap<FileId, PathBuf>,
    /// The folders above the roots.
    above: HashMap<FileId, PathBuf>,
    rights: Rights,
}

impl Protected {
    /// The folder or file `root`, and what is at the paths `inside` it, which may be links.
    ///
    /// # Errors
    /// If a link cannot be resolved.
    pub fn new<P: AsRef<Path>>(
        root: &Path,
        inside: impl IntoIterator<Item = P>,
    ) -> Result<Self, StoreError> {
        let mut protected = Self::default();
        protected.add(root)?;
        for path in inside {
            protected.add(&root.join(path))?;
        }
        Ok(protected)
    }

    fn add(&mut self, path: &Path) -> Result<(), StoreError> {
        let real = resolve(path).map_err(|e| StoreError::io("resolve", path, e))?;
        if let Some(id) = id_at(&real) {
            self.places.insert(id, real.clone());
        }
        if self.roots.iter().any(|root| real.starts_with(root)) {
            return Ok(());
        }
        for folder in real.ancestors().skip(1) {
            if let Some(id) = id_at(folder) {
                self.above.insert(id, folder.to_owned());
            }
        }
        self.roots.push(real);
        Ok(())
    }

    /// Gives new files of ours no right that any of `paths`, which are folders and files of RAW, denies.
    ///
    /// # Errors
    /// If one of them cannot be looked at.
    pub fn limit_rights<P: AsRef<Path>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, StoreError> {
        for path in paths {
            let path = path.as_ref();
            let there = fs::metadata(path).map_err(|e| StoreError::io("look at", path, e))?;
            self.rights.limit(&there);
        }
        Ok(self)
    }

    /// The place of RAW that `real` is or lies in; links of `real` are resolved.
    pub(super) fn around(&self, real: &Path) -> Option<&Path> {
        let root = self.roots.iter().find(|root| real.starts_with(root));
        let mut folders = real.ancestors();
        root.map(PathBuf::as_path)
            .or_else(|| folders.find_map(|folder| still_at(&self.places, folder)))
    }

    /// The place of RAW that lies in `real`, links resolved.
    pub(super) fn within(&self, real: &Path) -> Option<&Path> {
        let root = self.roots.iter().find(|root| root.starts_with(real));
        root.map(PathBuf::as_path)
            .or_else(|| still_at(&self.above, real))
    }

    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }
}

/// The one of `places` that is the same file or folder as `path`. Where it was replaced since, its
/// identity may have come to another file.
fn still_at<'a>(places: &'a HashMap<FileId, PathBuf>, path: &Path) -> Option<&'a Path> {
    let id = id_at(path)?;
    let place = places.get(&id)?;
    (id_at(place) == Some(id)).then_some(place)
}

/// Device and inode.
type FileId = (u64, u64);

#[cfg(unix)]
fn id_at(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    let there = fs::metadata(path).ok()?;
    Some((there.dev(), there.ino()))
}

#[cfg(not(unix))]
fn id_at(_: &Path) -> Option<FileId> {
    None
}

const READ_AND_WRITE: u32 = 0o6;

/// The rights that new files and folders may have for others than their owner, before the umask.
#[derive(Clone, Debug, Default)]
pub(super) struct Rights {
    /// By the group of files in RAW: what its members may do, and what all others may.
    raw: BTreeMap<u32, (u32, u32)>,
}

impl Rights {
    #[cfg(unix)]
    fn limit(&mut self, raw: &Metadata) {
        use std::os::unix::fs::MetadataExt;
        let allowed = |class: u32| {
            let bits = raw.mode() >> class;
            match raw.is_dir() {
                // What lies in a folder can be reached by those who may search it.
                true if bits & 0o1 != 0 => READ_AND_WRITE,
                true => 0,
                false => bits & READ_AND_WRITE,
            }
        };
        let all = (READ_AND_WRITE, READ_AND_WRITE);
        let (group, others) = self.raw.entry(raw.gid()).or_insert(all);
        *group &= allowed(3);
        *others &= allowed(0);
    }

    #[cfg(not(unix))]
    fn limit(&mut self, _: &Metadata) {}

    /// The mode of a new file whose group is `group`. Its owner may always read and write it.
    fn mode(&self, group: u32) -> u32 {
        let of_group = |(raw, (members, others)): (&u32, &(u32, u32))| match *raw == group {
            true => *members,
            false => *others,
        };
        let and = |a: u32, b: u32| a & b;
        let members = self.raw.iter().map(of_group).fold(READ_AND_WRITE, and);
        let others = self.raw.values().map(|(_, others)| *others);
        let others = others.fold(READ_AND_WRITE, and);
        0o600 | members << 3 | others
    }

    /// Lets a file that is made at `path` have these rights.
    #[cfg(unix)]
    pub(super) fn of_file<'a>(
        &self,
        path: &Path,
        options: &'a mut OpenOptions,
    ) -> &'a mut OpenOptions {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(self.mode(group_below(path)))
    }

    #[cfg(not(unix))]
    pub(super) fn of_file<'a>(
        &self,
        _: &Path,
        options: &'a mut OpenOptions,
    ) -> &'a mut OpenOptions {
        options
    }

    /// Makes the folder at `path` and those above it that are missing.
    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            let mode = self.mode(group_below(path));
            // Who may read files may list and search their folder.
            builder.mode(mode | (mode & 0o444) >> 2);
        }
        builder.create(path)
    }
}

/// The group of what is made at `path`.
#[cfg(unix)]
fn group_below(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    const SET_GROUP: u32 = 0o2000;
    let mut above = path.ancestors().skip(1);
    let folder = above.find_map(|folder| fs::metadata(folder).ok());
    match folder {
        Some(folder) if cfg!(target_os = "macos") || folder.mode() & SET_GROUP != 0 => folder.gid(),
        _ => rustix::process::getegid().as_raw(),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::store::{OwnFolder, PutMode};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_link_in_raw_makes_what_it_leads_to_raw() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        fs::create_dir_all(at("v4/val")).unwrap();
        fs::create_dir_all(at("real/train")).unwrap();
        fs::create_dir_all(at("out")).unwrap();
        fs::write(at("out/a.jsonl"), "RAW").unwrap();
        symlink(at("real/train"), at("v4/train")).unwrap();
        symlink(at("out/a.jsonl"), at("v4/val/a.json")).unwrap();
        let protected = Protected::new(&at("v4"), ["train", "val", "val/a.json"]).unwrap();
        let refused = |root: &str| OwnFolder::local_beside(at(root), &protected).is_err();
        assert!(refused("v4") && refused("real/train") && refused("real/train/new/deep"));
        assert!(!refused("real") && !refused("out") && !refused("new"));
    }

    #[tokio::test]
    async fn a_file_that_is_raw_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        fs::create_dir_all(at("v4/val")).unwrap();
        fs::create_dir_all(at("out")).unwrap();
        fs::write(at("out/linked"), "RAW").unwrap();
        symlink(at("out/linked"), at("v4/val/a.json")).unwrap();
        fs::write(at("v4/val/b.json"), "RAW").unwrap();
        fs::hard_link(at("v4/val/b.json"), at("out/same")).unwrap();
        let protected = Protected::new(&at("v4"), ["val", "val/a.json", "val/b.json"]).unwrap();
        let own = OwnFolder::local_beside(at("out"), &protected).unwrap();
        for path in ["linked", "same"] {
            assert!(own.try_out(path).await.is_err(), "{path}");
            assert!(own.replace(path, b"new".to_vec()).await.is_err(), "{path}");
            assert_eq!(fs::read(at("out").join(path)).unwrap(), b"RAW");
        }
        own.replace("other", b"new".to_vec()).await.unwrap();
    }

    #[tokio::test]
    async fn what_took_the_inode_of_raw_is_not_raw() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        fs::create_dir_all(at("v4")).unwrap();
        fs::write(at("v4/a"), "RAW").unwrap();
        let protected = Protected::new(&at("v4"), ["a"]).unwrap();
        // As if the file system had given the inode of a file that was removed to one of ours.
        fs::rename(at("v4/a"), at("ours")).unwrap();
        let own = OwnFolder::local_beside(home.path(), &protected).unwrap();
        own.replace("ours", b"new".to_vec()).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_of_ours_has_more_rights_than_raw() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        fs::create_dir_all(at("v4/train")).unwrap();
        fs::write(at("v4/train/a"), "RAW").unwrap();
        for (number, raw) in [0o600, 0o400, 0o640, 0o440, 0o644, 0o664]
            .into_iter()
            .enumerate()
        {
            set_mode(&at("v4/train/a"), raw);
            let protected = Protected::new(&at("v4"), ["train", "train/a"]).unwrap();
            let protected = protected.limit_rights([at("v4/train/a")]).unwrap();
            let root = at(&format!("out-{number}"));
            let own = OwnFolder::local_beside(&root, &protected).unwrap();
            let _lock = own.lock("lock", "process 7").await.unwrap();
            own.replace("deep/file", b"ours".to_vec()).await.unwrap();
            own.append("deep/part").await.unwrap();
            own.add_line("deep/ledger", b"line").await.unwrap();
            let draft = own.publish("draft").await.unwrap();
            assert!(draft.commit(PutMode::Create).await.unwrap());
            for file in ["deep/file", "deep/part", "deep/ledger", "draft", "lock"] {
                let ours = mode(&root.join(file));
                assert_eq!(ours & 0o077 & !raw, 0, "{raw:o} {file} {ours:o}");
                assert_eq!(ours & 0o700, 0o600, "{raw:o} {file} {ours:o}");
            }
            for folder in [root.clone(), root.join("deep")] {
                let allowed = raw | (raw & 0o444) >> 2;
                assert_eq!(mode(&folder) & 0o077 & !allowed, 0, "{raw:o}");
                assert_eq!(mode(&folder) & 0o700, 0o700, "{raw:o}");
            }
        }
    }

    #[test]
    fn a_group_that_is_not_that_of_raw_has_the_rights_of_others() {
        let rights = Rights {
            raw: [(7, (6, 0)), (8, (4, 4))].into(),
        };
        assert_eq!(rights.mode(7), 0o640);
        assert_eq!(rights.mode(8), 0o600);
        assert_eq!(rights.mode(9), 0o600);
        assert_eq!(Rights::default().mode(9), 0o666);
    }

    #[test]
    fn files_in_a_folder_that_others_cannot_search_are_private() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("v4");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), "RAW").unwrap();
        set_mode(&folder.join("a"), 0o644);
        set_mode(&folder, 0o700);
        let protected = Protected::new(&folder, ["a"]).unwrap();
        let protected = protected
            .limit_rights([folder.clone(), folder.join("a")])
            .unwrap();
        let group = fs::metadata(&folder).unwrap().gid();
        assert_eq!(protected.rights().mode(group), 0o600);
    }
}
