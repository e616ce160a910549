//! What stands in more than one place, compared; and the comparisons, with something broken each time.

use serde_json::{Value, json};
use softlabel_infra::consistency::{Event, Function, accepts, containers, instances, queues};
use softlabel_infra::repository::{functions, snapshot, snapshots, template, text, texts};
use softlabel_infra::snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};

const NONE: [String; 0] = [];
const PARKED: &str = "webjobs-blobtrigger-poison";
const SUBSCRIPTION: &str = "Microsoft.EventGrid/systemTopics/eventSubscriptions";

/// Everything new, and the functions.
fn world() -> (Vec<Function>, Snapshot) {
    (functions().unwrap(), snapshot("everything-new").unwrap())
}

fn rename_queue(functions: &mut [Function], from: &str, to: &str, kind: &str) {
    let bindings = functions.iter_mut().flat_map(|it| &mut it.bindings);
    for binding in bindings.filter(|it| it.kind == kind) {
        if binding.queue_name.as_deref() == Some(from) {
            binding.queue_name = Some(to.to_owned());
        }
    }
}

#[test]
fn the_queues_of_the_functions_are_those_that_are_deployed() {
    for snapshot in snapshots().unwrap() {
        assert_eq!(queues(&functions().unwrap(), &snapshot, PARKED), NONE);
    }
}

#[test]
fn a_queue_that_is_named_in_one_place_alone_is_found() {
    let (mut functions, snapshot) = world();
    rename_queue(
        &mut functions,
        "publish-bucket",
        "publish-buckets",
        "queueTrigger",
    );
    let expected = [
        "the functions use publish-buckets, which is not deployed",
        "nothing wakes on publish-bucket, though functions send to it",
        "publish-buckets-poison is not deployed",
        "publish-bucket-poison is deployed, but no function uses it",
    ];
    assert_eq!(queues(&functions, &snapshot, PARKED), expected);

    let (functions, mut snapshot) = world();
    let gone = |name: &str| name.ends_with("/label-chunk-poison");
    snapshot.resources.retain(|it| !gone(&it.name));
    let expected = [
        "the functions use label-chunk-poison, which is not deployed",
        "label-chunk-poison is not deployed",
    ];
    assert_eq!(queues(&functions, &snapshot, PARKED), expected);

    let (mut functions, snapshot) = world();
    functions.retain(|it| it.name != "publish-bucket");
    let expected = "nothing wakes on publish-bucket, though functions send to it";
    assert!(queues(&functions, &snapshot, PARKED).contains(&expected.to_owned()));
}

#[test]
fn events_that_go_to_another_queue_are_found() {
    let (functions, mut snapshot) = world();
    let resources = snapshot.resources.iter_mut();
    for subscription in resources.filter(|it| it.kind == SUBSCRIPTION) {
        let properties = &mut subscription.body["properties"];
        let destination = &mut properties["deliveryWithResourceIdentity"]["destination"];
        destination["properties"]["queueName"] = json!("plan-bucket");
    }
    let found = queues(&functions, &snapshot, PARKED);
    assert!(
        found[0].contains("events go to Some(\"plan-bucket\")"),
        "{found:?}"
    );
}

#[test]
fn containers_that_are_named_are_deployed() {
    for snapshot in snapshots().unwrap() {
        assert_eq!(containers(&snapshot), NONE);
    }
}

#[test]
fn a_container_that_is_not_deployed_is_found() {
    for name in ["softlabel-work", "app-package", "dead-letters"] {
        let (_, mut snapshot) = world();
        snapshot
            .resources
            .retain(|it| !it.name.ends_with(&format!("/{name}")));
        let found = containers(&snapshot);
        assert!(!found.is_empty(), "{name}");
        assert!(found.iter().all(|it| it.contains(name)), "{found:?}");
    }
}

#[test]
fn instances_are_kept_ready_for_functions_that_there_are() {
    let (functions, ready) = (functions().unwrap(), snapshot("all-options").unwrap());
    assert_eq!(instances(&functions, &ready), NONE);
    let others: Vec<Function> = functions
        .into_iter()
        .filter(|it| it.name != "label-chunk")
        .collect();
    assert_eq!(
        instances(&others, &ready),
        ["an instance is kept ready for function:label-chunk, which there is not"]
    );
    let none = snapshot("everything-new").unwrap();
    let app = none.of_kind("Microsoft.Web/sites").next().unwrap();
    let scale = "properties.functionAppConfig.scaleAndConcurrency";
    let expected = json!({"maximumInstanceCount": 40, "instanceMemoryMB": 2048, "alwaysReady": []});
    assert_eq!(app.at(scale), Some(&expected));
}

/// Whether the subscription of the buckets' events lets one through.
fn delivers(name: &str, kind: &str, api: &str, container: &str, path: &str) -> bool {
    let snapshot = snapshot(name).unwrap();
    let subscription = snapshot.of_kind(SUBSCRIPTION).next().unwrap();
    let event = Event {
        kind,
        api,
        container,
        path,
    };
    accepts(subscription, event)
}

const CREATED: &str = "Microsoft.Storage.BlobCreated";

#[test]
fn bucket_files_are_delivered_and_what_is_none_is_not() {
    let cases = [
        ("v4/train/short_3_to_5_turns.json", true),
        ("v4/metadata.json", false),
        ("v4/train/invalid_records_1.json", false),
        ("v4/invalid_records_1.json", false),
        ("v4/train/short.jsonl", false),
        ("LABELED_v4/train/short.jsonl", false),
        ("LABELED_v4/labeling_metadata.json", false),
    ];
    let new = |container, path: &str| {
        delivers("everything-new", CREATED, "PutBlockList", container, path)
    };
    let existing = |path: &str| {
        let name = "everything-existing";
        delivers(name, CREATED, "PutBlockList", "sft-data", path)
    };
    for (path, expected) in cases {
        assert_eq!(new("softlabel-data", path), expected, "{path}");
        let path = format!("experiments/test/v4/{path}");
        assert_eq!(existing(&path), expected, "{path}");
    }
    assert!(!new("other", "v4/train/short.json"));
    assert!(!existing("v5/v4/train/short.json"));
}

#[test]
fn only_complete_blobs_are_delivered() {
    let delivered = |kind, api| {
        let path = "v4/train/short.json";
        delivers("everything-new", kind, api, "softlabel-data", path)
    };
    // SftpCommit ends an upload over SFTP, FlushWithClose one to a hierarchical namespace.
    for api in [
        "PutBlob",
        "PutBlockList",
        "CopyBlob",
        "FlushWithClose",
        "SftpCommit",
    ] {
        assert!(delivered(CREATED, api), "{api}");
    }
    for api in ["CreateFile", "SftpCreate"] {
        assert!(!delivered(CREATED, api), "{api}");
    }
    assert!(!delivered("Microsoft.Storage.BlobDeleted", "PutBlob"));
}

#[test]
fn the_capacity_of_the_model_deployment_sets_the_quota() {
    let quota = |name: &str| {
        let settings = snapshot(name).unwrap().app_settings();
        let setting = |name: &str| settings[name].as_str().unwrap().to_owned();
        ["SOFTLABEL_TPM", "SOFTLABEL_RPM", "SOFTLABEL_MODEL"].map(setting)
    };
    // A new deployment has what it is given: 50, and 33 with three requests for each.
    assert_eq!(quota("everything-new"), ["50000", "500", "gpt-5.2"]);
    assert_eq!(quota("new-in-existing"), ["50000", "300", "gpt-4o"]);
    assert_eq!(quota("all-options"), ["33000", "99", "gpt-9"]);
    // An existing one says itself what it is.
    let [tokens, requests, model] = quota("everything-existing");
    let deployment = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-models/providers/\
        Microsoft.CognitiveServices/accounts/oai-shared/deployments/labels";
    let known = |what: &str| format!("reference('{deployment}', '2025-06-01'{what}");
    let capacity = known(", 'full').sku.capacity");
    let name = known(").model.name");
    assert_eq!(tokens, format!("[string(mul({capacity}, 1000))]"));
    assert!(
        requests.starts_with(&format!("[string(mul({capacity}, createObject(")),
        "{requests}"
    );
    assert!(requests.ends_with(&format!(")[{name}]))]")), "{requests}");
    assert_eq!(model, format!("[{name}]"));
}

#[test]
fn parameters_reach_the_settings_and_resources_that_they_are_for() {
    let snapshot = snapshot("all-options").unwrap();
    let settings = snapshot.app_settings();
    for (name, expected) in [
        ("SOFTLABEL_CONCURRENCY", "7"),
        ("SOFTLABEL_MAX_COST", "20"),
        ("SOFTLABEL_RETENTION_DAYS", "3"),
        ("SOFTLABEL_DATA", "sft-data/a/b"),
        ("SOFTLABEL_PRICE_INPUT", "2.5"),
        ("SOFTLABEL_KEYVAULT_SECRET", "labels-key"),
        ("AZURE_OPENAI_DEPLOYMENT", "labels"),
    ] {
        assert_eq!(settings[name], expected, "{name}");
    }
    let one = |kind| snapshot.of_kind(kind).next().unwrap();
    let app = one("Microsoft.Web/sites");
    let scale = app
        .at("properties.functionAppConfig.scaleAndConcurrency")
        .unwrap();
    assert_eq!(scale["maximumInstanceCount"], 100);
    assert_eq!(scale["instanceMemoryMB"], 512);
    assert_eq!(
        scale["alwaysReady"][0],
        json!({"name": "http", "instanceCount": 1})
    );
    let model = one("Microsoft.CognitiveServices/accounts/deployments");
    assert_eq!(
        model.body["sku"],
        json!({"name": "DataZoneStandard", "capacity": 33})
    );
    assert_eq!(
        model.at("properties.model"),
        Some(&json!({"format": "OpenAI", "name": "gpt-9", "version": "2027-01-01"}))
    );
    let uploader = "00000000-0000-0000-0000-000000000003";
    let mut assignments = snapshot.of_kind("Microsoft.Authorization/roleAssignments");
    assert!(assignments.any(|it| it.text("properties.principalId") == uploader));
}

#[test]
fn alerts_go_to_the_address_that_is_given() {
    let receivers = |name: &str| {
        let snapshot = snapshot(name).unwrap();
        let mut groups = snapshot.of_kind("Microsoft.Insights/actionGroups");
        let receivers = groups.next().unwrap().at("properties.emailReceivers");
        receivers.and_then(Value::as_array).unwrap().clone()
    };
    let told = receivers("everything-new");
    assert_eq!(told[0]["emailAddress"], "operators@example.com");
    assert!(receivers("all-options").is_empty());
}

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
