//! The packages as the command makes them, opened again.
//!
//! The executable inside is a small static one, so that nothing has to be built for an old glibc.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod executables;
mod papers;
mod release;
mod tampering;

use serde_json::Value;
use softlabel_package::archive;
use softlabel_package::function::{Binding, Function};
use softlabel_package::script_root::{Hosting, ScriptRoot};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use zip::ZipArchive;

/// What the host must find: each function with its trigger and its outputs.
const APP: [(&str, &str, &[&str]); 11] = [
    (
        "abandon-chunk",
        "chunk: queue label-chunk-poison",
        &[
            "chunks: queue label-chunk",
            "publishes: queue publish-bucket",
        ],
    ),
    (
        "bucket-uploaded",
        "event: queue bucket-uploaded",
        &[
            "plans: queue plan-bucket",
            "chunks: queue label-chunk",
            "publishes: queue publish-bucket",
        ],
    ),
    (
        "dataset-uploaded",
        "metadata: blob %SOFTLABEL_DATA%/{dataset}/metadata.json",
        &["plans: queue plan-bucket"],
    ),
    (
        "label-chunk",
        "chunk: queue label-chunk",
        &[
            "chunks: queue label-chunk",
            "publishes: queue publish-bucket",
        ],
    ),
    ("page", "req: get page, anonymous key", &["res: answer"]),
    (
        "plan-bucket",
        "plan: queue plan-bucket",
        &[
            "chunks: queue label-chunk",
            "publishes: queue publish-bucket",
        ],
    ),
    ("publish-bucket", "publish: queue publish-bucket", &[]),
    (
        "reconcile",
        "timer: 0 * * * * *",
        &[
            "plans: queue plan-bucket",
            "chunks: queue label-chunk",
            "publishes: queue publish-bucket",
            "abandoned: queue label-chunk-poison",
        ],
    ),
    (
        "relabel",
        "req: post relabel, function key",
        &["res: answer", "plans: queue plan-bucket"],
    ),
    (
        "runs",
        "req: get post runs/{run?}/{action?}, function key",
        &["res: answer", "plans: queue plan-bucket"],
    ),
    (
        "tasks",
        "req: put tasks/{name}, function key",
        &["res: answer"],
    ),
];

/// Both zips, made by the command.
struct Packages {
    folder: TempDir,
}

impl Packages {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = zip_command(&executables::static_executable(), &[], folder.path());
        assert!(made.status.success(), "{made:?}");
        Self { folder }
    }

    fn flex(&self) -> PathBuf {
        self.folder.path().join("softlabel-flex.zip")
    }

    fn local(&self) -> PathBuf {
        self.folder.path().join("softlabel-local.zip")
    }
}

fn zip_command(executable: &Path, flags: &[&str], output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_softlabel-package"))
        .args(flags)
        .arg("--executable")
        .arg(executable)
        .arg("--output")
        .arg(output)
        .output()
        .unwrap()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn describe(binding: &Binding) -> String {
    let name = &binding.name;
    let text = |value: &Option<String>| value.clone().unwrap();
    match binding.kind.as_str() {
        "queueTrigger" | "queue" => format!("{name}: queue {}", text(&binding.queue_name)),
        "blobTrigger" => format!("{name}: blob {}", text(&binding.path)),
        "timerTrigger" => format!("{name}: {}", text(&binding.schedule)),
        "httpTrigger" => format!(
            "{name}: {} {}, {} key",
            binding.methods.as_ref().unwrap().join(" "),
            text(&binding.route),
            text(&binding.auth_level),
        ),
        "http" => format!("{name}: answer"),
        other => panic!("{other}"),
    }
}

fn description(function: &Function) -> (&str, String, Vec<String>) {
    let trigger = describe(function.trigger().unwrap());
    let outputs = function.outputs().map(describe).collect();
    (&function.name, trigger, outputs)
}

#[test]
fn the_packages_hold_what_the_host_looks_for_and_nothing_else() {
    let packages = Packages::make();
    assert_eq!(names(packages.folder.path()).len(), 2);
    let mut wanted: BTreeSet<String> = APP.map(|(name, ..)| format!("{name}/function.json")).into();
    wanted.extend(["host.json".to_owned(), "softlabel".to_owned()]);
    wanted.extend(papers::NAMES.map(str::to_owned));
    for zip in [packages.flex(), packages.local()] {
        let mut archive = ZipArchive::new(File::open(&zip).unwrap()).unwrap();
        let mut found = BTreeSet::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let name = entry.name().unwrap().into_owned();
            let mode = entry.unix_mode().unwrap();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            if name == "softlabel" {
                assert_eq!(mode, 0o100_755);
                assert_eq!(
                    contents,
                    fs::read(executables::static_executable()).unwrap()
                );
            } else {
                assert_eq!(mode, 0o100_644, "{name}");
                if name.ends_with(".json") {
                    serde_json::from_slice::<Value>(&contents).unwrap();
                }
            }
            assert!(found.insert(name));
        }
        assert_eq!(found, wanted);
    }
}

#[test]
fn the_functions_are_woken_and_send_as_agreed() {
    let packages = Packages::make();
    for (zip, hosting) in [
        (packages.flex(), Hosting::Flex),
        (packages.local(), Hosting::Local),
    ] {
        let (root, _) = archive::read(&zip, hosting).unwrap();
        let found: Vec<_> = root.functions().iter().map(description).collect();
        let outputs = |outputs: &[&str]| outputs.iter().map(ToString::to_string).collect();
        let agreed = APP.map(|(name, trigger, sent)| (name, trigger.to_owned(), outputs(sent)));
        assert_eq!(found, agreed);
    }
}

#[test]
fn queues_are_in_the_apps_account_and_datasets_in_the_data_account() {
    let root = ScriptRoot::read(repository(), Hosting::Local).unwrap();
    for binding in root
        .functions()
        .iter()
        .flat_map(|function| &function.bindings)
    {
        let account = match binding.kind.as_str() {
            "queue" | "queueTrigger" => Some("AzureWebJobsStorage"),
            "blobTrigger" => Some("SoftlabelData"),
            _ => None,
        };
        assert_eq!(binding.connection.as_deref(), account);
    }
}

#[test]
fn the_packages_differ_in_the_source_of_the_blob_trigger_alone() {
    let packages = Packages::make();
    let (flex, _) = archive::read(&packages.flex(), Hosting::Flex).unwrap();
    let (local, _) = archive::read(&packages.local(), Hosting::Local).unwrap();
    for (path, contents) in local.files() {
        if path == "dataset-uploaded/function.json" {
            let trigger = |root: &ScriptRoot| -> Value {
                let function: Value = serde_json::from_slice(&root.files()[path]).unwrap();
                function["bindings"][0].clone()
            };
            let mut polled = trigger(&local);
            assert_eq!(polled.get("source"), None);
            polled["source"] = "EventGrid".into();
            assert_eq!(trigger(&flex), polled);
        } else {
            assert_eq!(flex.files()[path], *contents, "{path}");
        }
    }
}

#[test]
fn the_host_gets_the_agreed_limits_and_drops_none_of_our_lines() {
    let root = ScriptRoot::read(repository(), Hosting::Local).unwrap();
    let host: Value = serde_json::from_slice(&root.files()["host.json"]).unwrap();
    let at = |pointer: &str| host.pointer(pointer).unwrap().clone();
    assert_eq!(at("/version"), "2.0");
    assert_eq!(at("/functionTimeout"), "00:30:00");
    assert_eq!(at("/customHandler/description/arguments/0"), "serve");
    let bundle = at("/extensionBundle");
    assert_eq!(bundle["id"], "Microsoft.Azure.Functions.ExtensionBundle");
    assert_eq!(bundle["version"], "[4.*, 5.0.0)");
    let queues = serde_json::json!({
        "batchSize": 16, "newBatchThreshold": 8, "maxDequeueCount": 5,
        "visibilityTimeout": "00:00:30", "maxPollingInterval": "00:00:02",
        "messageEncoding": "base64"
    });
    assert_eq!(at("/extensions/queues"), queues);
    // The category of what a custom handler prints, which Application Insights stores as traces.
    assert_eq!(at("/logging/logLevel/Host.Function.Console"), "Information");
    let excluded = at("/logging/applicationInsights/samplingSettings/excludedTypes");
    assert!(
        excluded
            .as_str()
            .unwrap()
            .split(';')
            .any(|kind| kind == "Trace")
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let first = Packages::make();
    let folder = tempfile::tempdir().unwrap();
    // Another file of the same contents, made at another time, that nobody else may read.
    let copy = folder.path().join("copy");
    fs::write(&copy, fs::read(executables::static_executable()).unwrap()).unwrap();
    let made = zip_command(&copy, &[], folder.path());
    assert!(made.status.success(), "{made:?}");
    for zip in [first.flex(), first.local()] {
        let second = folder.path().join(zip.file_name().unwrap());
        assert!(
            fs::read(&zip).unwrap() == fs::read(second).unwrap(),
            "{zip:?}"
        );
    }
}

#[test]
fn the_sample_settings_name_all_that_the_functions_refer_to() {
    let sample = fs::read(repository().join("local.settings.sample.json")).unwrap();
    let sample: Value = serde_json::from_slice(&sample).unwrap();
    let values = sample["Values"].as_object().unwrap();
    assert!(values.values().all(Value::is_string));
    assert_eq!(values["FUNCTIONS_WORKER_RUNTIME"], "custom");
    let root = ScriptRoot::read(repository(), Hosting::Local).unwrap();
    for binding in root
        .functions()
        .iter()
        .flat_map(|function| &function.bindings)
    {
        let path = binding.path.as_deref().unwrap_or_default();
        let in_path = path.split('%').skip(1).step_by(2);
        for setting in binding.connection.as_deref().into_iter().chain(in_path) {
            assert!(values.contains_key(setting), "{setting}");
        }
    }
}
