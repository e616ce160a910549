//! What is granted, against what is touched.

mod scenarios;

use scenarios::{all, everything_new, functions, sources};
use serde_json::json;
use softlabel_infra::consistency::{ROLES, rights};
use softlabel_infra::deployment::{Deployed, Deployment};
use std::collections::BTreeMap;

const NONE: [String; 0] = [];

#[test]
fn role_ids_are_those_of_their_names() {
    let text = &sources().texts["infra/roles.json"];
    let used: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
    let known: BTreeMap<_, _> = ROLES.iter().map(|role| (role.name, role.id)).collect();
    for (name, id) in &used {
        assert_eq!(known.get(name.as_str()), Some(&id.as_str()), "{name}");
    }
}

#[test]
fn everything_that_is_touched_is_granted_and_nothing_else() {
    let sources = sources();
    for scenario in all() {
        let base = match scenario.name {
            "everything existing" => "experiments/test/v4/",
            _ => "",
        };
        let found = rights(&functions(&sources), &scenario.deploy(&sources), base);
        assert_eq!(found, NONE, "{}", scenario.name);
    }
}

/// What is found when the role assignments are changed.
fn broken_rights(change: impl Fn(&mut Deployment)) -> Vec<String> {
    let sources = sources();
    let mut deployment = everything_new().deploy(&sources);
    change(&mut deployment);
    rights(&functions(&sources), &deployment, "")
}

#[test]
fn a_right_that_is_missing_is_found() {
    let symbols = [
        ("topicSends", "may not send messages"),
        ("topicDeadLetters", "may not write blobs"),
        ("appPublishesTelemetry", "may not send telemetry"),
        ("appLabels", "may not read blobs"),
        ("appParksBlobEvents", "may not send messages"),
        ("appAsksModel", "may not call the model"),
        ("appAccountRoles", "may not make containers"),
    ];
    for (symbol, expected) in symbols {
        let found = broken_rights(|it| it.resources.retain(|it| it.symbol != symbol));
        assert!(found[0].contains(expected), "{symbol}: {found:?}");
    }
}

#[test]
fn rights_that_are_too_wide_are_found() {
    let change = |symbol: &'static str, change: fn(&mut Deployed)| {
        broken_rights(|it| {
            let resources = it.resources.iter_mut();
            resources.filter(|it| it.symbol == symbol).for_each(change);
        })
    };
    let found = change("topicSends", |it| it.scope = None);
    assert!(
        found[0].contains("topicSends: it is not about one resource"),
        "{found:?}"
    );

    let found = change("appLabels", |it| {
        it.body["properties"]["condition"] = json!("");
    });
    assert!(found[0].ends_with("may write RAW"), "{found:?}");

    let found = change("appLabels", |it| {
        let properties = &mut it.body["properties"];
        let condition = properties["condition"].as_str().unwrap();
        properties["condition"] = json!(condition.replace("'LABELED_", "'*LABELED_"));
    });
    assert!(
        found[0].contains("write d/LABELED_x/short.json"),
        "{found:?}"
    );

    let found = change("appLabels", |it| {
        let properties = &mut it.body["properties"];
        let condition = properties["condition"].as_str().unwrap();
        properties["condition"] = json!(condition.replace("blobs/delete", "blobs/read"));
    });
    assert!(
        found[0].contains("blobs/delete d/train/short.json"),
        "{found:?}"
    );

    let found = change("appAsksModel", |it| {
        let properties = &mut it.body["properties"];
        properties["roleDefinitionId"] = json!("4633458b-17de-408a-b874-0445c86b69e6");
    });
    let wide = "does not need Key Vault Secrets User";
    assert!(found.iter().any(|it| it.contains(wide)), "{found:?}");

    let found = change("appAsksModel", |it| {
        let properties = &mut it.body["properties"];
        properties["roleDefinitionId"] = json!("5e0bd9bd-0000-4f28-af87-19fc36ad61bd");
    });
    assert!(
        found[0].contains("no role is known by the id 5e0bd9bd-0000"),
        "{found:?}"
    );
}
