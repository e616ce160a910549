//! Azurite as it is started here, and the client for it.

use std::process::Stdio;
use std::time::Duration;

use softlabel_doubles::azurite::{Azurite, Persistence};
use softlabel_doubles::storage::{BlobType, Storage};
use softlabel_doubles::until;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

async fn storage() -> Storage {
    let azurite = Azurite::shared().await.unwrap();
    azurite.account().unwrap().storage()
}

const A_MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_blob_is_written_replaced_copied_listed_and_deleted() {
    let raw = storage().await.container("raw");
    assert_eq!(raw.list("").await.unwrap(), []);
    raw.create().await.unwrap();
    raw.create().await.unwrap();
    let path = "base/set 1/träin/a&b%20<c>.json";
    let first = raw.put(path, "[1]").await.unwrap();
    let second = raw.put(path, "[12]").await.unwrap();
    assert_ne!(first, second);
    assert!(!raw.put_new(path, "[3]").await.unwrap());
    assert!(raw.put_new("base/other", "[3]").await.unwrap());

    let blob = raw.get(path).await.unwrap().unwrap();
    assert_eq!(
        (blob.content.as_slice(), blob.etag),
        (b"[12]".as_slice(), second.clone())
    );
    assert_eq!(raw.get_range(path, 1, 2).await.unwrap().unwrap(), b"12");
    assert_eq!(raw.get("base/none").await.unwrap(), None);

    let copy = raw.copy_from(&raw, path, "copies/c.json").await.unwrap();
    let found = raw.find("copies/c.json").await.unwrap().unwrap();
    assert_eq!((found.etag, found.length, found.copied), (copy, 4, true));
    let listed = raw.list("base/").await.unwrap();
    let names = listed
        .iter()
        .map(|item| item.name.as_str())
        .collect::<Vec<_>>();
    assert_eq!(names, ["base/other", path]);
    let item = &listed[1];
    assert_eq!(
        (&item.etag, item.kind, item.copied),
        (&second, BlobType::Block, false)
    );
    assert_eq!(item.content_type, "application/json");

    assert!(raw.delete(path).await.unwrap());
    assert!(!raw.delete(path).await.unwrap());
    raw.remove().await.unwrap();
    assert_eq!(raw.get("base/other").await.unwrap(), None);
}

#[tokio::test]
async fn a_blob_that_is_written_in_blocks_says_so() {
    let raw = storage().await.container("raw");
    raw.create().await.unwrap();
    raw.put_blocks(
        "big",
        ["ab", "", "cd"].into_iter().filter(|b| !b.is_empty()),
    )
    .await
    .unwrap();
    raw.put("small", "abcd").await.unwrap();
    assert_eq!(raw.get("big").await.unwrap().unwrap().content, b"abcd");
    assert_eq!(raw.blocks("big").await.unwrap(), 2);
    assert_eq!(raw.blocks("small").await.unwrap(), 0);
}

#[tokio::test]
async fn a_list_has_all_its_pages() {
    let raw = storage().await.container("raw");
    raw.create().await.unwrap();
    let put = |name: usize| {
        let raw = raw.clone();
        async move { raw.put(&format!("{name:05}"), "").await.unwrap() }
    };
    for put in (0..501)
        .map(|name| tokio::spawn(put(name)))
        .collect::<Vec<_>>()
    {
        put.await.unwrap();
    }
    assert_eq!(raw.list("").await.unwrap().len(), 501);
}

#[tokio::test]
async fn a_message_is_sent_received_kept_and_deleted() {
    let storage = storage().await;
    let queue = storage.queue("orders");
    assert!(!queue.exists().await.unwrap());
    assert_eq!(queue.get(1, A_MINUTE).await.unwrap(), []);
    assert!(queue.put("nowhere").await.is_err());
    queue.create().await.unwrap();
    queue.create().await.unwrap();
    queue.put("a < b & \"c\"").await.unwrap();
    queue.put_later("later", A_MINUTE).await.unwrap();
    assert_eq!(queue.count().await.unwrap(), 2);
    let peeked = queue.peek(32).await.unwrap();
    assert_eq!(peeked.len(), 1);
    assert_eq!(
        (peeked[0].text.as_str(), peeked[0].dequeue_count),
        ("a < b & \"c\"", 0)
    );

    let mut received = queue.get(32, A_MINUTE).await.unwrap();
    let mut message = received.pop().unwrap();
    assert_eq!((message.dequeue_count, &message.id), (1, &peeked[0].id));
    assert_eq!(queue.get(32, A_MINUTE).await.unwrap(), []);

    assert!(queue.update(&mut message, Duration::ZERO).await.unwrap());
    let again = queue.get(32, A_MINUTE).await.unwrap().pop().unwrap();
    assert_eq!((again.dequeue_count, &again.text), (2, &message.text));
    // The receipt is the other one's now.
    assert!(!queue.delete(&message).await.unwrap());
    assert!(!queue.update(&mut message, A_MINUTE).await.unwrap());
    assert!(queue.delete(&again).await.unwrap());
    assert!(!queue.delete(&again).await.unwrap());
    assert_eq!(queue.count().await.unwrap(), 1);
    queue.clear().await.unwrap();
    assert_eq!(queue.count().await.unwrap(), 0);
    assert_eq!(storage.queues().await.unwrap(), ["orders"]);
}

#[tokio::test]
async fn accounts_do_not_see_each_other() {
    let azurite = Azurite::shared().await.unwrap();
    let (one, other) = (azurite.account().unwrap(), azurite.account().unwrap());
    one.storage().container("raw").create().await.unwrap();
    assert_eq!(one.storage().containers().await.unwrap(), ["raw"]);
    assert_eq!(other.storage().containers().await.unwrap(), [""; 0]);
    let same = Storage::from_connection_string(&one.connection_string()).unwrap();
    assert_eq!(same.containers().await.unwrap(), ["raw"]);
}

/// Waits until an endpoint is closed.
async fn nobody_listens(endpoint: &str) {
    let address = endpoint.strip_prefix("http://").unwrap();
    let address = address.split('/').next().unwrap();
    let closed = async || Ok(TcpStream::connect(address).await.is_err());
    until(A_MINUTE, "nobody listens any more", closed)
        .await
        .unwrap();
}

#[tokio::test]
async fn azurite_does_not_outlive_who_started_it_however_that_ends() {
    let mut starter = Command::new(env!("CARGO_BIN_EXE_azurite"));
    let mut starter = starter
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(starter.stdout.take().unwrap()).lines();
    let connection = said.next_line().await.unwrap().unwrap();
    let storage = Storage::from_connection_string(&connection).unwrap();
    assert_eq!(storage.containers().await.unwrap(), [""; 0]);
    starter.kill().await.unwrap();
    let mut parts = connection
        .split(';')
        .filter_map(|part| part.strip_prefix("BlobEndpoint="));
    nobody_listens(parts.next().unwrap()).await;
}

#[tokio::test]
async fn without_npm_it_says_what_to_install() {
    let target = tempfile::tempdir().unwrap();
    let mut azurite = Command::new(env!("CARGO_BIN_EXE_azurite"));
    let nowhere = azurite.env_clear().env("CARGO_TARGET_DIR", target.path());
    let output = nowhere.env("PATH", target.path()).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("install Node.js"),
        "{said}"
    );
}

#[tokio::test]
async fn what_a_folder_keeps_is_there_after_a_restart_and_no_azurite_stays() {
    let folder = tempfile::tempdir().unwrap();
    let persistence = Persistence::Folder(folder.path().to_owned());
    let azurite = Azurite::start(persistence.clone()).await.unwrap();
    let raw = azurite.well_known_account().storage().container("raw");
    raw.create().await.unwrap();
    raw.put("a", "1").await.unwrap();
    let endpoint = azurite.blob_endpoint().to_owned();
    azurite.stop().await.unwrap();
    nobody_listens(&endpoint).await;
    let azurite = Azurite::start(persistence).await.unwrap();
    let raw = azurite.well_known_account().storage().container("raw");
    assert_eq!(raw.get("a").await.unwrap().unwrap().content, b"1");
}
