//! Which folders can be written at all.

use crate::place::{Place, account, tuning};
use softlabel::store::azure::{Account, Area, Guard};
use softlabel::store::{OwnFolder, RawFolder, StoreError};

async fn account_in_azurite() -> Account {
    let Place::Azure {
        account: azurite, ..
    } = Place::azurite().await
    else {
        panic!("not in Azurite");
    };
    account(&azurite.connection_string(), tuning())
}

fn guard() -> Guard {
    Guard::default()
        .labeled_in(Area::new("data", "base").unwrap())
        .work_in(Area::new("softlabel-work", "").unwrap())
}

#[tokio::test]
async fn there_is_no_folder_of_ours_where_raw_is() {
    let account = account_in_azurite().await;
    for (container, prefix) in [
        ("data", ""),
        ("data", "base"),
        ("data", "base/v4"),
        ("data", "base/v4/LABELED_v4"),
        ("data", "base/LABELED_"),
        ("data", "base2/LABELED_v4"),
        ("data", "LABELED_v4"),
        ("data", "base/LABELED_v4/../v4"),
        ("data", "base//LABELED_v4"),
        ("data", "base/LABELED_v4/%2e%2e/v4"),
        ("data", "base/LABELED_v4%2f..%2fv4"),
        ("data", "base/LABELED_v4\\..\\v4"),
        ("data", "base/LABELED_v4/"),
        ("softlabel-work/../data", "base/v4"),
        ("other", ""),
    ] {
        let folder = OwnFolder::azure(&account, container, prefix, &guard());
        assert!(
            matches!(folder, Err(StoreError::Forbidden { .. })),
            "{container}/{prefix}: {folder:?}"
        );
    }
    for (container, prefix) in [
        ("data", "base/LABELED_v4"),
        ("data", "base/LABELED_v4/.softlabel"),
        ("softlabel-work", ""),
        ("softlabel-work", "runs"),
    ] {
        assert!(OwnFolder::azure(&account, container, prefix, &guard()).is_ok());
    }
}

#[tokio::test]
async fn no_path_turns_into_another_on_its_way() {
    let account = account_in_azurite().await;
    let own = OwnFolder::azure(&account, "data", "base/LABELED_v4", &guard()).unwrap();
    for path in [
        "%2e%2e/v4/a",
        "..%2fv4%2fa",
        "%252e%252e/a",
        "..\\v4\\a",
        "a/.%2e",
        "a/b.",
        "\u{7}",
    ] {
        let error = own.replace(path, Vec::new()).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Forbidden { .. }),
            "{path:?}: {error}"
        );
        assert!(own.append(path).await.is_err(), "{path:?}");
        assert!(own.remove(path).await.is_err(), "{path:?}");
    }
}

#[tokio::test]
async fn a_container_that_is_missing_is_said_and_can_be_made() {
    let account = account_in_azurite().await;
    let work = OwnFolder::azure(&account, "softlabel-work", "", &guard()).unwrap();
    assert_eq!(work.read("a").await.unwrap(), None);
    assert_eq!(work.list("").await.unwrap(), []);
    let errors = [
        work.replace("a", Vec::new()).await.unwrap_err(),
        work.append("a").await.unwrap_err(),
        work.add_line("a", b"x").await.unwrap_err(),
        work.try_out("a").await.unwrap_err(),
        work.lock("a", "me").await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_not_found(), "{error}");
    }
    let raw = RawFolder::azure(&account, "nowhere", "base/v4").unwrap();
    assert!(raw.buckets().await.unwrap_err().is_not_found());
    for _ in 0..2 {
        account.create_container("softlabel-work").await.unwrap();
    }
    assert!(work.create("a", Vec::new()).await.unwrap());
}
