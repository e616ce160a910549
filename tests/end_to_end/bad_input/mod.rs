//! Everything that can be wrong with what the program is given, in one table.

mod arguments;
mod comparisons;
mod datasets;
mod endpoints;
mod environment;
mod file_system;
mod files;
mod pilots;
mod runs;
mod service;
mod tasks;

use crate::harness::*;
use serde_json::json;
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault, Limits, NoLogprobs};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

/// Where one row of the table plays.
struct World {
    home: Home,
    service: Service,
    other: RefCell<Option<Running>>,
}

/// One kind of bad input.
struct Row {
    name: &'static str,
    code: i32,
    /// What is wrong, as the message must name it: a file, a byte, a flag, a variable.
    place: &'static [&'static str],
    /// What the message must say about what to do.
    remedy: &'static str,
    /// Whether only the service can tell that it is wrong.
    asks: bool,
    set_up: fn(&World) -> Softlabel,
}

const fn row(
    name: &'static str,
    code: i32,
    place: &'static [&'static str],
    remedy: &'static str,
    set_up: fn(&World) -> Softlabel,
) -> Row {
    Row {
        name,
        code,
        place,
        remedy,
        asks: false,
        set_up,
    }
}

/// A row in which the service is asked.
const fn asking(
    name: &'static str,
    place: &'static [&'static str],
    remedy: &'static str,
    set_up: fn(&World) -> Softlabel,
) -> Row {
    Row {
        name,
        code: 1,
        place,
        remedy,
        asks: true,
        set_up,
    }
}

impl World {
    fn label(&self, input: &str, output: &str) -> Softlabel {
        // Waits are short for the rows whose service does not answer.
        Softlabel::label(
            &self.service,
            &self.home.path(input),
            &self.home.path(output),
        )
        .env("SOFTLABEL_ATTEMPTS", "2")
        .env("SOFTLABEL_CALL_TIMEOUT", "300ms")
    }

    /// A lone file with this content.
    fn file(&self, content: impl AsRef<[u8]>) -> Softlabel {
        self.home.write("in.json", content);
        self.label("in.json", "out.jsonl")
    }

    /// A lone file with nothing wrong.
    fn good(&self) -> Softlabel {
        self.file(good())
    }

    /// A dataset with nothing wrong.
    fn dataset(&self) -> Softlabel {
        self.home.write("raw/train/short.json", good());
        self.home.write(
            "raw/metadata.json",
            r#"{"actual_counts": {"train": {"short": 2}}}"#,
        );
        self.label("raw", "labeled")
    }

    /// A lone file whose run is complete.
    fn done(&self) -> Softlabel {
        let label = self.good();
        label.ends(0);
        label
    }

    /// The same, of a dataset.
    fn dataset_done(&self) -> Softlabel {
        let label = self.dataset();
        label.ends(0);
        label
    }

    /// Writes `content` over every file of the work folder whose path has `part` in it.
    fn damage(&self, part: &str, content: &str) {
        let damaged = files(&self.home.path("."));
        let damaged = damaged.iter().filter(|path| {
            let path = path.to_string_lossy();
            path.contains(".softlabel/") && path.contains(part)
        });
        let damaged = damaged.map(|path| fs::write(path, content).unwrap());
        assert_ne!(damaged.count(), 0, "no {part}");
    }

    fn update(&self, change: impl FnOnce(&mut Config)) -> Softlabel {
        self.service.update(change).unwrap();
        self.dataset()
    }

    /// What there is: names, contents, and of files the time of change.
    fn entries(&self) -> BTreeMap<PathBuf, (Option<SystemTime>, Vec<u8>)> {
        let mut entries = BTreeMap::new();
        let mut folders = vec![self.home.path(".")];
        while let Some(folder) = folders.pop() {
            // Rows about permissions have folders and files that cannot be read here either.
            for path in fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
            {
                let metadata = fs::symlink_metadata(&path).unwrap();
                let content = if metadata.is_file() {
                    fs::read(&path).unwrap_or_default()
                } else {
                    Vec::new()
                };
                // What came and went changes the time of its folder.
                let changed = (!metadata.is_dir()).then(|| metadata.modified().unwrap());
                entries.insert(path.clone(), (changed, content));
                if metadata.is_dir() {
                    folders.push(path);
                }
            }
        }
        entries
    }
}

fn good() -> String {
    array(&[
        conversation("c1", &["one", "two"]),
        conversation("c2", &["three"]),
    ])
}

fn fails(fault: Fault) -> impl FnOnce(&mut Config) {
    move |config| {
        let always = AlwaysFail {
            contains: String::new(),
            fault,
            code: None,
        };
        config.faults.always_fail = vec![always];
    }
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn table() -> Vec<Row> {
    let parts = [
        files::rows(),
        datasets::rows(),
        arguments::rows(),
        comparisons::rows(),
        pilots::rows(),
        environment::rows(),
        service::rows(),
        endpoints::rows(),
        tasks::rows(),
        runs::rows(),
        file_system::disk_rows(),
        file_system::permission_rows(),
    ];
    parts.into_iter().flatten().collect()
}

/// What is wrong with how the program takes `row`; nothing if all is well.
fn complaints(row: &Row) -> Vec<String> {
    let world = World {
        home: Home::new(),
        service: Service::well(),
        other: RefCell::new(None),
    };
    let label = (row.set_up)(&world);
    let (before, asked) = (world.entries(), world.service.stats().requests);
    let outcome = label.run();
    let (after, sent) = (world.entries(), world.service.stats().requests - asked);
    if let Some(other) = world.other.take() {
        other.kill();
    }
    println!(
        "{}: exit {:?}\n    {}",
        row.name,
        outcome.code,
        outcome.stderr.trim().replace('\n', "\n    ")
    );

    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{}: {what}\n{outcome}", row.name));
        }
    };
    check(
        outcome.code == Some(row.code),
        &format!("the exit code is not {}", row.code),
    );
    let errors = outcome.stderr.match_indices("error:").count();
    check(errors == 1, "one error, said once");
    let message = outcome
        .stderr
        .split_once("error: ")
        .map_or("", |(_, message)| message.trim());
    for place in row.place {
        check(message.contains(place), &format!("{place:?} is not named"));
    }
    check(
        message.contains(row.remedy),
        &format!("{:?} is not advised", row.remedy),
    );
    // What was tried for a credential is listed.
    let sentences = message.lines().filter(|line| !line.starts_with("  - "));
    let sentences = sentences.count();
    // The arguments' own mistakes come with the usage below them.
    let lines = if row.code == 2 {
        usize::MAX
    } else {
        row.place.len()
    };
    check(sentences <= lines, "one sentence a problem");
    let causes = message.matches("(os error").count();
    check(causes <= message.lines().count(), "a cause is said once");
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    for internal in [
        "panicked",
        "RUST_BACKTRACE",
        "Os {",
        "Error {",
        "Some(",
        KEY,
    ] {
        check(!said.contains(internal), &format!("{internal:?} is shown"));
    }
    check(
        outcome.stdout.is_empty(),
        "nothing was labelled, and there is a result",
    );
    check(row.asks || sent == 0, "the service was asked");
    if before != after {
        let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
        let paths = before
            .keys()
            .chain(after.keys())
            .filter(differs)
            .collect::<Vec<_>>();
        check(false, &format!("it left its marks: {paths:?}"));
    }
    wrong
}

#[test]
fn whatever_is_wrong_is_said_in_one_sentence_with_its_place_and_its_remedy() {
    let table = table();
    println!("{} kinds of bad input", table.len());
    assert!(table.len() >= 40);
    // Some rows wait for the program's time-outs.
    let next = AtomicUsize::new(0);
    let work = || {
        let rows = std::iter::from_fn(|| table.get(next.fetch_add(1, Relaxed)));
        rows.flat_map(complaints).collect::<Vec<_>>()
    };
    let wrong = std::thread::scope(|scope| {
        let workers = [(); 4].map(|()| scope.spawn(work));
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(
        wrong.is_empty(),
        "{} complaints:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
