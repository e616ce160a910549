//! The scripts, with an `az` that writes down what it is asked and answers from a table. It stands for
//! the documented behaviour of the commands; whether Azure does what they ask only Azure can show.

mod scenarios;

use scenarios::{everything_new, sources};
use serde_json::{Value, json};
use softlabel_infra::consistency::{Event, accepts, of_kind};
use softlabel_infra::deployment::Deployed;
use softlabel_infra::repository::root;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "the-key";

/// Writes its arguments into a log, and the bodies that it is given; answers as `answers` says by the
/// beginning of the arguments.
fn fake_az(folder: &Path, answers: &[(&str, String)]) {
    let mut script = String::from("#!/bin/sh\necho \"$*\" >>\"$0.log\"\n");
    script += "for it in \"$@\"; do case $it in @*) cp \"${it#@}\" \"$0.body\";; esac; done\n";
    script += "case \"$*\" in\n";
    for (beginning, answer) in answers {
        script += &format!("'{beginning}'*) cat <<'END'\n{answer}\nEND\n;;\n");
    }
    script += "esac\n";
    for (name, text) in [("az", script.as_str()), ("sleep", "#!/bin/sh\n")] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn run(script: &str, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(root().join("infra/hooks").join(script));
    command.args(arguments).env("PATH", path);
    command.envs(variables.iter().copied());
    command.output().unwrap()
}

fn answers(key: &str) -> Vec<(&'static str, String)> {
    vec![
        ("functionapp keys list", key.to_owned()),
        ("eventgrid system-topic show", "/topic".to_owned()),
    ]
}

const OUTPUTS: &[(&str, &str)] = &[
    ("AZURE_RESOURCE_GROUP", "rg"),
    ("APP_NAME", "func-x"),
    ("APP_URL", "https://func-x.example"),
    ("DATA_RESOURCE_GROUP", "rg-data"),
    ("DATA_CONTAINER", "c"),
    ("DATA_BASE_PATH", "a/b"),
    ("SYSTEM_TOPIC", "evgt-x"),
];

#[test]
fn the_webhook_is_put_under_one_name_however_often_the_hook_runs() {
    let folder = tempfile::tempdir().unwrap();
    fake_az(folder.path(), &answers(KEY));
    for _ in 0..2 {
        let output = run("postdeploy.sh", folder.path(), &[], OUTPUTS);
        assert!(output.status.success(), "{output:?}");
    }
    let log = fs::read_to_string(folder.path().join("az.log")).unwrap();
    let puts: Vec<_> = log
        .lines()
        .filter(|line| line.starts_with("rest --method put"))
        .collect();
    assert_eq!(puts.len(), 2);
    for put in puts {
        let url = "--url /topic/eventSubscriptions/func-x-dataset-uploaded?api-version=2025-02-15";
        assert!(put.ends_with(url), "{put}");
        assert!(
            !put.contains(KEY),
            "a key in arguments can be seen by others"
        );
    }
}

#[test]
fn the_webhook_is_told_of_metadata_of_raw_datasets_alone() {
    let folder = tempfile::tempdir().unwrap();
    fake_az(folder.path(), &answers(KEY));
    run("postdeploy.sh", folder.path(), &[], OUTPUTS);
    let body = fs::read_to_string(folder.path().join("az.body")).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body["properties"]["destination"]["properties"]["endpointUrl"],
        "https://func-x.example/runtime/webhooks/blobs\
         ?functionName=Host.Functions.dataset-uploaded&code=the-key"
    );
    // The same type as the template's own subscription, so the same checks hold for it.
    let sources = sources();
    let deployment = everything_new().deploy(&sources);
    let kind = "Microsoft.EventGrid/systemTopics/eventSubscriptions";
    let mut fields = body.as_object().unwrap().clone();
    fields.insert("name".to_owned(), json!("x"));
    let subscription = Deployed {
        body: fields,
        ..of_kind(&deployment, kind)[0].clone()
    };
    assert_eq!(sources.types.check(&subscription), [] as [String; 0]);
    let told = |path| {
        let event = Event {
            kind: "Microsoft.Storage.BlobCreated",
            api: "PutBlob",
            container: "c",
            path,
        };
        accepts(&subscription, event)
    };
    assert!(told("a/b/v4/metadata.json"));
    assert!(!told("a/b/LABELED_v4/labeling_metadata.json"));
    assert!(!told("a/b/LABELED_v4/metadata.json"));
    assert!(!told("a/b/v4/train/short.json"));
    assert!(!told("a/v4/metadata.json"));
}

#[test]
fn an_app_that_makes_no_key_is_reported_and_nothing_is_put() {
    let folder = tempfile::tempdir().unwrap();
    fake_az(folder.path(), &answers(""));
    let output = run("postdeploy.sh", folder.path(), &[], OUTPUTS);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("func-x has made no key"), "{text}");
    let log = fs::read_to_string(folder.path().join("az.log")).unwrap();
    assert!(!log.contains("rest"), "{log}");
}

#[test]
fn an_output_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fake_az(folder.path(), &[]);
    let output = run("postdeploy.sh", folder.path(), &[], &OUTPUTS[..2]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "APP_URL is not set; it is an output of infra/main.bicep\n"
    );
}

#[test]
fn without_azd_the_resources_come_first_then_the_package_then_the_webhook() {
    let folder = tempfile::tempdir().unwrap();
    // As Azure writes them: the first letters small up to the last of the first word.
    let outputs = OUTPUTS.iter().map(|(name, value)| {
        let (first, rest) = name.split_at(name.find('_').unwrap() - 1);
        (
            first.to_lowercase() + rest,
            json!({"type": "String", "value": value}),
        )
    });
    let mut outputs: serde_json::Map<_, _> = outputs.collect();
    outputs.insert(
        "datA_URL".to_owned(),
        json!({"value": "https://data.example/c?a=b"}),
    );
    let mut answers = answers(KEY);
    answers.push(("deployment sub create", Value::Object(outputs).to_string()));
    fake_az(folder.path(), &answers);
    let arguments = [
        "prod",
        "swedencentral",
        "modelCapacity=50",
        "alertEmail=a@example.com",
    ];
    let output = run("deploy.sh", folder.path(), &arguments, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("datasets go to https://data.example/c?a=b"),
        "{text}"
    );

    let log = fs::read_to_string(folder.path().join("az.log")).unwrap();
    let at = |text: &str| {
        log.find(text)
            .unwrap_or_else(|| panic!("{text} is not in {log}"))
    };
    let parameters =
        "environmentName=prod location=swedencentral modelCapacity=50 alertEmail=a@example.com";
    let package = "--resource-group rg --name func-x --src target/package/softlabel-flex.zip";
    assert!(at(parameters) < at(package) && at(package) < at("rest --method put"));
}
