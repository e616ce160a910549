//! Where the properties are put to the test.

use softlabel::identity::{Identities, Surroundings};
use softlabel::store::azure::{Account, Area, Connection, Guard, Tuning};
use softlabel::store::{OwnFolder, RawFolder};
use softlabel_doubles::azurite::{self, Azurite};
use softlabel_doubles::faulty_line::FaultyLine;
use softlabel_doubles::storage::Container;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// The container of datasets, which has a RAW dataset `v4` in the folder `base`.
const DATA: &str = "data";

/// A place with a RAW dataset and what is ours beside it, both empty.
pub(crate) enum Place {
    Local(TempDir),
    Azure {
        account: Box<azurite::Account>,
        data: Container,
    },
}

impl Place {
    pub(crate) fn local() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("base/v4")).unwrap();
        Self::Local(home)
    }

    pub(crate) async fn azurite() -> Self {
        let azurite = Azurite::shared().await.unwrap();
        let account = Box::new(azurite.account().unwrap());
        let data = account.storage().container(DATA);
        data.create().await.unwrap();
        Self::Azure { account, data }
    }

    /// What is ours, as a process of its own has it: nothing is shared with what was given before.
    pub(crate) fn own(&self) -> OwnFolder {
        match self {
            Self::Local(home) => own_local(home.path()),
            Self::Azure { account, .. } => own_azure(&account.connection_string(), tuning()),
        }
    }

    /// RAW, as a process of its own has it.
    pub(crate) fn raw(&self) -> RawFolder {
        match self {
            Self::Local(home) => RawFolder::local(home.path().join("base/v4")),
            Self::Azure { account, .. } => raw_azure(&account.connection_string(), tuning()),
        }
    }

    /// Puts a file into RAW, as its owner does.
    pub(crate) async fn put_raw(&self, path: &str, content: impl Into<Vec<u8>>) {
        let path = format!("base/v4/{path}");
        match self {
            Self::Local(home) => {
                let path = home.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content.into()).unwrap();
            }
            Self::Azure { data, .. } => {
                data.put(&path, content.into()).await.unwrap();
            }
        }
    }

    /// Puts bytes into a file of ours behind the store's back.
    pub(crate) async fn put_own(&self, path: &str, content: &str) {
        let path = format!("base/LABELED_v4/{path}");
        match self {
            Self::Local(home) => {
                let path = home.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            Self::Azure { data, .. } => {
                data.put(&path, content.to_owned()).await.unwrap();
            }
        }
    }

    /// Everything that is there, ours and RAW, hidden or not, by path.
    pub(crate) async fn everything(&self) -> Vec<String> {
        let mut names = match self {
            Self::Local(home) => files_below(home.path(), ""),
            Self::Azure { data, .. } => {
                let listed = data.list("").await.unwrap();
                listed.into_iter().map(|item| item.name).collect()
            }
        };
        names.sort();
        names
    }
}

/// A place in Azurite that is reached over a bad line, and over a good one too.
pub(crate) struct BadPlace {
    /// Over the bad line.
    pub(crate) own: OwnFolder,
    /// Over the bad line.
    pub(crate) raw: RawFolder,
    pub(crate) line: FaultyLine,
    /// Over a good one.
    pub(crate) place: Place,
    pub(crate) data: Container,
}

impl BadPlace {
    pub(crate) async fn new() -> Self {
        Self::with(tuning()).await
    }

    pub(crate) async fn with(tuning: Tuning) -> Self {
        let azurite = Azurite::shared().await.unwrap();
        let line = FaultyLine::start(azurite.blob_endpoint()).await.unwrap();
        let place = Place::azurite().await;
        let Place::Azure { account, data } = &place else {
            panic!("not in Azurite");
        };
        let connection = account
            .connection_string()
            .replace(azurite.blob_endpoint(), &line.endpoint());
        Self {
            own: own_azure(&connection, tuning.clone()),
            raw: raw_azure(&connection, tuning),
            line,
            data: data.clone(),
            place,
        }
    }
}

/// Few and quick tries, so that tests are.
pub(crate) fn tuning() -> Tuning {
    Tuning {
        tries: 3,
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(100),
        page: 100,
        lease: Duration::from_secs(15),
        ..Tuning::default()
    }
}

fn own_local(home: &Path) -> OwnFolder {
    OwnFolder::local(home.join("base/LABELED_v4"), &home.join("base/v4")).unwrap()
}

fn own_azure(connection: &str, tuning: Tuning) -> OwnFolder {
    let account = account(connection, tuning);
    let guard = Guard::default().labeled_in(Area::new(DATA, "base").unwrap());
    OwnFolder::azure(&account, DATA, "base/LABELED_v4", &guard).unwrap()
}

fn raw_azure(connection: &str, tuning: Tuning) -> RawFolder {
    RawFolder::azure(&account(connection, tuning), DATA, "base/v4").unwrap()
}

pub(crate) fn account(connection: &str, tuning: Tuning) -> Account {
    let setting = |name: &str| (name == "Storage").then(|| connection.to_owned());
    let connection = Connection::from_settings("Storage", setting).unwrap();
    let identities = Identities {
        only: None,
        client_id: None,
        surroundings: Surroundings::default(),
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };
    Account::new(&connection, identities, tuning).unwrap()
}

fn files_below(folder: &Path, prefix: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path(), &format!("{path}/")));
        } else {
            files.push(path);
        }
    }
    files
}
