//! What a deployment makes, and in which order.

use serde_json::{Value, json};
use softlabel_infra::repository::{snapshot, snapshots, template, text, texts};
use std::collections::{BTreeMap, BTreeSet};

const SUBSCRIPTION: &str = "Microsoft.EventGrid/systemTopics/eventSubscriptions";

#[test]
fn what_exists_is_left_as_it_is() {
    let made = |name: &str, kind: &str| snapshot(name).unwrap().of_kind(kind).count();
    let group = "Microsoft.Resources/resourceGroups";
    assert_eq!(made("everything-new", group), 1);
    assert_eq!(made("existing-group", group), 0);
    assert_eq!(made("new-in-existing", group), 0);
    let topic = "Microsoft.EventGrid/systemTopics";
    assert_eq!(made("everything-existing", topic), 0);
    assert_eq!(
        made("everything-existing", "Microsoft.Storage/storageAccounts"),
        1
    );
    for name in ["everything-existing", "new-in-existing"] {
        assert_eq!(made(name, "Microsoft.CognitiveServices/accounts"), 0);
    }
    // In the resource groups of others nothing is made but what is about their resources.
    let foreign = snapshot("everything-existing").unwrap().resources;
    let foreign = foreign
        .iter()
        .filter(|it| !it.id.contains("/resourceGroups/rg-prod"));
    let kinds: BTreeSet<_> = foreign.map(|it| it.kind.as_str()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [
            SUBSCRIPTION,
            "Microsoft.Insights/diagnosticSettings",
            "Microsoft.Storage/storageAccounts/queueServices/queues",
        ]
    );
    // Into an existing group goes what an empty subscription gets, but for the group.
    let ids = |name: &str, group: &str| {
        let resources = snapshot(name).unwrap().resources.into_iter();
        let ids = resources.filter(|it| it.kind != "Microsoft.Resources/resourceGroups");
        let id = |id: String| id.replace(&format!("/resourceGroups/{group}/"), "/");
        ids.map(|it| (it.kind, id(it.id).len())).collect::<Vec<_>>()
    };
    assert_eq!(
        ids("existing-group", "rg-shared"),
        ids("everything-new", "rg-prod")
    );
}

#[test]
fn two_environments_in_one_group_share_nothing() {
    // With another name a whole id differs; the resource group is the one that both may lie in.
    let ids = |name: &str| {
        let resources = snapshot(name).unwrap().resources.into_iter();
        let ids = resources.filter(|it| it.kind != "Microsoft.Resources/resourceGroups");
        let of_group = |id: String| {
            id.replace("/resourceGroups/rg-prod", "/rg")
                .replace("/resourceGroups/rg-test", "/rg")
        };
        ids.map(|it| of_group(it.id)).collect::<BTreeSet<_>>()
    };
    let (one, other) = (ids("everything-new"), ids("all-options"));
    let shared: Vec<_> = one.intersection(&other).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[test]
fn what_is_not_safe_is_off() {
    for snapshot in snapshots().unwrap() {
        let properties = |kind| {
            let found = snapshot.of_kind(kind).map(|it| &it.body["properties"]);
            found.collect::<Vec<&Value>>()
        };
        for account in properties("Microsoft.Storage/storageAccounts") {
            assert_eq!(account["allowSharedKeyAccess"], false);
            assert_eq!(account["allowBlobPublicAccess"], false);
            assert_eq!(account["minimumTlsVersion"], "TLS1_2");
        }
        for vault in properties("Microsoft.KeyVault/vaults") {
            assert_eq!(vault["enableRbacAuthorization"], true);
            assert_eq!(vault["enablePurgeProtection"], true);
        }
        for insights in properties("Microsoft.Insights/components") {
            assert_eq!(insights["DisableLocalAuth"], true);
        }
        for app in properties("Microsoft.Web/sites") {
            assert_eq!(app["httpsOnly"], true);
        }
        let ways = properties("Microsoft.Web/sites/basicPublishingCredentialsPolicies");
        assert_eq!(ways.len(), 2);
        for way in ways {
            assert_eq!(way["allow"], false);
        }
        for topic in properties("Microsoft.EventGrid/systemTopics") {
            assert_eq!(topic["topicType"], "Microsoft.Storage.StorageAccounts");
        }
        let settings = snapshot.app_settings();
        let keys = settings.contains_key("SOFTLABEL_KEYVAULT_URL");
        assert_eq!(
            settings["SOFTLABEL_AUTH"],
            if keys { "key" } else { "entra" }
        );
        for account in properties("Microsoft.CognitiveServices/accounts") {
            assert_eq!(account["disableLocalAuth"], !keys);
        }
    }
}

#[test]
fn the_key_is_a_secret_from_the_parameter_on() {
    let parameters = template().unwrap().parameters;
    assert_eq!(parameters["openAiKey"]["type"], "securestring");
    let vault = text("infra/app/vault.bicep").unwrap();
    assert!(vault.contains("@secure()\nparam secretValue string\n"));
    // So the compiler does not show it either, and the one place where it goes is the vault's secret.
    let given = text("infra/snapshots/with-a-vault.bicepparam").unwrap();
    assert!(given.contains("param openAiKey = 'THE-KEY'"));
    for (path, snapshot) in texts("infra/snapshots", ".snapshot.json").unwrap() {
        assert!(!snapshot.contains("THE-KEY"), "{path}");
    }
    let snapshot = snapshot("with-a-vault").unwrap();
    let uses = |it: &Value| it.to_string().contains("parameters('openAiKey')");
    let used = snapshot
        .resources
        .iter()
        .filter(|it| it.body.values().any(uses));
    let used: Vec<_> = used.map(|it| it.kind.as_str()).collect();
    assert_eq!(used, ["Microsoft.KeyVault/vaults/secrets"]);
}

#[test]
fn what_a_type_leaves_open_is_set() {
    let snapshot = snapshot("with-a-vault").unwrap();
    let one = |kind| &snapshot.of_kind(kind).next().unwrap().body["properties"];
    // Linux.
    assert_eq!(one("Microsoft.Web/serverfarms")["reserved"], true);
    let runtime = &one("Microsoft.Web/sites")["functionAppConfig"]["runtime"];
    assert_eq!(*runtime, json!({"name": "custom", "version": "1.0"}));
    let model = one("Microsoft.CognitiveServices/accounts/deployments");
    assert_eq!(model["versionUpgradeOption"], "NoAutoUpgrade");
    let mut accounts = snapshot.of_kind("Microsoft.CognitiveServices/accounts");
    assert_eq!(accounts.next().unwrap().body["kind"], "OpenAI");
    let account = one("Microsoft.CognitiveServices/accounts");
    assert!(account["customSubDomainName"].is_string(), "Entra needs it");
    let rules = &one("Microsoft.Storage/storageAccounts/managementPolicies")["policy"]["rules"];
    for (rule, name, days) in [
        (&rules[0], "softlabel-work/", 30 + 90),
        (&rules[1], "dead-letters/", 90),
    ] {
        assert_eq!(rule["enabled"], true);
        let definition = &rule["definition"];
        assert_eq!(definition["filters"]["prefixMatch"], json!([name]));
        let delete = &definition["actions"]["baseBlob"]["delete"];
        assert_eq!(delete["daysAfterModificationGreaterThan"], days);
    }
}

#[test]
fn diagnostic_settings_ask_for_categories_that_there_are() {
    // By what they are about, as Azure's documentation of each service lists them. The types leave
    // categories open.
    let known = [
        (
            "/queueServices/default",
            vec!["StorageDelete", "StorageWrite"],
        ),
        ("/systemTopics/", vec!["AllMetrics", "DeliveryFailures"]),
        (
            "/Microsoft.CognitiveServices/accounts/",
            vec!["AllMetrics", "Audit"],
        ),
        ("/Microsoft.KeyVault/vaults/", vec!["AuditEvent"]),
    ];
    let snapshot = snapshot("with-a-vault").unwrap();
    let settings = snapshot.of_kind("Microsoft.Insights/diagnosticSettings");
    let settings: Vec<_> = settings.collect();
    assert_eq!(settings.len(), 5);
    for setting in settings {
        let scope = setting.scope().unwrap();
        let (_, expected) = known.iter().find(|(part, _)| scope.contains(part)).unwrap();
        let lists = ["logs", "metrics"].map(|name| &setting.body["properties"][name]);
        let entries = lists
            .into_iter()
            .flat_map(|list| list.as_array().into_iter().flatten());
        let mut categories = Vec::new();
        for entry in entries {
            assert_eq!(entry["enabled"], true, "{scope}");
            categories.push(entry["category"].as_str().unwrap());
        }
        categories.sort_unstable();
        assert_eq!(categories, *expected, "{scope}");
    }
}

/// What must be there before a module is deployed, itself or by way of others. Names are handed down, so
/// the compiler cannot tell.
fn before(order: &BTreeMap<String, Vec<String>>, module: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![module];
    while let Some(name) = open.pop() {
        for earlier in order.get(name).into_iter().flatten() {
            if found.insert(earlier.clone()) {
                open.push(earlier);
            }
        }
    }
    found
}

#[test]
fn what_a_module_names_is_deployed_before_it() {
    let order = template().unwrap().order;
    let needs: &[(&str, &[&str])] = &[
        ("storage", &["monitoring"]),
        ("data", &["monitoring"]),
        ("model", &["monitoring"]),
        ("vault", &["monitoring"]),
        ("alerts", &["monitoring"]),
        ("topic", &["monitoring", "data"]),
        (
            "appRoles",
            &["identity", "topic", "storage", "monitoring", "vault"],
        ),
        ("dataRoles", &["identity", "data"]),
        ("modelRoles", &["identity", "model"]),
        ("subscriptions", &["topic", "storage", "appRoles"]),
        (
            "app",
            &[
                "identity",
                "storage",
                "data",
                "monitoring",
                "model",
                "vault",
                "appRoles",
                "dataRoles",
                "modelRoles",
            ],
        ),
    ];
    for (module, needed) in needs {
        let before = before(&order, module);
        for name in *needed {
            assert!(before.contains(*name), "{module} does not wait for {name}");
        }
    }
    for module in order.keys().filter(|it| *it != "group") {
        let before = before(&order, module);
        assert!(
            before.contains("group"),
            "{module} does not wait for its group"
        );
        assert!(!before.contains(module), "{module} waits for itself");
        let listed = needs.iter().any(|(it, _)| it == module);
        assert!(
            listed || ["identity", "monitoring"].contains(&module.as_str()),
            "what {module} needs is not said here"
        );
    }
}

#[test]
fn no_two_resources_share_an_id() {
    for snapshot in snapshots().unwrap() {
        let ids: BTreeSet<&str> = snapshot.resources.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids.len(), snapshot.resources.len(), "{}", snapshot.name);
    }
}
