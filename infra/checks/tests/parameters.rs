//! The files around the templates: parameters for azd, azure.yaml, hooks, workflows.

mod scenarios;

use scenarios::{everything_new, functions, sources};
use serde_json::Value;
use softlabel_infra::consistency::of_kind;
use softlabel_infra::repository::{MAIN, root};
use std::fs;

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn azd_is_told_only_of_parameters_that_there_are() {
    let sources = sources();
    let main = &sources.files[MAIN];
    let text = &sources.texts["infra/main.parameters.json"];
    let given: Value = serde_json::from_str(text).unwrap();
    let given = given["parameters"].as_object().unwrap();
    for (name, value) in given {
        assert!(
            main.params.iter().any(|param| param.name == *name),
            "{name}"
        );
        // azd replaces ${…}; the program refuses variables of its own prefix that it does not know.
        let value = value["value"].as_str().unwrap();
        assert!(
            value.starts_with("${") && !value.contains("SOFTLABEL_"),
            "{value}"
        );
    }
    for param in main.params.iter().filter(|param| param.default.is_none()) {
        assert!(given.contains_key(&param.name), "{}", param.name);
    }
}

/// The default in `${NAME=default}`.
fn default_of(value: &Value) -> Option<&str> {
    let text = value["value"].as_str()?.strip_suffix('}')?;
    text.split_once('=').map(|(_, default)| default)
}

#[test]
fn azd_gives_the_same_defaults_as_the_template() {
    use softlabel_infra::ast::{Node, Part};
    let sources = sources();
    let text = &sources.texts["infra/main.parameters.json"];
    let given: Value = serde_json::from_str(text).unwrap();
    for param in &sources.files[MAIN].params {
        let Some(default) = default_of(&given["parameters"][&param.name]) else {
            continue;
        };
        let expected = match param.default.as_ref().map(|expr| &expr.node) {
            Some(Node::Int(number)) => number.to_string(),
            Some(Node::Bool(value)) => value.to_string(),
            Some(Node::Text(parts)) => match parts.as_slice() {
                [Part::Plain(text)] => text.clone(),
                _ => String::new(),
            },
            other => panic!("{}: {other:?}", param.name),
        };
        assert_eq!(default, expected, "{}", param.name);
    }
}

#[test]
fn azd_finds_the_app_by_its_tags() {
    let deployment = everything_new().deploy(&sources());
    let app = of_kind(&deployment, "Microsoft.Web/sites")[0];
    let service = app.body["tags"]["azd-service-name"].as_str().unwrap();
    let group = of_kind(&deployment, "Microsoft.Resources/resourceGroups")[0];
    assert_eq!(group.body["tags"]["azd-env-name"], "prod");

    let azure = yaml("azure.yaml");
    let services = azure["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), [service]);
    let steps = azure["workflows"]["up"]["steps"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|it| it["azd"].as_str().unwrap()).collect();
    let deploy = format!("deploy {service} --from-package target/package/softlabel-flex.zip");
    assert_eq!(steps, ["package --all", "provision", &deploy]);
    for hook in azure["hooks"].as_object().unwrap().values() {
        let path = root().join(hook["run"].as_str().unwrap());
        assert!(path.is_file(), "{}", path.display());
    }
}

#[test]
fn the_hook_speaks_of_the_blob_trigger_and_of_outputs_that_there_are() {
    let sources = sources();
    let hook = &sources.texts["infra/hooks/postdeploy.sh"];
    let functions = functions(&sources);
    let is_blob = |name: &str| {
        let function = functions.iter().find(|it| it.name == name).unwrap();
        function.bindings[0].kind == "blobTrigger"
    };
    let (_, rest) = hook.split_once("\nfunction=").unwrap();
    assert!(is_blob(rest.lines().next().unwrap()));
    let (_, rest) = hook.split_once("for name in ").unwrap();
    let (names, _) = rest.split_once(';').unwrap();
    let outputs = &sources.files[MAIN].outputs;
    for name in names.split_whitespace().chain(["DATA_BASE_PATH"]) {
        assert!(outputs.iter().any(|output| output.name == name), "{name}");
    }
    assert!(
        outputs
            .iter()
            .all(|output| !output.name.starts_with("SOFTLABEL_"))
    );
}

#[test]
fn workflows_pin_their_actions_and_ask_for_few_rights() {
    for (path, expected) in [
        (".github/workflows/ci.yml", vec!["contents: read"]),
        (
            ".github/workflows/deploy.yml",
            vec!["contents: read", "id-token: write"],
        ),
    ] {
        let workflow = yaml(path);
        let permissions = workflow["permissions"].as_object().unwrap();
        let permissions = permissions.iter().map(|(name, value)| {
            let value = value.as_str().unwrap();
            format!("{name}: {value}")
        });
        assert_eq!(permissions.collect::<Vec<_>>(), expected, "{path}");
        let jobs = workflow["jobs"].as_object().unwrap();
        assert!(!jobs.is_empty());
        for job in jobs.values() {
            assert!(job.get("permissions").is_none(), "{path}");
            for step in job["steps"].as_array().unwrap() {
                let Some(action) = step.get("uses").and_then(Value::as_str) else {
                    continue;
                };
                let (_, pin) = action.split_once('@').unwrap();
                let hex = pin.chars().all(|it| it.is_ascii_hexdigit());
                assert!(pin.len() == 40 && hex, "{path}: {action}");
            }
        }
    }
    let text = fs::read_to_string(root().join(".github/workflows/ci.yml")).unwrap();
    assert!(text.contains("run: .ci/run"));
}
