//! What a deployment of the files with given parameters would make.

use crate::Problem;
use crate::ast::{File, Module, Node, Param, Resource};
use crate::evaluate::{Bound, Result, Scope};
use crate::identity::Identity;
use crate::modules::resolve;
use crate::types::Types;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What stands in the repository, and what Azure would answer.
#[derive(Default)]
pub struct Sources {
    /// The Bicep files by path.
    pub files: BTreeMap<String, File>,
    /// All files by path, for `loadTextContent` and `loadJsonContent`.
    pub texts: BTreeMap<String, String>,
    /// The official types.
    pub types: Types,
    /// What deployed resources say of themselves, by type and path, such as
    /// `Microsoft.CognitiveServices/accounts/deployments.sku.capacity`. Without an answer it is a text
    /// in `⟨⟩`.
    pub answers: BTreeMap<String, Value>,
}

/// The result of deploying a file: its resources and those of its modules, and its own outputs.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// In the order of the files.
    pub resources: Vec<Deployed>,
    /// By name.
    pub outputs: Map<String, Value>,
}

/// A resource that is deployed.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The file that declares it.
    pub path: String,
    /// Where.
    pub line: usize,
    /// Its name in that file.
    pub symbol: String,
    /// The module, or chain of modules, that deploys it: `storage`.
    pub module: String,
    /// `Microsoft.Storage/storageAccounts`.
    pub kind: String,
    /// The API version.
    pub version: String,
    /// Its name with its parents' names.
    pub name: String,
    /// Its resource id.
    pub id: String,
    /// Its resource group; None: it lies in the subscription.
    pub group: Option<String>,
    /// For an extension: the id of the resource that it is about.
    pub scope: Option<String>,
    /// Its properties.
    pub body: Map<String, Value>,
}

/// Deploys a file to the subscription.
pub fn deploy(
    sources: &Sources,
    path: &str,
    parameters: Map<String, Value>,
) -> std::result::Result<Deployment, Problem> {
    let missing = || Problem::new(path, 0, "there is no such file");
    let file = sources.files.get(path).ok_or_else(missing)?;
    run(sources, file, None, "", parameters)
}

fn run(
    sources: &Sources,
    file: &File,
    group: Option<String>,
    module: &str,
    parameters: Map<String, Value>,
) -> Result<Deployment> {
    let scope = Scope {
        sources,
        file,
        group,
        parameters: RefCell::new(parameters),
        modules: RefCell::default(),
    };
    scope.check_parameters()?;
    let mut deployment = Deployment::default();
    for resource in &file.resources {
        deployment
            .resources
            .extend(scope.deploy_resource(resource, module)?);
    }
    for inner in &file.modules {
        if let Some(deployed) = scope.deploy_module(inner)? {
            deployment
                .resources
                .extend(deployed.resources.iter().cloned());
        }
    }
    for output in &file.outputs {
        let value = scope.value(&output.value, &Bound::new())?;
        if let Some(text) = misfit(&value, &output.kind) {
            return Err(Problem::new(&file.path, output.line, text));
        }
        deployment.outputs.insert(output.name.clone(), value);
    }
    Ok(deployment)
}

impl Scope<'_> {
    fn check_parameters(&self) -> Result<()> {
        let given = self.parameters.borrow().clone();
        let mut names = given.keys();
        if let Some(name) = names.find(|name| !self.file.params.iter().any(|it| it.name == **name))
        {
            let text = format!("there is no parameter {name}");
            return Err(Problem::new(&self.file.path, 0, text));
        }
        for param in &self.file.params {
            if let Some(value) = given.get(&param.name)
                && let Some(text) = self.objection(param, value)?
            {
                let text = format!("{}: {text}", param.name);
                return Err(Problem::new(&self.file.path, param.line, text));
            }
        }
        Ok(())
    }

    fn objection(&self, param: &Param, value: &Value) -> Result<Option<String>> {
        if let Some(text) = misfit(value, &param.kind) {
            return Ok(Some(text));
        }
        let size = match value {
            Value::String(text) => i64::try_from(text.chars().count()).ok(),
            other => other.as_i64(),
        };
        for decorator in &param.decorators {
            let Some(argument) = decorator.arguments.first() else {
                continue;
            };
            let argument = self.value(argument, &Bound::new())?;
            let bound = argument.as_i64();
            let fits = match decorator.name.as_str() {
                "minLength" | "minValue" => size >= bound,
                "maxLength" | "maxValue" => size <= bound,
                "allowed" => argument.as_array().is_some_and(|all| all.contains(value)),
                _ => true,
            };
            if !fits {
                return Ok(Some(format!(
                    "{value} is not {} {argument}",
                    decorator.name
                )));
            }
        }
        Ok(None)
    }

    fn deploy_resource(&self, resource: &Resource, module: &str) -> Result<Vec<Deployed>> {
        let rounds = match &resource.body.repeat {
            Some(repeat) => self.rounds(repeat, &Bound::new())?,
            None => vec![Bound::new()],
        };
        let mut deployed = Vec::new();
        for bound in rounds {
            // Also of what is not deployed: Azure computes ids before it looks at conditions.
            let identity = self.identity(resource, &bound)?;
            let condition = resource.body.condition.as_ref();
            let wanted = condition.map_or(Ok(true), |it| self.truth(it, &bound))?;
            if wanted && !resource.existing {
                deployed.push(self.describe(resource, identity, module, &bound)?);
            }
        }
        Ok(deployed)
    }

    fn describe(
        &self,
        resource: &Resource,
        identity: Identity,
        module: &str,
        bound: &Bound,
    ) -> Result<Deployed> {
        let mut body = Map::new();
        let mut about = None;
        for property in &resource.body.properties {
            match property.name() {
                Some("parent" | "dependsOn") => {}
                Some("scope") => about = self.referenced(&property.value, bound)?,
                Some("name") => {
                    body.insert("name".to_owned(), json!(identity.short));
                }
                Some(name) => {
                    body.insert(name.to_owned(), self.value(&property.value, bound)?);
                }
                None => {
                    let text = "a property of a resource has a plain name";
                    return Err(Problem::new(&self.file.path, property.key.line, text));
                }
            }
        }
        Ok(Deployed {
            path: self.file.path.clone(),
            line: resource.line,
            symbol: resource.name.clone(),
            module: module.to_owned(),
            kind: identity.kind.clone(),
            version: resource.version.clone(),
            id: identity.id(),
            name: identity.name,
            group: identity.group,
            scope: about.map(|identity| identity.id()),
            body,
        })
    }

    /// Deploys a module once, however often its outputs are read. None: its condition does not hold.
    pub(crate) fn deploy_module(&self, module: &Module) -> Result<Option<Rc<Deployment>>> {
        if let Some(done) = self.modules.borrow().get(&module.name) {
            return Ok(Some(done.clone()));
        }
        let bound = Bound::new();
        if let Some(condition) = &module.body.condition
            && !self.truth(condition, &bound)?
        {
            return Ok(None);
        }
        let problem = |text: String| Problem::new(&self.file.path, module.line, text);
        let path = resolve(&self.file.path, &module.path);
        let file = self.sources.files.get(&path);
        let file = file.ok_or_else(|| problem(format!("there is no file {path}")))?;
        let mut parameters = Map::new();
        if let Some(params) = module.body.property("params") {
            let Node::Object(_) = params.node else {
                return Err(problem("params is no object".to_owned()));
            };
            if let Value::Object(given) = self.value(params, &bound)? {
                parameters = given;
            }
        }
        let group = self.group_of(&module.body, &bound)?;
        let deployed = Rc::new(run(self.sources, file, group, &module.name, parameters)?);
        let mut modules = self.modules.borrow_mut();
        modules.insert(module.name.clone(), deployed.clone());
        Ok(Some(deployed))
    }
}

/// What is wrong with a value of a declared type. What is only known later passes.
fn misfit(value: &Value, kind: &str) -> Option<String> {
    let fits = match (kind, value) {
        (_, Value::String(text)) if text.contains('⟨') => true,
        ("string", Value::String(_))
        | ("bool", Value::Bool(_))
        | ("object", Value::Object(_))
        | ("array" | "string[]", Value::Array(_)) => true,
        ("int", value) => value.is_i64(),
        _ => false,
    };
    (!fits).then(|| format!("{value} is no {kind}"))
}

#[cfg(test)]
mod tests {
    use super::{Deployment, Sources, deploy};
    use crate::syntax::parse;
    use serde_json::{Map, Value, json};

    fn run(main: &str, part: &str, given: Value) -> Result<Deployment, String> {
        let mut sources = Sources::default();
        for (path, text) in [("main.bicep", main), ("part.bicep", part)] {
            let file = parse(path, text).unwrap();
            sources.files.insert(path.to_owned(), file);
        }
        sources
            .texts
            .insert("a.json".to_owned(), r#"{"b": [7]}"#.to_owned());
        let known = "T/disks.size".to_owned();
        sources.answers.insert(known, json!(4));
        let given = match given {
            Value::Object(given) => given,
            _ => Map::new(),
        };
        deploy(&sources, "main.bicep", given).map_err(|problem| problem.text)
    }

    fn output(expression: &str) -> Result<Value, String> {
        let main = format!(
            "param list string[] = ['a', 'b']\nvar object = {{ x: {{ y: 'z' }} }}\n\
             resource one 'T/disks@1' existing = {{\n  name: 'd'\n}}\n\
             resource all 'T/disks@1' = [for it in list: {{\n  name: 'd-${{it}}'\n}}]\n\
             module part 'part.bicep' = {{\n  scope: resourceGroup('rg')\n  params: {{\n    name: 'n'\n  }}\n}}\n\
             output o string = {expression}\n"
        );
        let part = "param name string\noutput told string = 'told ${name}'\n";
        let deployment = run(&main, part, Value::Null)?;
        Ok(deployment.outputs["o"].clone())
    }

    #[test]
    fn expressions_have_the_values_that_bicep_gives_them() {
        let cases = [
            ("'a${list[1]}'", "ab"),
            ("object.x.y", "z"),
            ("object['x'].y", "z"),
            ("list[0] == 'a' && !empty(list) ? 'yes' : 'no'", "yes"),
            (
                "join(map(filter(list, it => it != 'a'), it => '${it}!'), ',')",
                "b!",
            ),
            ("join([for (it, at) in list: '${at}${it}'], ',')", "0a,1b"),
            ("string(loadJsonContent('a.json').b[0] * 3)", "21"),
            ("part.outputs.told", "told n"),
            ("all[1].name", "d-b"),
            ("one.id", "/subscriptions/SUBSCRIPTION/providers/T/disks/d"),
            ("string(one.size * 2)", "8"),
            ("one.colour.hue", "⟨T/disks d.colour.hue⟩"),
        ];
        for (expression, expected) in cases {
            assert_eq!(output(expression), Ok(json!(expected)), "{expression}");
        }
    }

    #[test]
    fn expressions_without_a_value_are_found() {
        let cases = [
            ("object.w", "there is no \"w\" in this"),
            ("list[2]", "there is no 2 in this"),
            ("all.name", "one resource or a list of them"),
            ("one.size", "4 is no string"),
            ("list ? 'a' : 'b'", "is neither true nor false"),
            ("toLower(list)", "toLower does not take"),
            ("loadTextContent('b.txt')", "there is no file b.txt"),
            ("part.output.told", "a module has outputs, no output"),
        ];
        for (expression, expected) in cases {
            let problem = output(expression).unwrap_err();
            assert!(problem.contains(expected), "{expression}: {problem}");
        }
    }

    #[test]
    fn parameters_must_have_their_types_and_keep_to_their_limits() {
        let main = "@minLength(2)\nparam name string = 'ab'\n@allowed([1, 2])\nparam size int = 1\n\
            output o string = '${name}${size}'\n";
        let given = |given| run(main, "", given).map(|it| it.outputs["o"].clone());
        assert_eq!(given(json!({"size": 2})), Ok(json!("ab2")));
        let cases = [
            (json!({"name": "a"}), "name: \"a\" is not minLength 2"),
            (json!({"name": 1}), "name: 1 is no string"),
            (json!({"size": 3}), "size: 3 is not allowed [1,2]"),
            (json!({"siz": 3}), "there is no parameter siz"),
        ];
        for (parameters, expected) in cases {
            assert_eq!(given(parameters), Err(expected.to_owned()));
        }
    }

    #[test]
    fn what_has_a_condition_is_deployed_only_if_it_holds() {
        let main = "param yes bool\n\
            resource disk 'T/disks@1' = if (yes) {\n  name: 'd'\n}\n\
            module part 'part.bicep' = if (yes) {\n  scope: resourceGroup('rg')\n}\n\
            output o string = yes ? part!.outputs.p : 'none'\n";
        let part = "resource inner 'T/disks@1' = {\n  name: 'i'\n}\noutput p string = inner.name\n";
        let names = |yes| {
            let deployment = run(main, part, json!({"yes": yes})).unwrap();
            let resources = deployment.resources.into_iter();
            let names = resources.map(|it| (it.name, it.group));
            (names.collect::<Vec<_>>(), deployment.outputs["o"].clone())
        };
        let group = Some("rg".to_owned());
        let both = vec![("d".to_owned(), None), ("i".to_owned(), group)];
        assert_eq!(names(true), (both, json!("i")));
        assert_eq!(names(false), (vec![], json!("none")));
    }
}
