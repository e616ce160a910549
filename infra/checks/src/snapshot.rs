//! A dry deployment: what the templates make of one set of parameters.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The snapshot of a parameter file, as `bicep snapshot` writes it.
///
/// What Azure alone knows stays an expression, such as
/// `[reference('/subscriptions/…/storageAccounts/x', '2025-01-01').primaryEndpoints.blob]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The name of the parameter file, without its ending.
    #[serde(skip)]
    pub name: String,
    /// In the order of the templates; those of the modules are among them.
    #[serde(rename = "predictedResources")]
    pub resources: Vec<Resource>,
    /// What the compiler had to say. Nothing, where all is well.
    pub diagnostics: Vec<Value>,
    /// By name.
    pub outputs: Map<String, Value>,
}

/// A resource that is deployed.
#[derive(Clone, Debug, Deserialize)]
pub struct Resource {
    /// Its resource id, or the expression that gives it.
    pub id: String,
    /// `Microsoft.Storage/storageAccounts`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name with its parents' names, or the expression that gives it.
    pub name: String,
    /// Its properties, `properties` among them.
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

impl Snapshot {
    /// The resources of a type.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(move |it| it.kind == kind)
    }

    /// The settings of the function app.
    pub fn app_settings(&self) -> Map<String, Value> {
        let mut configs = self.of_kind("Microsoft.Web/sites/config");
        let settings = configs.find(|it| it.name.ends_with("/appsettings"));
        let settings = settings.and_then(|it| it.at("properties")?.as_object());
        settings.cloned().unwrap_or_default()
    }
}

impl Resource {
    /// The value at a path such as `properties.filter.subjectEndsWith`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.body.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// The text at a path, empty where there is none.
    pub fn text(&self, path: &str) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// For an extension (a role assignment, a diagnostic setting): the id of the resource that it is
    /// about. None: it is about a whole resource group.
    pub fn scope(&self) -> Option<&str> {
        if let Some(rest) = self.id.strip_prefix("[extensionResourceId('") {
            return rest.split('\'').next();
        }
        let (scope, _) = self.id.rsplit_once("/providers/")?;
        scope.contains("/providers/").then_some(scope)
    }

    /// The last part of its name.
    pub fn short_name(&self) -> &str {
        last(&self.name)
    }
}

/// The id of the resource that a value comes from: of `[reference('ID', …).x]`. None: it is known now.
pub fn origin(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("reference('")?;
    rest.split('\'').next()
}

/// The last part of a path, a name or an id.
pub(crate) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::{Resource, origin};
    use serde_json::{Map, json};

    fn resource(id: &str) -> Resource {
        let mut body = Map::new();
        body.insert("properties".to_owned(), json!({"filter": {"end": "x"}}));
        let (kind, name) = ("T/things".to_owned(), "a/b".to_owned());
        let id = id.to_owned();
        Resource {
            id,
            kind,
            name,
            body,
        }
    }

    #[test]
    fn an_extension_knows_what_it_is_about() {
        let group = "/subscriptions/s/resourceGroups/g";
        let account = format!("{group}/providers/T/accounts/a");
        let cases = [
            (format!("{account}/providers/T/roles/r"), Some(&account)),
            (
                format!("[extensionResourceId('{account}', 'T/roles', guid('{account}'))]"),
                Some(&account),
            ),
            (account.clone(), None),
            (format!("{group}/providers/T/roles/r"), None),
            ("[resourceId('T/roles', guid('x'))]".to_owned(), None),
        ];
        for (id, expected) in cases {
            let found = resource(&id).scope().map(str::to_owned);
            assert_eq!(found.as_ref(), expected, "{id}");
        }
    }

    #[test]
    fn values_are_found_by_their_path() {
        let resource = resource("/x");
        assert_eq!(resource.text("properties.filter.end"), "x");
        assert_eq!(resource.at("properties.none.end"), None);
        assert_eq!(resource.short_name(), "b");
    }

    #[test]
    fn what_azure_alone_knows_names_where_it_comes_from() {
        let value = "[format('{0}c', reference('/s/a', '2025-01-01').primaryEndpoints.blob)]";
        assert_eq!(origin(value), Some("/s/a"));
        assert_eq!(origin("https://example.com/"), None);
    }
}
