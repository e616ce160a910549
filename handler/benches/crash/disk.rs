//! Freezing processes on disk, where a frozen process keeps its lock.

use super::command::{HANG, Process, heard, label, run, service, wait_at_most};
use super::data::{Bucket, Failures, raw};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use softlabel_doubles::azure_openai::Double;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often an instant is drawn again that comes after the process's end.
const DRAWS: usize = 20;

/// Freezes a process at a random instant. Gives what became of it, as a sentence.
pub(crate) async fn freeze(number: usize, seed: u64) -> Result<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("freeze-{number}"));
    let buckets = raw(seed, 20)?;
    for _ in 0..DRAWS {
        let _ = fs::remove_dir_all(&folder);
        for bucket in &buckets {
            let path = folder.join("raw").join(bucket.raw_path());
            fs::create_dir_all(path.parent().context("it is in a folder")?)?;
            fs::write(path, &bucket.content)?;
        }
        let double = Double::start(service(seed)?).await?;
        let frozen = once(&folder, &buckets, &double, &mut rng).await?;
        double.stop().await;
        if let Some(frozen) = frozen {
            return Ok(frozen);
        }
    }
    Ok("on disk, it always ended before".into())
}

/// `None` where the process ended before it was to be frozen.
async fn once(
    folder: &Path,
    buckets: &[Bucket],
    double: &Double,
    rng: &mut StdRng,
) -> Result<Option<String>> {
    let place = |name: &str| folder.join(name).display().to_string();
    let command = || label(&place("raw"), &place("out"), double);
    let stderr = |who: &str| -> PathBuf { folder.join(who) };
    let mut frozen = Process(heard(command(), &stderr("frozen"))?.spawn()?);
    // A turn is two calls, and some are asked again or share an answer.
    let turns = buckets.iter().map(|bucket| bucket.ids.len()).sum::<usize>() as u64;
    let calls = rng.random_range(0..2 * turns);
    while double.stats().requests < calls {
        if wait_at_most(&mut frozen.0, Duration::from_millis(2))
            .await?
            .is_some()
        {
            return Ok(None);
        }
    }
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..50))).await;
    frozen.signal("-STOP")?;
    if frozen.0.try_wait()?.is_some() {
        return Ok(None);
    }
    let holder = format!("process {}", frozen.id());
    let locks = [
        "out/.softlabel/raw/lock",
        "out/..softlabel-lock",
        "out/LABELED_raw/..softlabel-lock",
    ];
    let locks = locks
        .iter()
        .filter_map(|lock| fs::read_to_string(folder.join(lock)).ok());
    let held = locks.into_iter().any(|lock| lock.starts_with(&holder));

    let (code, said) = run(command(), &stderr("second")).await?;
    let expected = if held { Some(1) } else { Some(0) };
    ensure!(code == expected, "the second ended with {code:?}: {said}");
    ensure!(
        !held || said.contains(&holder),
        "the second is not told who holds it: {said}"
    );

    frozen.signal("-CONT")?;
    let (code, said) = frozen.end(HANG, &stderr("frozen")).await?;
    ensure!(
        code == Some(0),
        "the frozen one ended with {code:?}: {said}"
    );
    for bucket in buckets {
        let path = folder.join("out/LABELED_raw").join(bucket.labeled_path());
        let labeled = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        bucket.check(&labeled, Failures::None)?;
    }
    let at = format!("on disk, after {calls} calls");
    Ok(Some(match held {
        true => format!("{at}; the second was told, the first was complete"),
        false => format!("{at}; it held no lock"),
    }))
}
