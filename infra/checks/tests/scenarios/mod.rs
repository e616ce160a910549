//! The ways in which the files can be deployed.

#![allow(dead_code, reason = "each test target uses a part of it")]

use serde_json::{Map, Value, json};
use softlabel_infra::consistency::{Function, read_functions};
use softlabel_infra::deployment::{Deployment, Sources, deploy};
use softlabel_infra::repository::{self, MAIN};

/// A set of parameters, and what it stands for.
pub struct Scenario {
    pub name: &'static str,
    parameters: Value,
}

/// The repository's files.
pub fn sources() -> Sources {
    let (sources, problems) = repository::read().unwrap();
    assert_eq!(problems, []);
    sources
}

/// The repository's functions.
pub fn functions(sources: &Sources) -> Vec<Function> {
    read_functions(&sources.texts).unwrap()
}

/// Everything new, keyless: what `azd up` does.
pub fn everything_new() -> Scenario {
    Scenario {
        name: "everything new",
        parameters: json!({}),
    }
}

/// The data account, its topic and the model in other resource groups, and a base path.
pub fn everything_existing() -> Scenario {
    Scenario {
        name: "everything existing",
        parameters: json!({
            "dataAccountName": "stdatasets",
            "dataResourceGroupName": "rg-datasets",
            "dataContainerName": "sft-data",
            "dataBasePath": "/experiments//test/v4/",
            "dataSystemTopicName": "evgt-datasets",
            "openAiAccountName": "oai-shared",
            "openAiResourceGroupName": "rg-models",
            "modelDeploymentName": "labels",
        }),
    }
}

/// A key in a vault, an uploader, alerts by e-mail.
pub fn with_a_vault() -> Scenario {
    Scenario {
        name: "with a vault",
        parameters: json!({
            "useKeyVault": true,
            "openAiKey": "THE-KEY",
            "alertEmail": "operators@example.com",
            "uploaderPrincipalId": "UPLOADER",
            "modelDeploymentName": "labels",
            "requestsPerThousandTokens": 3,
            "resourceGroupName": "rg-labels",
        }),
    }
}

/// A new deployment in an existing account, a new container in an existing one.
pub fn new_in_existing() -> Scenario {
    Scenario {
        name: "new parts of existing accounts",
        parameters: json!({
            "dataAccountName": "stdatasets",
            "newDataContainer": true,
            "openAiAccountName": "oai-shared",
            "newModelDeployment": true,
            "modelName": "gpt-4o",
            "modelVersion": "2024-11-20",
        }),
    }
}

/// All of them.
pub fn all() -> [Scenario; 4] {
    [
        everything_new(),
        everything_existing(),
        with_a_vault(),
        new_in_existing(),
    ]
}

impl Scenario {
    /// With another value for a parameter.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.parameters[name] = value;
        self
    }

    /// What it deploys.
    pub fn deploy(&self, sources: &Sources) -> Deployment {
        let mut parameters = Map::new();
        parameters.insert("environmentName".to_owned(), json!("prod"));
        parameters.insert("location".to_owned(), json!("swedencentral"));
        parameters.extend(self.parameters.as_object().unwrap().clone());
        let deployed = deploy(sources, MAIN, parameters);
        deployed.unwrap_or_else(|problem| panic!("{}: {problem}", self.name))
    }
}
