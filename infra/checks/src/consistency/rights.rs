//! Rights: everything that the app and Event Grid touch is granted, and nothing else is.
//!
//! What the app touches is read from its settings and its functions: the settings name the resources
//! that it talks to.

use super::{Function, ROLES, Role, allows};
use crate::snapshot::{Resource, Snapshot, last, origin};
use serde_json::Value;

const ASSIGNMENT: &str = "Microsoft.Authorization/roleAssignments";
const BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";

/// An identity must be able to do something to a resource. Both are resource ids.
struct Need {
    who: String,
    power: &'static str,
    what: String,
}

struct Grant<'a> {
    who: &'a str,
    role: &'static Role,
    scope: &'a str,
    condition: Option<&'a str>,
}

impl Grant<'_> {
    fn covers(&self, need: &Need) -> bool {
        let reaches = need.what.strip_prefix(self.scope);
        self.who == need.who
            && self.role.powers.contains(&need.power)
            && reaches.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Compares them.
pub fn check(functions: &[Function], snapshot: &Snapshot) -> Vec<String> {
    let mut problems = Vec::new();
    let mut grants = Vec::new();
    for assignment in snapshot.of_kind(ASSIGNMENT) {
        match grant(assignment) {
            Ok(grant) => grants.extend(grant),
            Err(problem) => problems.push(format!("{}: {problem}", assignment.id)),
        }
    }
    let touched = Touched::read(snapshot);
    let mut needs = touched.by_the_app(functions);
    needs.extend(by_event_grid(snapshot));
    for need in &needs {
        if !grants.iter().any(|grant| grant.covers(need)) {
            problems.push(format!(
                "{} may not {}: {}",
                need.who, need.power, need.what
            ));
        }
    }
    for grant in &grants {
        let (who, role, scope) = (grant.who, grant.role.name, grant.scope);
        if !needs.iter().any(|need| grant.covers(need)) {
            problems.push(format!("{who} does not need {role} on {scope}"));
        }
        if touched.data_container().starts_with(scope) && grant.role.powers.contains(&"write blobs")
        {
            problems.extend(danger_for_raw(grant, &touched.base_path()));
        }
    }
    problems
}

/// None: it is for people, who are no part of this.
fn grant(assignment: &Resource) -> Result<Option<Grant<'_>>, String> {
    let scope = assignment.scope().ok_or("it is not about one resource")?;
    let id = last(assignment.text("properties.roleDefinitionId"));
    let role = ROLES.iter().find(|role| role.id == id);
    let role = role.ok_or_else(|| format!("no role is known by the id {id}"))?;
    let condition = Some(assignment.text("properties.condition")).filter(|it| !it.is_empty());
    if condition.is_some() && assignment.text("properties.conditionVersion") != "2.0" {
        return Err("a condition has the version 2.0".to_owned());
    }
    let principal = assignment.text("properties.principalId");
    let Some(who) = origin(principal) else {
        return Ok(None);
    };
    // So that a second deployment finds it again, and a new identity gets one of its own.
    let principal = principal.trim_start_matches('[').trim_end_matches(']');
    if assignment.name != format!("[guid('{scope}', {principal}, '{id}')]") {
        return Err("its name is no guid of scope, principal and role".to_owned());
    }
    Ok(Some(Grant {
        who,
        role,
        scope,
        condition,
    }))
}

/// What could be done to RAW, or not be done to LABELED, with this.
fn danger_for_raw(grant: &Grant<'_>, base: &str) -> Option<String> {
    let who = grant.who;
    let Some(condition) = grant.condition else {
        return Some(format!("{who} may write RAW"));
    };
    let raw = format!("{base}d/train/short.json");
    let labeled = format!("{base}LABELED_d/train/short.jsonl");
    let others = [
        raw.clone(),
        format!("{base}d/LABELED_x/short.json"),
        format!("other/{labeled}"),
        format!("{base}labeled_d/train/short.jsonl"),
    ];
    for action in ["write", "add/action", "delete", "move/action"] {
        let action = format!("{BLOBS}/{action}");
        if allows(condition, &action, &labeled) != Some(true) {
            return Some(format!("{who} may not {action} {labeled}"));
        }
        for other in &others {
            if allows(condition, &action, other) != Some(false) {
                return Some(format!("{who} may {action} {other}"));
            }
        }
    }
    let read = allows(condition, &format!("{BLOBS}/read"), &raw);
    (read != Some(true)).then(|| format!("{who} may not read {raw}"))
}

/// The resources that the app's settings name; accounts by their ids.
struct Touched {
    app: String,
    own_account: String,
    work_container: String,
    data_account: String,
    data: String,
    insights: String,
    /// The model's account, or the secret with its key.
    model: (&'static str, String),
}

impl Touched {
    fn read(snapshot: &Snapshot) -> Self {
        let settings = snapshot.app_settings();
        let setting = |name: &str| {
            settings
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let resource = |name: &str| origin(setting(name)).unwrap_or_default().to_owned();
        let model = match setting("SOFTLABEL_AUTH") {
            "entra" => ("call the model", resource("AZURE_OPENAI_ENDPOINT")),
            _ => {
                let vault = resource("SOFTLABEL_KEYVAULT_URL");
                let secret = setting("SOFTLABEL_KEYVAULT_SECRET");
                ("read secrets", format!("{vault}/secrets/{secret}"))
            }
        };
        Self {
            app: resource("AZURE_CLIENT_ID"),
            own_account: resource("AzureWebJobsStorage__blobServiceUri"),
            work_container: setting("SOFTLABEL_WORK_CONTAINER").to_owned(),
            data_account: resource("SoftlabelData__blobServiceUri"),
            data: setting("SOFTLABEL_DATA").to_owned(),
            insights: resource("APPLICATIONINSIGHTS_CONNECTION_STRING"),
            model,
        }
    }

    fn data_container(&self) -> String {
        let container = self.data.split('/').next().unwrap_or_default();
        container_of(&self.data_account, container)
    }

    /// The folder in the container under which the datasets lie, empty or ending in a slash.
    fn base_path(&self) -> String {
        let base = self.data.split_once('/');
        base.map_or(String::new(), |(_, base)| format!("{base}/"))
    }

    fn by_the_app(&self, functions: &[Function]) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut need = |power, what: String| {
            let who = self.app.clone();
            needs.push(Need { who, power, what });
        };
        // The host's leases and keys, poison queues that are missing, and its diagnostic events.
        for power in [
            "make containers",
            "write blobs",
            "make queues",
            "write tables",
        ] {
            need(power, self.own_account.clone());
        }
        let own = |queue: &str| queue_of(&self.own_account, queue);
        for function in functions {
            if let Some(queue) = function.trigger_queue() {
                need("process messages", own(queue));
                need("send messages", own(&format!("{queue}-poison")));
            }
            for queue in function.output_queues() {
                need("send messages", own(queue));
            }
            if function.bindings.iter().any(|it| it.kind == "blobTrigger") {
                let parked = queue_of(&self.data_account, "webjobs-blobtrigger-poison");
                need("send messages", parked);
            }
        }
        for power in ["read blobs", "write blobs", "delete blobs"] {
            need(power, container_of(&self.own_account, &self.work_container));
        }
        need("read blobs", self.data_container());
        need("write blobs", self.data_container());
        need("send telemetry", self.insights.clone());
        need(self.model.0, self.model.1.clone());
        needs
    }
}

fn by_event_grid(snapshot: &Snapshot) -> Vec<Need> {
    let subscriptions = snapshot.of_kind("Microsoft.EventGrid/systemTopics/eventSubscriptions");
    let needs = subscriptions.flat_map(|subscription| {
        let (topic, _) = subscription
            .id
            .rsplit_once("/eventSubscriptions/")
            .unwrap_or_default();
        let target = |path: &str, name: &str| {
            subscription.text(&format!("properties.{path}.properties.{name}"))
        };
        let (queue, letters) = (
            "deliveryWithResourceIdentity.destination",
            "deadLetterWithResourceIdentity.deadLetterDestination",
        );
        [
            Need {
                who: topic.to_owned(),
                power: "send messages",
                what: queue_of(target(queue, "resourceId"), target(queue, "queueName")),
            },
            Need {
                who: topic.to_owned(),
                power: "write blobs",
                what: container_of(
                    target(letters, "resourceId"),
                    target(letters, "blobContainerName"),
                ),
            },
        ]
    });
    needs.collect()
}

fn queue_of(account: &str, queue: &str) -> String {
    format!("{account}/queueServices/default/queues/{queue}")
}

fn container_of(account: &str, container: &str) -> String {
    format!("{account}/blobServices/default/containers/{container}")
}
