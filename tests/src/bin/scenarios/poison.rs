//! Messages that are none of the app's.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use softlabel_doubles::local_cloud::{Instance, LocalCloud, Options};
use softlabel_package::script_root::Hosting;

use crate::report::Report;
use crate::stage::{Bucket, Ending, PATIENCE, Stage, cloud, ended, until};

/// The queues that somebody could send to, but for the poison queue that the app looks after.
const QUEUES: [&str; 4] = [
    "bucket-uploaded",
    "plan-bucket",
    "label-chunk",
    "publish-bucket",
];

/// Where `abandon-chunk` waits.
const CHUNKS: &str = "label-chunk-poison";

/// What is sent.
const MESSAGES: [&str; 2] = ["This is none of yours.", "{\"none\": \"of yours\"}"];

/// How long the app may take to put a message out of the way.
const SOON: Duration = Duration::from_secs(60);

/// Messages that the app cannot read lie in every queue. They end in the poison queues with their text, and the app works on
/// all the same.
pub(crate) async fn foreign_messages<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let queues = json!({ "visibilityTimeout": "00:00:02" });
    let options = Options {
        host_json: json!({ "extensions": { "queues": queues } }),
        ..stage.options(Hosting::Local)
    };
    let cloud = cloud::<H>(options).await?;
    for name in QUEUES {
        let queue = cloud.storage().queue(name);
        for message in MESSAGES {
            let text = BASE64_STANDARD.encode(message);
            queue.put_or_create(&text, Duration::ZERO).await?;
        }
    }
    let sent = Instant::now();
    let bucket = Bucket::generated("v4/train/short.json", 50, 6)?;
    bucket.upload(&cloud).await?;
    ended(&cloud, 1, Instant::now(), PATIENCE).await?;
    for name in QUEUES {
        let arrived = async || Ok(name == "label-chunk" || texts(&cloud, name).await?.len() == 2);
        until(SOON, &format!("the messages of {name} are poison"), arrived).await?;
    }
    report.figure(format!(
        "poison after {:.1} s",
        sent.elapsed().as_secs_f64()
    ));
    for name in QUEUES.iter().filter(|name| **name != "label-chunk") {
        let mut found = texts(&cloud, name).await?;
        found.sort();
        let mut expected = MESSAGES.map(str::to_owned);
        expected.sort();
        ensure!(found == expected, "{name}-poison holds {found:?}");
    }
    let patience = SOON.saturating_sub(sent.elapsed()) + Duration::from_secs(10);
    let kept = until(
        patience,
        "label-chunk and its poison queue are empty",
        async || {
            let waiting = cloud.storage().queue("label-chunk").count().await?;
            Ok(waiting + cloud.storage().queue(CHUNKS).count().await? == 0)
        },
    );
    let kept = match kept.await {
        Ok(()) => is_kept(&cloud).await,
        Err(reason) => Err(reason),
    };
    report.expect(
        "abandon-chunk acknowledges and keeps what is none of the app's",
        kept,
    );
    Ok(Ending::new(cloud, vec![bucket]))
}

/// The texts in the poison queue of a queue.
async fn texts<H: Instance>(cloud: &LocalCloud<H>, queue: &str) -> Result<Vec<String>> {
    let poison = cloud.storage().queue(&format!("{queue}-poison"));
    let texts = poison.peek(32).await?.into_iter().map(|message| {
        let text = BASE64_STANDARD.decode(message.text)?;
        Ok(String::from_utf8(text)?)
    });
    texts.collect()
}

/// An operator finds the texts in the work container.
async fn is_kept<H: Instance>(cloud: &LocalCloud<H>) -> Result<()> {
    let mut kept = String::new();
    for blob in cloud.work().list("").await? {
        if let Some(blob) = cloud.work().get(&blob.name).await? {
            kept.push_str(&String::from_utf8_lossy(&blob.content));
        }
    }
    for message in ["none of yours", "of yours"] {
        ensure!(
            kept.contains(message),
            "{message:?} is not in the work container"
        );
    }
    Ok(())
}
