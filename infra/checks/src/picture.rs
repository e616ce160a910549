//! Draws a deployment as a Mermaid diagram: what is deployed by module, who may do what to what, where
//! events go, what uses what.

use crate::consistency::{ROLES, at, of_kind, origin};
use crate::deployment::{Deployed, Deployment};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is about another resource, or too small to be drawn.
const LEFT_OUT: &[&str] = &[
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Insights/diagnosticSettings",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions",
    "Microsoft.OperationalInsights/queryPacks/queries",
    "Microsoft.Resources/resourceGroups",
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Storage/storageAccounts/managementPolicies",
    "Microsoft.Storage/storageAccounts/queueServices",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies",
    "Microsoft.Web/sites/config",
];

/// Draws it. `token` is the part of names that differs from one environment to the next.
pub fn draw(deployment: &Deployment, token: &str) -> String {
    let picture = Picture { deployment };
    let mut text = String::from("flowchart LR\n");
    let mut modules: Vec<&str> = Vec::new();
    for resource in picture.drawn() {
        if !modules.contains(&resource.module.as_str()) {
            modules.push(&resource.module);
        }
    }
    for module in modules {
        let _ = writeln!(text, "  subgraph {module}");
        for (node, resources) in picture.nodes(module) {
            let names: Vec<&str> = resources.iter().map(|it| short(&it.name)).collect();
            let kind = short(&resources[0].kind);
            let names = names.join("<br/>");
            let _ = writeln!(text, "    {node}[\"{kind}<br/><i>{names}</i>\"]");
        }
        text.push_str("  end\n");
    }
    for ((from, arrow, to), labels) in picture.edges() {
        let _ = match labels.join("<br/>") {
            label if label.is_empty() => writeln!(text, "  {from} {arrow} {to}"),
            label => writeln!(text, "  {from} {arrow}|\"{label}\"| {to}"),
        };
    }
    text.replace(token, "…")
}

struct Picture<'a> {
    deployment: &'a Deployment,
}

type Edges = BTreeMap<(String, &'static str, String), Vec<String>>;

impl<'a> Picture<'a> {
    fn drawn(&self) -> impl Iterator<Item = &'a Deployed> {
        let resources = self.deployment.resources.iter();
        resources.filter(|it| !LEFT_OUT.contains(&it.kind.as_str()))
    }

    /// What one loop deploys is one node.
    fn nodes(&self, module: &str) -> BTreeMap<String, Vec<&'a Deployed>> {
        let mut nodes: BTreeMap<String, Vec<&Deployed>> = BTreeMap::new();
        for resource in self.drawn().filter(|it| it.module == module) {
            nodes.entry(node(resource)).or_default().push(resource);
        }
        nodes
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        let mut edge = |from: &Deployed, arrow, to: &Deployed, label: &str| {
            let labels: &mut Vec<String> = edges.entry((node(from), arrow, node(to))).or_default();
            if !label.is_empty() && !labels.iter().any(|it| it == label) {
                labels.push(label.to_owned());
            }
        };
        for assignment in of_kind(self.deployment, "Microsoft.Authorization/roleAssignments") {
            let text = |path| {
                at(&assignment.body, path)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let id = short(text("properties.roleDefinitionId"));
            let role = ROLES.iter().find(|role| role.id == id);
            let limit = match text("properties.condition") {
                "" => "",
                _ => ", writing to LABELED_* alone",
            };
            let label = format!("{}{limit}", role.map_or(id, |role| role.name));
            let who = origin(text("properties.principalId")).and_then(|it| self.of_origin(it));
            let scope = assignment.scope.as_deref().and_then(|id| self.of_id(id));
            if let (Some(who), Some(scope)) = (who, scope) {
                edge(who, "-->", scope, &label);
            }
        }
        let subscriptions = "Microsoft.EventGrid/systemTopics/eventSubscriptions";
        for subscription in of_kind(self.deployment, subscriptions) {
            let topic = self
                .drawn()
                .find(|it| subscription.id.starts_with(&format!("{}/", it.id)));
            let path = "properties.deliveryWithResourceIdentity.destination.properties.queueName";
            let queue = at(&subscription.body, path)
                .and_then(Value::as_str)
                .unwrap_or_default();
            let queue = self
                .drawn()
                .find(|it| it.name.ends_with(&format!("/{queue}")));
            if let (Some(topic), Some(queue)) = (topic, queue) {
                edge(topic, "==>", queue, "BlobCreated of bucket files");
            }
        }
        for setting in of_kind(self.deployment, "Microsoft.Insights/diagnosticSettings") {
            // Of a service of an account: the account's.
            let about = setting.scope.as_deref().unwrap_or_default();
            let about = self.drawn().find(|it| about.starts_with(&it.id));
            let to = at(&setting.body, "properties.workspaceId").and_then(Value::as_str);
            let to = to.and_then(|id| self.of_id(id));
            if let (Some(about), Some(to)) = (about, to) {
                edge(about, "-.->", to, "logs");
            }
        }
        for resource in self.drawn() {
            for other in self.drawn() {
                if resource.id != other.id && mentions(resource, other) {
                    edge(resource, "-.->", other, "");
                }
            }
        }
        edges
    }

    fn of_id(&self, id: &str) -> Option<&'a Deployed> {
        self.drawn().find(|it| it.id == id)
    }

    fn of_origin(&self, origin: &str) -> Option<&'a Deployed> {
        self.drawn()
            .find(|it| format!("{} {}", it.kind, it.name) == origin)
    }
}

/// Whether a property, or the key of one, is the other's id.
fn mentions(resource: &Deployed, other: &Deployed) -> bool {
    fn inside(value: &Value, id: &str) -> bool {
        match value {
            Value::String(text) => text == id,
            Value::Array(list) => list.iter().any(|it| inside(it, id)),
            Value::Object(object) => object.iter().any(|(key, it)| key == id || inside(it, id)),
            _ => false,
        }
    }
    resource.body.values().any(|value| inside(value, &other.id))
}

fn node(resource: &Deployed) -> String {
    format!("{}_{}", resource.module, resource.symbol)
}

fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
