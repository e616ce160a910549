//! What is granted, against what is touched.

use serde_json::json;
use softlabel_infra::consistency::{ROLES, rights};
use softlabel_infra::repository::{functions, snapshot, snapshots, text};
use softlabel_infra::snapshot::{Resource, Snapshot};
use std::collections::BTreeMap;

const NONE: [String; 0] = [];

#[test]
fn role_ids_are_those_of_their_names() {
    let text = text("infra/roles.json").unwrap();
    let used: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let known: BTreeMap<_, _> = ROLES.iter().map(|role| (role.name, role.id)).collect();
    for (name, id) in &used {
        assert_eq!(known.get(name.as_str()), Some(&id.as_str()), "{name}");
    }
}

#[test]
fn everything_that_is_touched_is_granted_and_nothing_else() {
    for snapshot in snapshots().unwrap() {
        let found = rights(&functions().unwrap(), &snapshot);
        assert_eq!(found, NONE, "{}", snapshot.name);
    }
}

/// A role assignment by its role and the end of what it is about.
type Assignment = (&'static str, &'static str);

const SENDS: Assignment = ("Storage Queue Data Message Sender", "/bucket-uploaded");
const DEAD_LETTERS: Assignment = ("Storage Blob Data Contributor", "/dead-letters");
const TELEMETRY: Assignment = ("Monitoring Metrics Publisher", "");
const LABELS: Assignment = ("Storage Blob Data Contributor", "/softlabel-data");
const PARKS: Assignment = (
    "Storage Queue Data Contributor",
    "/webjobs-blobtrigger-poison",
);
const ASKS: Assignment = ("Cognitive Services OpenAI User", "");
const OWNS: Assignment = ("Storage Blob Data Owner", "");

fn is((role, scope): Assignment, resource: &Resource) -> bool {
    let role = ROLES.iter().find(|it| it.name == role).unwrap();
    let definition = resource.text("properties.roleDefinitionId");
    definition.ends_with(role.id) && resource.scope().unwrap_or_default().ends_with(scope)
}

/// What is found when everything is new and the role assignments are changed.
fn broken_rights(change: impl Fn(&mut Snapshot)) -> Vec<String> {
    let mut snapshot = snapshot("everything-new").unwrap();
    change(&mut snapshot);
    rights(&functions().unwrap(), &snapshot)
}

#[test]
fn a_right_that_is_missing_is_found() {
    let assignments = [
        (SENDS, "may not send messages"),
        (DEAD_LETTERS, "may not write blobs"),
        (TELEMETRY, "may not send telemetry"),
        (LABELS, "may not read blobs"),
        (PARKS, "may not send messages"),
        (ASKS, "may not call the model"),
        (OWNS, "may not make containers"),
    ];
    for (assignment, expected) in assignments {
        let found = broken_rights(|it| it.resources.retain(|it| !is(assignment, it)));
        assert!(found[0].contains(expected), "{assignment:?}: {found:?}");
    }
}

#[test]
fn rights_that_are_too_wide_are_found() {
    let change = |assignment: Assignment, change: fn(&mut Resource)| {
        broken_rights(|it| {
            let resources = it.resources.iter_mut();
            resources.filter(|it| is(assignment, it)).for_each(change);
        })
    };
    let found = change(SENDS, |it| {
        it.id = "[resourceId('Microsoft.Authorization/roleAssignments', guid('x'))]".to_owned();
    });
    assert!(
        found[0].contains("it is not about one resource"),
        "{found:?}"
    );

    let found = change(LABELS, |it| {
        it.body["properties"]["condition"] = json!("");
    });
    assert!(found[0].ends_with("may write RAW"), "{found:?}");

    let found = change(LABELS, |it| {
        let properties = &mut it.body["properties"];
        let condition = properties["condition"].as_str().unwrap();
        properties["condition"] = json!(condition.replace("'LABELED_", "'*LABELED_"));
    });
    assert!(
        found[0].contains("write d/LABELED_x/short.json"),
        "{found:?}"
    );

    let found = change(LABELS, |it| {
        let properties = &mut it.body["properties"];
        let condition = properties["condition"].as_str().unwrap();
        properties["condition"] = json!(condition.replace("blobs/delete", "blobs/read"));
    });
    assert!(
        found[0].contains("blobs/delete d/train/short.json"),
        "{found:?}"
    );

    let become_role = |it: &mut Resource, id: &str| {
        let old = ROLES.iter().find(|role| role.name == ASKS.0).unwrap().id;
        it.name = it.name.replace(old, id);
        it.body["properties"]["roleDefinitionId"] = json!(format!("/x/{id}"));
    };
    let wide = broken_rights(|it| {
        let asks = it.resources.iter_mut().find(|it| is(ASKS, it)).unwrap();
        become_role(asks, "4633458b-17de-408a-b874-0445c86b69e6");
    });
    let expected = "does not need Key Vault Secrets User";
    assert!(wide.iter().any(|it| it.contains(expected)), "{wide:?}");

    let unknown = broken_rights(|it| {
        let asks = it.resources.iter_mut().find(|it| is(ASKS, it)).unwrap();
        become_role(asks, "5e0bd9bd-0000-4f28-af87-19fc36ad61bd");
    });
    let expected = "no role is known by the id 5e0bd9bd-0000";
    assert!(unknown[0].contains(expected), "{unknown:?}");
}

#[test]
fn an_assignment_whose_name_would_not_follow_its_principal_is_found() {
    let found = broken_rights(|it| {
        let asks = it.resources.iter_mut().find(|it| is(ASKS, it)).unwrap();
        asks.name = "6e0bd9bd-0000-4f28-af87-19fc36ad61bd".to_owned();
    });
    assert!(found[0].contains("its name is no guid of"), "{found:?}");
}
