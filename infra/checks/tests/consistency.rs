//! What stands in more than one place, compared; and the comparisons, with something broken each time.

mod scenarios;

use scenarios::{all, everything_existing, everything_new, functions, sources, with_a_vault};
use serde_json::{Value, json};
use softlabel_infra::consistency::{
    Event, Function, accepts, app_settings, containers, of_kind, queues,
};
use softlabel_infra::deployment::Deployment;
use std::collections::BTreeMap;

const NONE: [String; 0] = [];
const PARKED: &str = "webjobs-blobtrigger-poison";
const SUBSCRIPTION: &str = "Microsoft.EventGrid/systemTopics/eventSubscriptions";

/// Everything new, and the functions.
fn world() -> (Vec<Function>, Deployment) {
    let sources = sources();
    (functions(&sources), everything_new().deploy(&sources))
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
    let sources = sources();
    for scenario in all() {
        let deployment = scenario.deploy(&sources);
        assert_eq!(queues(&functions(&sources), &deployment, PARKED), NONE);
    }
}

#[test]
fn a_queue_that_is_named_in_one_place_alone_is_found() {
    let (mut functions, deployment) = world();
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
    assert_eq!(queues(&functions, &deployment, PARKED), expected);

    let (functions, mut deployment) = world();
    let gone = |name: &str| name.ends_with("/label-chunk-poison");
    deployment.resources.retain(|it| !gone(&it.name));
    let expected = [
        "the functions use label-chunk-poison, which is not deployed",
        "label-chunk-poison is not deployed",
    ];
    assert_eq!(queues(&functions, &deployment, PARKED), expected);

    let (mut functions, deployment) = world();
    functions.retain(|it| it.name != "publish-bucket");
    let expected = "nothing wakes on publish-bucket, though functions send to it";
    assert!(queues(&functions, &deployment, PARKED).contains(&expected.to_owned()));
}

#[test]
fn events_that_go_to_another_queue_are_found() {
    let (functions, mut deployment) = world();
    let resources = deployment.resources.iter_mut();
    for subscription in resources.filter(|it| it.kind == SUBSCRIPTION) {
        let properties = &mut subscription.body["properties"];
        let destination = &mut properties["deliveryWithResourceIdentity"]["destination"];
        destination["properties"]["queueName"] = json!("plan-bucket");
    }
    let found = queues(&functions, &deployment, PARKED);
    assert!(
        found[0].contains("events go to Some(\"plan-bucket\")"),
        "{found:?}"
    );
}

#[test]
fn containers_that_are_named_are_deployed() {
    let sources = sources();
    for scenario in all() {
        assert_eq!(containers(&scenario.deploy(&sources)), NONE);
    }
}

#[test]
fn a_container_that_is_not_deployed_is_found() {
    for name in ["softlabel-work", "app-package", "dead-letters"] {
        let (_, mut deployment) = world();
        deployment
            .resources
            .retain(|it| !it.name.ends_with(&format!("/{name}")));
        let found = containers(&deployment);
        assert!(!found.is_empty(), "{name}");
        assert!(found.iter().all(|it| it.contains(name)), "{found:?}");
    }
}

/// Whether the subscription delivers a complete blob at `path`.
fn delivers(scenario: &scenarios::Scenario, container: &str, path: &str) -> bool {
    let deployment = scenario.deploy(&sources());
    let event = Event {
        kind: "Microsoft.Storage.BlobCreated",
        api: "PutBlockList",
        container,
        path,
    };
    accepts(of_kind(&deployment, SUBSCRIPTION)[0], event)
}

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
    let (new, existing) = (everything_new(), everything_existing());
    for (path, expected) in cases {
        assert_eq!(delivers(&new, "softlabel-data", path), expected, "{path}");
        let path = format!("experiments/test/v4/{path}");
        assert_eq!(delivers(&existing, "sft-data", &path), expected, "{path}");
    }
    assert!(!delivers(&new, "other", "v4/train/short.json"));
    assert!(!delivers(&existing, "sft-data", "v5/v4/train/short.json"));
}

#[test]
fn only_complete_blobs_are_delivered() {
    let deployment = everything_new().deploy(&sources());
    let delivered = |kind, api| {
        let event = Event {
            kind,
            api,
            container: "softlabel-data",
            path: "v4/train/short.json",
        };
        accepts(of_kind(&deployment, SUBSCRIPTION)[0], event)
    };
    for api in ["PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose"] {
        assert!(delivered("Microsoft.Storage.BlobCreated", api), "{api}");
    }
    assert!(!delivered("Microsoft.Storage.BlobCreated", "CreateFile"));
    assert!(!delivered("Microsoft.Storage.BlobDeleted", "PutBlob"));
}

#[test]
fn the_capacity_of_the_model_deployment_sets_the_quota() {
    let mut sources = sources();
    let deployments = "Microsoft.CognitiveServices/accounts/deployments";
    let mut quota = |scenario: scenarios::Scenario, capacity: u32, model: &str| {
        let answers = [
            (format!("{deployments}.sku.capacity"), json!(capacity)),
            (format!("{deployments}.properties.model.name"), json!(model)),
        ];
        sources.answers = answers.into();
        let deployment = scenario.deploy(&sources);
        let settings = app_settings(&deployment);
        let setting = |name: &str| settings[name].as_str().unwrap().to_owned();
        ["SOFTLABEL_TPM", "SOFTLABEL_RPM", "SOFTLABEL_MODEL"].map(setting)
    };
    let gpt_5_2 = quota(everything_new(), 1000, "gpt-5.2");
    assert_eq!(gpt_5_2, ["1000000", "10000", "gpt-5.2"]);
    let gpt_4_1 = quota(everything_existing(), 250, "gpt-4.1");
    assert_eq!(gpt_4_1, ["250000", "250", "gpt-4.1"]);
    let told = quota(with_a_vault(), 100, "gpt-9");
    assert_eq!(told, ["100000", "300", "gpt-9"]);
}

#[test]
fn parameters_reach_the_settings_and_resources_that_they_are_for() {
    let sources = sources();
    let scenario = everything_new()
        .with("concurrency", json!(7))
        .with("maximumCost", json!(20))
        .with("retentionDays", json!(3))
        .with("maximumInstances", json!(40))
        .with("instanceMemory", json!(512))
        .with("modelCapacity", json!(33))
        .with("dataBasePath", json!("a/b"))
        .with("moreSettings", json!({"SOFTLABEL_PRICE_INPUT": "2.5"}));
    let deployment = scenario.deploy(&sources);
    let settings = app_settings(&deployment);
    for (name, expected) in [
        ("SOFTLABEL_CONCURRENCY", "7"),
        ("SOFTLABEL_MAX_COST", "20"),
        ("SOFTLABEL_RETENTION_DAYS", "3"),
        ("SOFTLABEL_DATA", "softlabel-data/a/b"),
        ("SOFTLABEL_PRICE_INPUT", "2.5"),
    ] {
        assert_eq!(settings[name], expected, "{name}");
    }
    let one = |kind| &of_kind(&deployment, kind)[0].body;
    let scale =
        &one("Microsoft.Web/sites")["properties"]["functionAppConfig"]["scaleAndConcurrency"];
    let expected = json!({"maximumInstanceCount": 40, "instanceMemoryMB": 512});
    assert_eq!(*scale, expected);
    let deployments = "Microsoft.CognitiveServices/accounts/deployments";
    assert_eq!(one(deployments)["sku"]["capacity"], 33);
}

#[test]
fn what_is_not_safe_is_off() {
    let sources = sources();
    for scenario in all() {
        let deployment = scenario.deploy(&sources);
        let properties = |kind| {
            let found = of_kind(&deployment, kind).into_iter();
            found
                .map(|it| &it.body["properties"])
                .collect::<Vec<&Value>>()
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
        for way in properties("Microsoft.Web/sites/basicPublishingCredentialsPolicies") {
            assert_eq!(way["allow"], false);
        }
        for topic in properties("Microsoft.EventGrid/systemTopics") {
            assert_eq!(topic["topicType"], "Microsoft.Storage.StorageAccounts");
        }
        let keys = scenario.name == "with a vault";
        for account in properties("Microsoft.CognitiveServices/accounts") {
            assert_eq!(account["disableLocalAuth"], !keys);
        }
        let settings = app_settings(&deployment);
        assert_eq!(
            settings["SOFTLABEL_AUTH"],
            if keys { "key" } else { "entra" }
        );
        assert!(!Value::Object(settings).to_string().contains("THE-KEY"));
    }
}

#[test]
fn the_key_is_a_secret_from_the_parameter_on() {
    let sources = sources();
    for (path, name) in [
        ("infra/main.bicep", "openAiKey"),
        ("infra/app/vault.bicep", "secretValue"),
    ] {
        let params = &sources.files[path].params;
        let param = params.iter().find(|param| param.name == name).unwrap();
        assert!(
            param.decorators.iter().any(|it| it.name == "secure"),
            "{name}"
        );
    }
}

#[test]
fn what_a_type_leaves_open_is_set() {
    let deployment = with_a_vault().deploy(&sources());
    let one = |kind| &of_kind(&deployment, kind)[0].body["properties"];
    assert_eq!(one("Microsoft.KeyVault/vaults/secrets")["value"], "THE-KEY");
    // Linux.
    assert_eq!(one("Microsoft.Web/serverfarms")["reserved"], true);
    let runtime = &one("Microsoft.Web/sites")["functionAppConfig"]["runtime"];
    assert_eq!(*runtime, json!({"name": "custom", "version": "1.0"}));
    let model = one("Microsoft.CognitiveServices/accounts/deployments");
    assert_eq!(model["versionUpgradeOption"], "NoAutoUpgrade");
    let account = of_kind(&deployment, "Microsoft.CognitiveServices/accounts")[0];
    assert_eq!(account.body["kind"], "OpenAI");
    let account = &account.body["properties"];
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
            "queueServices/default",
            vec!["StorageDelete", "StorageWrite"],
        ),
        ("systemTopics/", vec!["AllMetrics", "DeliveryFailures"]),
        (
            "Microsoft.CognitiveServices/accounts/",
            vec!["AllMetrics", "Audit"],
        ),
        ("Microsoft.KeyVault/vaults/", vec!["AuditEvent"]),
    ];
    let deployment = with_a_vault().deploy(&sources());
    let settings = of_kind(&deployment, "Microsoft.Insights/diagnosticSettings");
    assert_eq!(settings.len(), 5);
    for setting in settings {
        let scope = setting.scope.as_deref().unwrap();
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

#[test]
fn existing_resources_are_not_deployed_again() {
    let sources = sources();
    let kinds = |scenario: scenarios::Scenario| {
        let deployment = scenario.deploy(&sources);
        let foreign = deployment
            .resources
            .iter()
            .filter(|it| it.group.as_deref() != Some("rg-prod"));
        let mut kinds: Vec<_> = foreign.map(|it| it.kind.clone()).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    assert_eq!(
        kinds(everything_new()),
        ["Microsoft.Resources/resourceGroups"]
    );
    assert_eq!(
        kinds(everything_existing()),
        [
            "Microsoft.Authorization/roleAssignments",
            SUBSCRIPTION,
            "Microsoft.Insights/diagnosticSettings",
            "Microsoft.Resources/resourceGroups",
            "Microsoft.Storage/storageAccounts/queueServices/queues",
        ]
    );
}

#[test]
fn a_second_deployment_gives_the_same_and_no_two_resources_share_an_id() {
    let sources = sources();
    for scenario in all() {
        let list = || {
            let deployment = scenario.deploy(&sources);
            let resources = deployment.resources.into_iter();
            resources
                .map(|it| (format!("{}|{:?}", it.id, it.scope), it.body))
                .collect::<Vec<_>>()
        };
        let first = list();
        assert_eq!(first, list());
        let ids: BTreeMap<_, _> = first.iter().cloned().collect();
        assert_eq!(ids.len(), first.len(), "{}", scenario.name);
    }
    let id = |scenario: scenarios::Scenario| {
        let deployment = scenario.deploy(&sources);
        of_kind(&deployment, "Microsoft.Storage/storageAccounts")[0]
            .name
            .clone()
    };
    let other = everything_new().with("environmentName", json!("test"));
    assert_ne!(id(everything_new()), id(other));
}
