//! The scripts, with an `az` that writes down what it is asked and answers from a table. It stands for
//! the documented behaviour of the commands; whether Azure does what they ask only Azure can show.

use serde_json::{Value, json};
use softlabel_infra::consistency::{Event, accepts};
use softlabel_infra::repository::{functions, root, snapshot};
use softlabel_infra::snapshot::Resource;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use tempfile::TempDir;

const KEY: &str = "the-key";
const PUT: &str = "rest --method put";

/// What a command gives: its exit code and what it writes to stdout, or to stderr where it fails.
type Answer = (i32, String);

fn ok(text: &str) -> Answer {
    (0, text.to_owned())
}

fn error(text: &str) -> Answer {
    (1, text.to_owned())
}

/// A scripted `az`: by the beginning of the arguments, what it answers one time after the other; the last
/// answer stays. Beside it a `sleep` that does not, and a `timeout` that only says how long it would wait.
struct Az {
    folder: TempDir,
    answers: Vec<(&'static str, Vec<Answer>)>,
}

impl Az {
    /// An Azure in which everything is as it should be.
    fn new() -> Self {
        let functions = functions().unwrap();
        let listed: Vec<_> = functions
            .iter()
            .map(|it| format!("func-x/{}", it.name))
            .collect();
        let answers = vec![
            ("account show", vec![ok("sub-default")]),
            ("functionapp show", vec![ok("/app")]),
            ("functionapp function list", vec![ok(&listed.join("\n"))]),
            ("functionapp keys list", vec![ok(KEY)]),
            ("eventgrid system-topic show", vec![ok("/topic")]),
            ("rest --method get", vec![ok("Succeeded")]),
        ];
        let folder = tempfile::tempdir().unwrap();
        Self { folder, answers }
    }

    fn with(mut self, beginning: &'static str, answers: Vec<Answer>) -> Self {
        self.answers.retain(|(known, _)| *known != beginning);
        self.answers.push((beginning, answers));
        self
    }

    fn script(&self) -> String {
        let mut script = String::from("#!/bin/sh\necho \"$*\" >>\"$0.log\"\n");
        script += "for it in \"$@\"; do case $it in @*) cp \"${it#@}\" \"$0.body\";; esac; done\n";
        script += "case \"$*\" in\n";
        for (at, (beginning, answers)) in self.answers.iter().enumerate() {
            script += &format!("'{beginning}'*) n=$(cat \"$0.{at}\" 2>/dev/null || echo 0)\n");
            script += &format!("echo $((n + 1)) >\"$0.{at}\"\ncase $n in\n");
            for (round, (code, text)) in answers.iter().enumerate() {
                let round = match round + 1 == answers.len() {
                    true => "*".to_owned(),
                    false => round.to_string(),
                };
                let to = if *code == 0 { 1 } else { 2 };
                script += &format!("{round}) cat >&{to} <<'END'\n{text}\nEND\nexit {code};;\n");
            }
            script += "esac;;\n";
        }
        script + "esac\n"
    }

    fn run(&self, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let folder = self.folder.path();
        for (name, text) in [
            ("az", self.script().as_str()),
            ("sleep", "#!/bin/sh\n"),
            ("timeout", "#!/bin/sh\nshift\nexec \"$@\"\n"),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(root().join("infra/hooks").join(script));
        command.args(arguments).env("PATH", path);
        command.env_remove("AZURE_SUBSCRIPTION_ID");
        command.envs(variables.iter().copied());
        command.output().unwrap()
    }

    /// `postdeploy.sh` after azd.
    fn postdeploy(&self) -> Output {
        let mut variables = OUTPUTS.to_vec();
        variables.push(("AZURE_SUBSCRIPTION_ID", "sub-of-azd"));
        self.run("postdeploy.sh", &[], &variables)
    }

    /// What it was asked, a call a line.
    fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("az.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn times(&self, beginning: &str) -> usize {
        let asked = self.asked().into_iter();
        asked.filter(|it| it.starts_with(beginning)).count()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
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
    let az = Az::new();
    for _ in 0..2 {
        let output = az.postdeploy();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.starts_with("func-x lists all of its functions"),
            "{text}"
        );
    }
    let asked = az.asked();
    let puts: Vec<_> = asked.iter().filter(|it| it.starts_with(PUT)).collect();
    assert_eq!(puts.len(), 2);
    for put in puts {
        let url = "--url /topic/eventSubscriptions/func-x-dataset-uploaded?api-version=2025-02-15 ";
        assert!(put.contains(url), "{put}");
    }
    for call in &asked {
        assert!(!call.contains(KEY), "arguments can be seen by others");
        // The default of az need not be the subscription that azd deploys to.
        assert!(call.contains(" --subscription sub-of-azd"), "{call}");
    }
}

#[test]
fn triggers_are_synced_until_every_function_is_listed() {
    let mut some = vec![ok("func-x/WarmUp"), ok("func-x/reconcile\nfunc-x/runs")];
    let all = &Az::new().answers;
    let (_, listed) = all.iter().find(|(it, _)| it.ends_with("list")).unwrap();
    some.extend(listed.clone());
    let az = Az::new().with("functionapp function list", some);
    let output = az.postdeploy();
    assert!(output.status.success(), "{output:?}");
    let sync = "rest --method post --url /app/host/default/sync?api-version=2024-11-01";
    assert_eq!(az.times(sync), 3);
}

#[test]
fn functions_that_are_never_listed_fail_loudly_by_name() {
    let one = ok("func-x/reconcile");
    let az = Az::new().with("functionapp function list", vec![one]);
    let output = az.postdeploy();
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains("has not listed abandon-chunk bucket-uploaded"),
        "{text}"
    );
    assert!(!text.contains(" reconcile"), "{text}");
    assert_eq!(az.times(PUT), 0);
}

#[test]
fn an_app_that_is_still_starting_is_waited_for() {
    let starting = || error("(ServiceUnavailable) The host runtime did not answer");
    let az = Az::new()
        .with("rest --method post", vec![starting(), ok("")])
        .with("functionapp keys list", vec![starting(), ok(""), ok(KEY)]);
    let output = az.postdeploy();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(az.times("functionapp keys list"), 3);
}

#[test]
fn what_waiting_cannot_mend_is_not_waited_for() {
    for (beginning, message) in [
        (
            "functionapp show",
            "(ResourceGroupNotFound) Resource group 'rg' could not be found.",
        ),
        (
            "rest --method post",
            "(AuthorizationFailed) The client does not have authorization",
        ),
        (
            "functionapp keys list",
            "Please run 'az login' to setup account.",
        ),
        (PUT, "(InvalidRequest) the filter is not valid"),
    ] {
        let az = Az::new().with(beginning, vec![error(message)]);
        let output = az.postdeploy();
        assert_eq!(output.status.code(), Some(1), "{beginning}");
        assert_eq!(az.times(beginning), 1, "{beginning}");
        let text = said(&output);
        assert!(text.contains(message), "{text}");
        assert!(
            text.contains("run infra/hooks/postdeploy.sh again"),
            "{text}"
        );
    }
}

#[test]
fn a_webhook_that_has_not_answered_is_put_again_until_it_stands() {
    let states = ["Creating", "Failed", "Updating", "Succeeded"].map(ok);
    let az = Az::new().with("rest --method get", states.to_vec());
    let output = az.postdeploy();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(az.times("rest --method get"), 4);
    // Once, and once more after it had failed.
    assert_eq!(az.times(PUT), 2);
}

#[test]
fn a_webhook_that_never_answers_is_no_success() {
    let az = Az::new().with("rest --method get", vec![ok("AwaitingManualAction")]);
    let output = az.postdeploy();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("it says AwaitingManualAction"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("is told of"), "{text}");
}

#[test]
fn the_webhook_is_told_of_metadata_of_raw_datasets_alone() {
    let az = Az::new();
    az.postdeploy();
    let body = fs::read_to_string(az.folder.path().join("az.body")).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body["properties"]["destination"]["properties"]["endpointUrl"],
        "https://func-x.example/runtime/webhooks/blobs\
         ?functionName=Host.Functions.dataset-uploaded&code=the-key"
    );
    // The same type as the template's own subscription, whose properties the compiler knows.
    let snapshot = snapshot("everything-new").unwrap();
    let kind = "Microsoft.EventGrid/systemTopics/eventSubscriptions";
    let own = snapshot.of_kind(kind).next().unwrap();
    for name in body["properties"]["filter"].as_object().unwrap().keys() {
        let path = format!("properties.filter.{name}");
        assert!(own.at(&path).is_some(), "{name}");
    }
    let subscription = Resource {
        body: body.as_object().unwrap().clone(),
        ..own.clone()
    };
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
    let az = Az::new().with("functionapp keys list", vec![ok("")]);
    let output = az.postdeploy();
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("func-x has made no key"), "{text}");
    assert_eq!(az.times(PUT), 0);
}

#[test]
fn an_output_that_is_missing_is_named() {
    let output = Az::new().run("postdeploy.sh", &[], &OUTPUTS[..2]);
    assert_eq!(
        said(&output),
        "APP_URL is not set; it is an output of infra/main.bicep\n"
    );
}

/// The outputs of a deployment as Azure writes them: the first letters small up to the last of the first
/// word.
fn outputs() -> Answer {
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
    ok(&Value::Object(outputs).to_string())
}

const ARGUMENTS: &[&str] = &[
    "prod",
    "swedencentral",
    "modelCapacity=50",
    "alertEmail=a@example.com",
];
const UPLOAD: &str = "functionapp deployment source config-zip";

#[test]
fn without_azd_the_resources_come_first_then_the_package_then_the_webhook() {
    let az = Az::new().with("deployment sub create", vec![outputs()]);
    let output = az.run("deploy.sh", ARGUMENTS, &[]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.ends_with("datasets go to https://data.example/c?a=b\n"),
        "{text}"
    );
    let asked = az.asked();
    let at = |text: &str| {
        let found = asked.iter().position(|it| it.contains(text));
        found.unwrap_or_else(|| panic!("{text} is not in {asked:?}"))
    };
    let parameters =
        "environmentName=prod location=swedencentral modelCapacity=50 alertEmail=a@example.com";
    let package = "--resource-group rg --name func-x --src target/package/softlabel-flex.zip";
    assert!(at(parameters) < at(package) && at(package) < at(PUT));
    assert_eq!(at("account show"), 0);
    for call in &asked[1..] {
        assert!(call.contains(" --subscription sub-default"), "{call}");
    }
}

#[test]
fn a_health_check_that_lies_or_hangs_does_not_keep_the_hook_from_running() {
    // 124 is what `timeout` gives for a command that it ended.
    let lies = "Deployment was successful but the app appears to be unhealthy";
    for answer in [error(lies), (124, String::new())] {
        let az = Az::new()
            .with("deployment sub create", vec![outputs()])
            .with(UPLOAD, vec![answer]);
        let output = az.run("deploy.sh", ARGUMENTS, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(az.times(PUT), 1);
        let text = said(&output);
        assert!(
            text.contains("func-x is not known to run with this package"),
            "{text}"
        );
    }
    let script = fs::read_to_string(root().join("infra/hooks/deploy.sh")).unwrap();
    assert!(script.contains(&format!("timeout 900 az {UPLOAD}")));
}

#[test]
fn a_hook_that_fails_fails_the_deployment() {
    let az = Az::new()
        .with("deployment sub create", vec![outputs()])
        .with("functionapp keys list", vec![ok("")]);
    let output = az.run("deploy.sh", ARGUMENTS, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("is deployed"), "{text}");
}

#[test]
fn an_account_without_queues_is_refused_before_anything_is_made() {
    let queues = "https://x.queue.core.windows.net/";
    for (answer, fits) in [
        (format!("StorageV2\n{queues}"), true),
        ("BlockBlobStorage\n".to_owned(), false),
        ("StorageV2\nNone".to_owned(), false),
        (format!("Storage\n{queues}"), false),
    ] {
        let az = Az::new()
            .with("deployment sub create", vec![outputs()])
            .with("storage account show --name stdata", vec![ok(&answer)]);
        let arguments = [ARGUMENTS, &["dataAccountName=stdata"]].concat();
        let output = az.run("deploy.sh", &arguments, &[]);
        assert_eq!(output.status.success(), fits, "{answer}");
        assert_eq!(az.times("deployment sub create"), usize::from(fits));
        if !fits {
            let text = said(&output);
            let expected = "does not have both events and queues";
            assert!(text.contains(expected), "{text}");
        }
    }
    // azd knows the parameter by its variable.
    let az = Az::new().with("storage account show", vec![ok("BlobStorage\n")]);
    let output = az.run("preprovision.sh", &[], &[("DATA_ACCOUNT_NAME", "stdata")]);
    assert_eq!(output.status.code(), Some(1));
    let output = az.run("preprovision.sh", &[], &[]);
    assert!(output.status.success(), "{output:?}");
}
