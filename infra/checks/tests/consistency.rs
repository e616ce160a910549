//! What stands in more than one place, compared; and the comparisons, with something broken each time.

use serde_json::{Value, json};
use softlabel_infra::consistency::{Event, Function, accepts, containers, instances, queues};
use softlabel_infra::repository::{functions, snapshot, snapshots};
use softlabel_infra::snapshot::Snapshot;

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

/// Whether a subscription of the buckets' queue lets an event through.
fn delivers(name: &str, kind: &str, api: &str, container: &str, path: &str) -> bool {
    let event = Event {
        kind,
        api,
        container,
        path,
    };
    delivers_in(&snapshot(name).unwrap(), event)
}

fn delivers_in(snapshot: &Snapshot, event: Event<'_>) -> bool {
    let mut subscriptions = snapshot.of_kind(SUBSCRIPTION);
    subscriptions.any(|subscription| accepts(subscription, event))
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
fn what_is_renamed_into_the_base_path_is_delivered() {
    let blob = |name: &str, container: &str, path: &str| {
        let kind = "Microsoft.Storage.BlobRenamed";
        delivers(name, kind, "RenameFile", container, path)
    };
    let folder = |name: &str, container: &str, path: &str| {
        let kind = "Microsoft.Storage.DirectoryRenamed";
        delivers(name, kind, "RenameDirectory", container, path)
    };
    for name in ["everything-new", "everything-existing"] {
        let (container, base) = match name {
            "everything-new" => ("softlabel-data", ""),
            _ => ("sft-data", "experiments/test/v4/"),
        };
        for path in ["v4", "v4/train", "v4/train.2026"] {
            let path = format!("{base}{path}");
            assert!(folder(name, container, &path), "{name} {path}");
        }
        for path in ["v4/train/short.json", "v4/metadata.json"] {
            let path = format!("{base}{path}");
            assert!(blob(name, container, &path), "{name} {path}");
        }
        for path in [
            "LABELED_v4/train/short.jsonl",
            "v4/train/invalid_records_1.json",
        ] {
            let path = format!("{base}{path}");
            assert!(!blob(name, container, &path), "{name} {path}");
        }
        assert!(!folder(name, container, &format!("{base}LABELED_v4")));
        assert!(!folder(name, "other", &format!("{base}v4")));
    }
    assert!(!folder("everything-existing", "sft-data", "experiments/v4"));
}

#[test]
fn a_subscription_that_lacks_renames_is_found() {
    let (_, whole) = world();
    let folder = Event {
        kind: "Microsoft.Storage.DirectoryRenamed",
        api: "RenameDirectory",
        container: "softlabel-data",
        path: "v4",
    };
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut snapshot = whole.clone();
        let resources = snapshot.resources.iter_mut();
        for subscription in resources.filter(|it| it.kind == SUBSCRIPTION) {
            change(&mut subscription.body["properties"]["filter"]);
        }
        delivers_in(&snapshot, folder)
    };
    assert!(broken(&|_| {}));
    let kinds = json!(["Microsoft.Storage.BlobCreated"]);
    assert!(!broken(
        &|filter| filter["includedEventTypes"] = kinds.clone()
    ));
    // A folder's subject has no end to go by.
    assert!(!broken(&|filter| filter["subjectEndsWith"] = json!(".json")));
    let elsewhere = json!([{
        "operatorType": "StringContains", "key": "data.destinationUrl", "values": ["/other/"],
    }]);
    assert!(!broken(
        &|filter| filter["advancedFilters"] = elsewhere.clone()
    ));
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
        ("SOFTLABEL_TASK_NAME", "angry"),
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
