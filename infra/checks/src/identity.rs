//! What resources are called, and what they answer.

use crate::Problem;
use crate::ast::{Body, Expr, Node, Resource};
use crate::builtin::text;
use crate::evaluate::{Bound, Result, Scope};
use serde_json::{Value, json};

/// What a resource is called.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) kind: String,
    /// As it stands in the file, without the parents' names.
    pub(crate) short: String,
    /// With the parents' names: `account/default/queue`.
    pub(crate) name: String,
    pub(crate) group: Option<String>,
}

impl Identity {
    /// `/subscriptions/…/providers/Microsoft.Storage/storageAccounts/ACCOUNT/queueServices/default`.
    pub(crate) fn id(&self) -> String {
        let group = self.group.as_ref();
        let group = group.map_or(String::new(), |group| format!("/resourceGroups/{group}"));
        let mut kinds = self.kind.split('/');
        let mut id = format!("/subscriptions/SUBSCRIPTION{group}/providers");
        id.extend(kinds.next().map(|provider| format!("/{provider}")));
        id.extend(
            kinds
                .zip(self.name.split('/'))
                .map(|(kind, name)| format!("/{kind}/{name}")),
        );
        id
    }
}

impl Scope<'_> {
    /// The resource that an expression names, if it does.
    pub(crate) fn referenced(&self, expr: &Expr, bound: &Bound) -> Result<Option<Identity>> {
        let (name, at) = match &expr.node {
            Node::Name(name) => (name, None),
            Node::Index(of, at) => match &of.node {
                Node::Name(name) => (name, Some(at)),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(resource) = self.file.resources.iter().find(|it| it.name == *name) else {
            return Ok(None);
        };
        let bound = match (&resource.body.repeat, at) {
            (Some(repeat), Some(at)) => {
                let at = self.value(at, bound)?.as_u64().unwrap_or(u64::MAX);
                let mut rounds = self.rounds(repeat, &Bound::new())?;
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                if at >= rounds.len() {
                    return Err(self.problem(expr, format!("{name} has no element {at}")));
                }
                rounds.swap_remove(at)
            }
            (None, None) => Bound::new(),
            _ => {
                let text = format!("{name} is one resource or a list of them: not as used here");
                return Err(self.problem(expr, text));
            }
        };
        self.identity(resource, &bound).map(Some)
    }

    pub(crate) fn identity(&self, resource: &Resource, bound: &Bound) -> Result<Identity> {
        let problem = |text: String| Problem::new(&self.file.path, resource.line, text);
        let Some(name) = resource.body.property("name") else {
            return Err(problem(format!("{} has no name", resource.name)));
        };
        let short = text(&self.value(name, bound)?);
        let mut group = self.group_of(&resource.body, bound)?;
        let mut full = short.clone();
        if let Some(parent) = resource.body.property("parent") {
            let Some(parent) = self.referenced(parent, bound)? else {
                return Err(problem(format!(
                    "the parent of {} is no resource",
                    resource.name
                )));
            };
            let below = resource.kind.strip_prefix(&parent.kind);
            if !below.is_some_and(|rest| rest.starts_with('/') && rest.matches('/').count() == 1) {
                let (kind, parent) = (&resource.kind, &parent.kind);
                return Err(problem(format!("{kind} is no child of {parent}")));
            }
            full = format!("{}/{short}", parent.name);
            group = parent.group;
        }
        let (names, kinds) = (
            full.matches('/').count() + 1,
            resource.kind.matches('/').count(),
        );
        if names != kinds {
            let text = format!("{} has {kinds} names, {full} is {names}", resource.kind);
            return Err(problem(text));
        }
        Ok(Identity {
            kind: resource.kind.clone(),
            short,
            name: full,
            group,
        })
    }

    /// The resource group that a body names as its scope, or that of the file.
    pub(crate) fn group_of(&self, body: &Body, bound: &Bound) -> Result<Option<String>> {
        let Some(scope) = body.property("scope") else {
            return Ok(self.group.clone());
        };
        if let Some(resource) = self.referenced(scope, bound)? {
            let is_group = resource.kind == "Microsoft.Resources/resourceGroups";
            return Ok(if is_group {
                Some(resource.name)
            } else {
                resource.group
            });
        }
        match &scope.node {
            Node::Call(name, arguments) if name == "resourceGroup" => match arguments.as_slice() {
                [group] => Ok(Some(text(&self.value(group, bound)?))),
                _ => Ok(self.group.clone()),
            },
            _ => Err(self.problem(scope, "this is no scope that these checks know")),
        }
    }

    /// What a resource says of itself: its names at once, everything else when it is deployed.
    pub(crate) fn answer(
        &self,
        expr: &Expr,
        identity: &Identity,
        path: &[String],
    ) -> Result<Value> {
        match path {
            [one] if one == "id" => return Ok(json!(identity.id())),
            [one] if one == "name" => return Ok(json!(identity.short)),
            [one] if one == "type" => return Ok(json!(identity.kind)),
            _ => {}
        }
        let Identity { kind, name, .. } = identity;
        if !self.sources.types.answers(kind, path) {
            let text = format!("{kind} has no {}", path.join("."));
            return Err(self.problem(expr, text));
        }
        let path = path.join(".");
        match self.sources.answers.get(&format!("{kind}.{path}")) {
            Some(answer) => Ok(answer.clone()),
            None => Ok(json!(format!("⟨{kind} {name}.{path}⟩"))),
        }
    }
}
