//! The files around the templates: parameters for azd, azure.yaml, hooks, workflows.

use serde_json::{Map, Value, json};
use softlabel_infra::repository::{functions, root, snapshot, template, text, texts};

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path).unwrap()).unwrap()
}

/// What azd gives the templates.
fn given() -> Map<String, Value> {
    let text = text("infra/main.parameters.json").unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["parameters"].as_object().unwrap().clone()
}

#[test]
fn azd_is_told_only_of_parameters_that_there_are() {
    let (given, parameters) = (given(), template().unwrap().parameters);
    for (name, value) in &given {
        assert!(parameters.contains_key(name), "{name}");
        // azd replaces ${…}; the program refuses variables of its own prefix that it does not know.
        let value = value["value"].as_str().unwrap();
        assert!(
            value.starts_with("${") && !value.contains("SOFTLABEL_"),
            "{value}"
        );
    }
    let required = parameters
        .iter()
        .filter(|(_, it)| it.get("defaultValue").is_none());
    for (name, _) in required {
        assert!(given.contains_key(name), "{name}");
    }
}

/// The default in `${NAME=default}`.
fn default_of(value: &Value) -> Option<&str> {
    let text = value["value"].as_str()?.strip_suffix('}')?;
    text.split_once('=').map(|(_, default)| default)
}

#[test]
fn azd_gives_the_same_defaults_as_the_template() {
    let given = given();
    for (name, parameter) in template().unwrap().parameters {
        let default = given.get(&name).and_then(default_of);
        let expected = match parameter.get("defaultValue") {
            // azd asks for what has no default anywhere.
            None => {
                assert_eq!(default, None, "{name}");
                continue;
            }
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        if let Some(default) = default {
            assert_eq!(default, expected, "{name}");
        }
    }
}

/// The program reads the same table: what it knows and what the templates know are one source.
#[test]
fn the_models_of_the_templates_are_those_of_the_program() {
    let table: Value = serde_json::from_str(&text("infra/models.json").unwrap()).unwrap();
    let models = table["models"].as_object().unwrap();
    let ratios = table["requestsPerThousandTokens"].as_object().unwrap();
    assert!(!ratios.is_empty());
    for (model, ratio) in ratios {
        assert!(models.contains_key(model), "{model}");
        assert!(ratio.as_u64().is_some_and(|ratio| ratio > 0), "{model}");
    }
    let template = template().unwrap();
    let model = template.parameters["modelName"]["defaultValue"].as_str();
    let model = model.unwrap();
    assert!(ratios.contains_key(model), "{model}");
    assert_ne!(
        models[model]["family"], "reasoning",
        "it gives no log probabilities"
    );
}

#[test]
fn azd_finds_the_app_by_its_tags() {
    let snapshot = snapshot("everything-new").unwrap();
    let tagged = |tag: &str| {
        let resources = snapshot.resources.iter();
        let tags = resources.filter_map(|it| Some((it, it.at("tags")?.get(tag)?.as_str()?)));
        tags.collect::<Vec<_>>()
    };
    let services = tagged("azd-service-name");
    let [(app, service)] = services[..] else {
        panic!("one resource is the app: {services:?}");
    };
    assert_eq!(app.kind, "Microsoft.Web/sites");
    let (group, environment) = tagged("azd-env-name")[0];
    assert_eq!(group.kind, "Microsoft.Resources/resourceGroups");
    assert_eq!(environment, "prod");

    let azure = yaml("azure.yaml");
    let services = azure["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), [service]);
    let steps = azure["workflows"]["up"]["steps"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|it| it["azd"].as_str().unwrap()).collect();
    let deploy = format!("deploy {service} --from-package target/package/softlabel-flex.zip");
    assert_eq!(steps, ["package --all", "provision", &deploy]);
    // 1.24.1 and later know which resource groups are not theirs, 1.25.0 asks.
    assert_eq!(azure["requiredVersions"]["azd"], ">= 1.25.0");
    for hook in azure["hooks"].as_object().unwrap().values() {
        let path = root().join(hook["run"].as_str().unwrap());
        assert!(path.is_file(), "{}", path.display());
    }
}

#[test]
fn the_hook_speaks_of_the_blob_trigger_and_of_outputs_that_there_are() {
    let hook = text("infra/hooks/postdeploy.sh").unwrap();
    let functions = functions().unwrap();
    let is_blob = |name: &str| {
        let function = functions.iter().find(|it| it.name == name).unwrap();
        function.bindings[0].kind == "blobTrigger"
    };
    let (_, rest) = hook.split_once("\nfunction=").unwrap();
    assert!(is_blob(rest.lines().next().unwrap()));
    let (_, rest) = hook.split_once("for name in ").unwrap();
    let (names, _) = rest.split_once(';').unwrap();
    let outputs = snapshot("everything-new").unwrap().outputs;
    for name in names.split_whitespace().chain(["DATA_BASE_PATH"]) {
        assert!(outputs.contains_key(name), "{name}");
    }
    assert!(outputs.keys().all(|name| !name.starts_with("SOFTLABEL_")));
}

/// A job and the rights that it asks for.
type Job = (&'static str, &'static [&'static str]);

/// The jobs of each workflow.
const JOBS: &[(&str, &[Job])] = &[
    (
        "ci",
        &[
            ("checks", &["contents: read"]),
            ("newest-rust", &["contents: read"]),
            ("advisories", &["contents: read"]),
            ("longer", &["contents: read"]),
        ],
    ),
    (
        "deploy",
        &[
            ("build", &["contents: read"]),
            ("attest", &["id-token: write", "attestations: write"]),
            ("deploy", &["contents: read", "id-token: write"]),
        ],
    ),
    (
        "release",
        &[
            ("build", &["contents: read"]),
            ("attest", &["id-token: write", "attestations: write"]),
            ("publish", &["contents: write"]),
        ],
    ),
];

fn workflow(name: &str) -> Value {
    yaml(&format!(".github/workflows/{name}.yml"))
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().unwrap()
}

/// What a step of a job runs, or the action that it uses.
fn of_steps<'a>(job: &'a Value, key: &'static str) -> impl Iterator<Item = &'a str> {
    steps(job)
        .iter()
        .filter_map(move |it| it.get(key)?.as_str())
}

#[test]
fn jobs_ask_for_the_rights_that_they_need() {
    let files = texts(".github/workflows", ".yml").unwrap();
    assert_eq!(files.len(), JOBS.len());
    for (name, expected) in JOBS {
        let workflow = workflow(name);
        assert_eq!(workflow["permissions"], Value::Object(Map::new()), "{name}");
        let jobs = workflow["jobs"].as_object().unwrap().iter();
        let found: Vec<_> = jobs
            .map(|(job, body)| {
                let rights = body["permissions"].as_object().unwrap().iter();
                let rights = rights.map(|(name, it)| format!("{name}: {}", it.as_str().unwrap()));
                (job.as_str(), rights.collect::<Vec<_>>())
            })
            .collect();
        let expected = expected.iter().map(|(job, rights)| {
            let rights = rights.iter().map(ToString::to_string);
            (*job, rights.collect::<Vec<_>>())
        });
        assert_eq!(found, expected.collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn who_may_sign_builds_nothing() {
    for (name, jobs) in JOBS {
        let workflow = workflow(name);
        for (job, rights) in *jobs {
            let body = &workflow["jobs"][job];
            let builds = of_steps(body, "run").any(|it| it.contains("cargo"));
            assert!(!(builds && rights.contains(&"id-token: write")), "{job}");
            if rights.contains(&"attestations: write") {
                assert_eq!(of_steps(body, "run").count(), 0, "{job}");
                let checks_out = of_steps(body, "uses").any(|it| it.contains("checkout"));
                assert!(!checks_out, "{job}");
            }
        }
    }
}

#[test]
fn only_the_main_branch_is_deployed_and_only_what_was_attested() {
    let workflow = workflow("deploy");
    let deploy = &workflow["jobs"]["deploy"];
    assert_eq!(deploy["if"], "github.ref == 'refs/heads/main'");
    assert_eq!(deploy["environment"], "production");
    assert_eq!(deploy["needs"], json!(["build", "attest"]));
    assert!(
        text("infra/README.md")
            .unwrap()
            .contains("Deployment branches")
    );
}

#[test]
fn actions_are_pinned_to_commits() {
    for (name, jobs) in JOBS {
        let workflow = workflow(name);
        for (job, _) in *jobs {
            for action in of_steps(&workflow["jobs"][job], "uses") {
                let (_, pin) = action.split_once('@').unwrap();
                let hex = pin.chars().all(|it| it.is_ascii_hexdigit());
                assert!(pin.len() == 40 && hex, "{name}: {action}");
            }
        }
    }
}

#[test]
fn workflows_build_with_the_rust_that_is_promised_and_the_lock_file() {
    let manifest = text("Cargo.toml").unwrap();
    let (_, rest) = manifest.split_once("rust-version = \"").unwrap();
    let (version, _) = rest.split_once('"').unwrap();
    let install = format!("rustup toolchain install {version} ");
    for (name, jobs) in JOBS {
        let workflow = workflow(name);
        for (job, _) in *jobs {
            let body = &workflow["jobs"][job];
            let runs: Vec<_> = of_steps(body, "run").collect();
            let uses_cargo = |run: &&str| run.contains("cargo") || run.contains(".ci/run");
            if !runs.iter().any(uses_cargo) {
                continue;
            }
            let installs = runs.iter().find(|it| it.contains("rustup")).unwrap();
            let newest = *job == "newest-rust";
            assert_eq!(installs.contains(&install), !newest, "{name}: {job}");
        }
    }
    let scripts = texts(".github/workflows", ".yml").unwrap().into_iter();
    let scripts = scripts.chain([(".ci/run".to_owned(), text(".ci/run").unwrap())]);
    for (path, script) in scripts {
        let lines = script
            .lines()
            .map(str::trim)
            .filter(|it| !it.starts_with('#'));
        let calls = lines.filter(|it| it.contains("cargo ") && !it.contains("cargo fmt"));
        for call in calls {
            assert!(call.contains("--locked"), "{path}: {call}");
        }
    }
    let checks = &workflow("ci")["jobs"]["checks"];
    assert!(of_steps(checks, "run").any(|it| it == ".ci/run"));
}
