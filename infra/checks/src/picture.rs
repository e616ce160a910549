//! Draws a deployment as a Mermaid diagram: what is deployed, who may do what to what, where events go,
//! what uses what.

use crate::consistency::ROLES;
use crate::snapshot::{Resource, Snapshot, last, origin};
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

/// Drawn as one node, however many there are.
const ALIKE: &str = "Microsoft.Insights/scheduledQueryRules";

/// Draws it. `token` is the part of names that differs from one environment to the next.
pub fn draw(snapshot: &Snapshot, token: &str) -> String {
    let picture = Picture { snapshot, token };
    let mut text = String::from("flowchart LR\n");
    for (node, (whole, parts)) in picture.nodes() {
        if parts.is_empty() {
            let _ = writeln!(text, "  {node}[\"{}\"]", label(&whole));
            continue;
        }
        let _ = writeln!(text, "  subgraph {node}[\"{}\"]", label(&whole));
        for (part, resources) in parts {
            let _ = writeln!(text, "    {part}[\"{}\"]", label(&resources));
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

fn label(resources: &[&Resource]) -> String {
    let kind = resources.first().map_or("", |it| last(&it.kind));
    let names = resources.iter().map(|it| it.short_name());
    let names: Vec<&str> = names.collect();
    format!("{kind}<br/><i>{}</i>", names.join("<br/>"))
}

struct Picture<'a> {
    snapshot: &'a Snapshot,
    token: &'a str,
}

/// What is drawn as one, and its parts, those of one type as one.
type Nodes<'a> = BTreeMap<String, (Vec<&'a Resource>, BTreeMap<String, Vec<&'a Resource>>)>;

type Edges = BTreeMap<(String, &'static str, String), Vec<String>>;

impl<'a> Picture<'a> {
    fn drawn(&self) -> impl Iterator<Item = &'a Resource> {
        let resources = self.snapshot.resources.iter();
        resources.filter(|it| !LEFT_OUT.contains(&it.kind.as_str()))
    }

    fn nodes(&self) -> Nodes<'a> {
        let mut nodes = Nodes::new();
        for resource in self.drawn() {
            let whole = owner(&resource.id);
            let (resources, parts) = nodes.entry(self.node(whole)).or_default();
            if whole == resource.id {
                resources.push(resource);
            } else {
                let part = parts.entry(self.node(&resource.id)).or_default();
                part.push(resource);
            }
        }
        nodes
    }

    /// The name of the node that a resource is drawn as: of its owner, and its type where it is a part.
    fn node(&self, id: &str) -> String {
        if id.contains(ALIKE) {
            return last(ALIKE).to_owned();
        }
        let name = last(owner(id)).replace(self.token, "");
        let name = name.replace(|it: char| !it.is_alphanumeric(), "_");
        let name = name.trim_matches('_');
        let part = id.strip_prefix(owner(id)).unwrap_or_default();
        match part.rsplit('/').nth(1) {
            Some(kind) => format!("{name}_{kind}"),
            None => name.to_owned(),
        }
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        let mut edge = |from: &str, arrow, to: &str, label: &str| {
            let key = (self.node(from), arrow, self.node(to));
            let labels: &mut Vec<String> = edges.entry(key).or_default();
            if !label.is_empty() && !labels.iter().any(|it| it == label) {
                labels.push(label.to_owned());
            }
        };
        let kind = "Microsoft.Authorization/roleAssignments";
        for assignment in self.snapshot.of_kind(kind) {
            let id = last(assignment.text("properties.roleDefinitionId"));
            let role = ROLES.iter().find(|role| role.id == id);
            let limit = match assignment.text("properties.condition") {
                "" => "",
                _ => ", writing only to LABELED_*",
            };
            let label = format!("{}{limit}", role.map_or(id, |role| role.name));
            let who = origin(assignment.text("properties.principalId"));
            if let (Some(who), Some(scope)) = (who, assignment.scope()) {
                edge(who, "-->", scope, &label);
            }
        }
        let kind = "Microsoft.EventGrid/systemTopics/eventSubscriptions";
        for subscription in self.snapshot.of_kind(kind) {
            let queue = subscription
                .text("properties.deliveryWithResourceIdentity.destination.properties.queueName");
            let queue = self.drawn().find(|it| it.short_name() == queue);
            if let Some(queue) = queue {
                let topic = owner(&subscription.id);
                edge(topic, "==>", &queue.id, "BlobCreated of bucket files");
            }
        }
        for setting in self
            .snapshot
            .of_kind("Microsoft.Insights/diagnosticSettings")
        {
            // Of a service of an account: the account's.
            if let Some(about) = setting.scope() {
                let to = setting.text("properties.workspaceId");
                edge(owner(about), "-.->", to, "logs");
            }
        }
        for resource in self.drawn() {
            for other in self.drawn() {
                if resource.id != other.id && mentions(resource, other) {
                    edge(&resource.id, "-.->", &other.id, "");
                }
            }
        }
        edges
    }
}

/// The id of the resource that is no part of another: up to the name after the type.
fn owner(id: &str) -> &str {
    let start = id
        .find("/providers/")
        .map_or(0, |at| at + "/providers/".len());
    let rest = id.get(start..).unwrap_or_default();
    let end = rest
        .match_indices('/')
        .nth(2)
        .map_or(rest.len(), |(at, _)| at);
    id.get(..start + end).unwrap_or(id)
}

/// Whether a property, or the key of one, is the other's id.
fn mentions(resource: &Resource, other: &Resource) -> bool {
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
