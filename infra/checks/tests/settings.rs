//! The settings of the function app, against those that the program reads.

use clap::{Command, CommandFactory};
use serde_json::{Map, Value, json};
use softlabel_infra::consistency::settings;
use softlabel_infra::repository::{functions, snapshot, snapshots};
use std::collections::BTreeSet;

const NONE: [String; 0] = [];

/// What `softlabel serve` reads, and without which of it it does not start.
fn serve() -> (BTreeSet<String>, BTreeSet<String>) {
    let cli = softlabel::config::Cli::command();
    let serve = cli.find_subcommand("serve");
    variables(serve.expect("softlabel has the command serve"))
}

fn variables(command: &Command) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut known, mut required) = (BTreeSet::new(), BTreeSet::new());
    for argument in command.get_arguments() {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        known.insert(name.to_owned());
        if argument.is_required_set() {
            required.insert(name.to_owned());
        }
    }
    (known, required)
}

#[test]
fn the_app_is_given_what_the_program_and_the_host_read_and_nothing_else() {
    let (known, required) = serve();
    for snapshot in snapshots().unwrap() {
        let given = snapshot.app_settings();
        let found = settings(&functions().unwrap(), &given, &known, &required);
        assert_eq!(found, NONE, "{}", snapshot.name);
    }
}

#[test]
fn what_both_have_a_default_for_has_the_same() {
    let cli = softlabel::config::Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    let given = snapshot("everything-new").unwrap().app_settings();
    let mut compared = Vec::new();
    for argument in serve.get_arguments() {
        let name = argument.get_env().and_then(|name| name.to_str());
        let Some((name, given)) = name.and_then(|name| Some((name, given.get(name)?.as_str()?)))
        else {
            continue;
        };
        let default = argument.get_default_values().first();
        if let Some(default) = default.and_then(|it| it.to_str())
            && !given.starts_with('[')
            // In the cloud there is no key, and the model's deployment sets the quota.
            && !["SOFTLABEL_AUTH", "SOFTLABEL_TPM", "SOFTLABEL_RPM"].contains(&name)
        {
            assert_eq!(given, default, "{name}");
            compared.push(name.to_owned());
        }
    }
    for name in [
        "SOFTLABEL_MAX_COST",
        "SOFTLABEL_RETENTION_DAYS",
        "SOFTLABEL_CONCURRENCY",
    ] {
        assert!(compared.iter().any(|it| it == name), "{compared:?}");
    }
}

/// What is found when the program knows just what it is given, and then `change` happens.
fn broken(change: impl Fn(&mut Map<String, Value>)) -> Vec<String> {
    let mut given = snapshot("everything-new").unwrap().app_settings();
    let program = |name: &&String| name.starts_with("SOFTLABEL_") || name.starts_with("AZURE_");
    let known = given.keys().filter(program).cloned().collect();
    let required = BTreeSet::from(["AZURE_OPENAI_ENDPOINT".to_owned()]);
    change(&mut given);
    settings(&functions().unwrap(), &given, &known, &required)
}

#[test]
fn settings_that_fit_pass() {
    assert_eq!(broken(|_| ()), NONE);
}

#[test]
fn a_setting_that_nothing_reads_is_found() {
    let with = |name: &str, value: &str| {
        broken(|given| {
            given.insert(name.to_owned(), json!(value));
        })
    };
    assert_eq!(with("SOFTLABEL_TMP", "1"), ["nothing reads SOFTLABEL_TMP"]);
    assert_eq!(with("SoftlabelDat__clientId", "x").len(), 1);
    assert_eq!(
        with("FUNCTIONS_WORKER_RUNTIME", "custom"),
        ["FUNCTIONS_WORKER_RUNTIME must not be set on Flex Consumption"]
    );
    let key = with("SOFTLABEL_LOG", "AccountKey=abc");
    assert_eq!(key, ["SOFTLABEL_LOG holds a key"]);
    assert_eq!(
        with("SOFTLABEL_LOG", ""),
        ["SOFTLABEL_LOG is set to nothing"]
    );
}

#[test]
fn a_setting_that_is_missing_is_found() {
    let cases = [
        (
            "AZURE_OPENAI_ENDPOINT",
            "without which the program does not serve",
        ),
        ("SOFTLABEL_DATA", "which a function's path needs"),
        ("SoftlabelData__queueServiceUri", "which a connection needs"),
        (
            "AzureWebJobsStorage__tableServiceUri",
            "which a connection needs",
        ),
        ("AzureWebJobsStorage__clientId", "which a connection needs"),
    ];
    for (name, expected) in cases {
        let found = broken(|given| {
            given.remove(name);
        });
        assert_eq!(found, [format!("{name} is not set, {expected}")]);
    }
}

#[test]
fn variables_are_read_from_a_command_as_they_are_declared() {
    let command = Command::new("serve")
        .arg(clap::Arg::new("a").long("a").required(true))
        .arg(clap::Arg::new("b").long("b"));
    assert_eq!(variables(&command), (BTreeSet::new(), BTreeSet::new()));
    let label = softlabel::config::Cli::command();
    let (known, _) = variables(label.find_subcommand("label").unwrap());
    assert!(known.contains("SOFTLABEL_TPM"), "{known:?}");
}
