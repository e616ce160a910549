//! Broken resources, each with what must be said of it.

use super::Types;
use crate::deployment::{Sources, deploy};
use crate::repository::root;
use crate::syntax::parse;
use serde_json::Map;

/// What the types say about the resources of a file.
fn problems(text: &str) -> Vec<String> {
    let mut sources = Sources {
        types: Types::read(&root().join("infra/types")).unwrap(),
        ..Sources::default()
    };
    let text = format!("param group string = 'rg'\n{text}");
    let main = "targetScope = 'subscription'\nmodule m 'm.bicep' = {\n\
        scope: resourceGroup('rg')\n}\n";
    for (path, text) in [("main.bicep", main), ("m.bicep", &text)] {
        let file = parse(path, text).unwrap();
        sources.files.insert(path.to_owned(), file);
    }
    match deploy(&sources, "main.bicep", Map::new()) {
        Ok(deployed) => {
            let resources = deployed.resources.iter();
            resources.flat_map(|it| sources.types.check(it)).collect()
        }
        Err(problem) => vec![problem.text],
    }
}

fn account(lines: &str) -> String {
    format!(
        "resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {{\n  name: 'stabc'\n  \
         location: group\n  kind: 'StorageV2'\n  sku: {{ name: 'Standard_LRS' }}\n{lines}}}\n"
    )
}

#[test]
fn a_good_resource_passes() {
    let good = account("  properties: {\n    allowBlobPublicAccess: false\n  }\n");
    assert_eq!(problems(&good), [] as [&str; 0]);
}

#[test]
fn resource_types_and_versions_that_are_not_known_are_found() {
    let unknown = "resource a 'Microsoft.Storage/accounts@2025-01-01' = {\n  name: group\n}\n";
    assert!(problems(unknown)[0].contains("no such resource type"));
    let old = account("").replace("2025-01-01", "2019-06-01");
    assert_eq!(
        problems(&old),
        ["the types kept are those of 2025-01-01, not of 2019-06-01"]
    );
}

#[test]
fn properties_that_do_not_exist_are_read_only_or_missing_are_found() {
    let cases = [
        (
            "  properties: { allowSharedKey: false }\n",
            "properties.allowSharedKey: there is no such property",
        ),
        (
            "  properties: { provisioningState: 'x' }\n",
            "properties.provisioningState: it is read-only",
        ),
        ("  propertys: {}\n", "propertys: there is no such property"),
    ];
    for (lines, expected) in cases {
        assert_eq!(problems(&account(lines)), [expected]);
    }
    let without = account("").replace("  kind: 'StorageV2'\n", "");
    assert_eq!(problems(&without), ["kind: it is required"]);
}

#[test]
fn values_that_are_not_listed_or_of_another_type_are_found() {
    let cases = [
        (
            "  properties: { minimumTlsVersion: 'TLS12' }\n",
            "is none of TLS1_0",
        ),
        (
            "  properties: { allowBlobPublicAccess: 'no' }\n",
            "is no bool",
        ),
        ("  properties: { encryption: 'yes' }\n", "is no Encryption"),
        ("  zones: 'one'\n", "is no string[]"),
    ];
    for (lines, expected) in cases {
        let found = problems(&account(lines));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn names_that_are_too_long_or_have_wrong_characters_are_found() {
    let long = account("").replace(
        "'stabc'",
        "'st${uniqueString(group)}${uniqueString(group)}'",
    );
    assert!(
        problems(&long)[0].contains("beyond maxLength: 24"),
        "{:?}",
        problems(&long)
    );
    let dashed = account("").replace("'stabc'", "'st-abc'");
    assert!(problems(&dashed)[0].contains("does not match ^[a-z0-9]+$"));
}

#[test]
fn the_kind_of_an_object_decides_its_properties() {
    let setting = |name: &str, value: &str| {
        format!(
            "resource app 'Microsoft.Web/sites@2024-11-01' existing = {{\n  name: group\n}}\n\
             resource c 'Microsoft.Web/sites/config@2024-11-01' = {{\n  parent: app\n  \
             name: '{name}'\n  properties: {{ A: {value} }}\n}}\n"
        )
    };
    assert_eq!(problems(&setting("appsettings", "'x'")), [] as [&str; 0]);
    assert_eq!(
        problems(&setting("appsettings", "1")),
        ["properties.A: 1 is no string"]
    );
    assert!(problems(&setting("appsetings", "'x'"))[0].contains("which is not known"));
}

#[test]
fn what_a_resource_does_not_answer_cannot_be_read() {
    let reads = |path: &str| account("") + &format!("output o string = account.{path}\n");
    assert_eq!(
        problems(&reads("properties.primaryEndpoints.blob")),
        [] as [&str; 0]
    );
    let expected = "Microsoft.Storage/storageAccounts has no properties.primaryEndpoint";
    assert_eq!(problems(&reads("properties.primaryEndpoint")), [expected]);
}

#[test]
fn parents_and_scopes_that_do_not_fit_are_found() {
    let child = |kind: &str, name: &str| {
        account("")
            + &format!("resource c '{kind}' = {{\n  parent: account\n  name: '{name}'\n}}\n")
    };
    let service = "Microsoft.Storage/storageAccounts/queueServices@2025-01-01";
    assert_eq!(problems(&child(service, "default")), [] as [&str; 0]);
    assert!(problems(&child(service, "a/b"))[0].contains("has 2 names, stabc/a/b is 3"));
    let queue = "Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01";
    assert!(problems(&child(queue, "q"))[0].contains("is no child of"));
    let group = "resource g 'Microsoft.Resources/resourceGroups@2025-04-01' = {\n  \
        name: group\n  location: 'x'\n}\n";
    assert_eq!(problems(group), ["it belongs into the scope Subscription"]);
}
