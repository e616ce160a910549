//! Modules: the file is there, gets every parameter that it needs and none that it does not have, and
//! has the outputs that are read. It looks at modules whether parameters would deploy them or not.

use crate::Problem;
use crate::ast::{Body, Expr, File, Module, Node};
use std::collections::BTreeMap;

/// The path of a module's file, from the file that names it.
pub(crate) fn resolve(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Looks at the modules that `file` uses; `files` has all of them by path.
pub fn check(file: &File, files: &BTreeMap<String, File>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |line, text| problems.push(Problem::new(&file.path, line, text));
    for module in &file.modules {
        let Some(used) = files.get(&resolve(&file.path, &module.path)) else {
            report(module.line, format!("there is no file {}", module.path));
            continue;
        };
        let given = given(module);
        for (name, line) in &given {
            if !used.params.iter().any(|param| param.name == *name) {
                report(*line, format!("{} has no parameter {name}", module.path));
            }
        }
        for param in &used.params {
            let is_given = given.iter().any(|(name, _)| *name == param.name);
            if param.default.is_none() && !is_given {
                let text = format!("{} needs the parameter {}", module.path, param.name);
                report(module.line, text);
            }
        }
        let elsewhere = file.target_scope != used.target_scope;
        if elsewhere && module.body.property("scope").is_none() {
            let text = format!("{} needs a scope", module.path);
            report(module.line, text);
        }
        for (output, line) in outputs_read(file, &module.name) {
            if !used.outputs.iter().any(|it| it.name == output) {
                report(line, format!("{} has no output {output}", module.path));
            }
        }
    }
    problems
}

fn given(module: &Module) -> Vec<(&str, usize)> {
    match module.body.property("params").map(|expr| &expr.node) {
        Some(Node::Object(properties)) => properties
            .iter()
            .filter_map(|property| Some((property.name()?, property.key.line)))
            .collect(),
        _ => Vec::new(),
    }
}

/// Every `MODULE.outputs.NAME` of a file.
fn outputs_read<'a>(file: &'a File, module: &str) -> Vec<(&'a str, usize)> {
    let bodies = file.resources.iter().map(|it| &it.body);
    let bodies = bodies.chain(file.modules.iter().map(|it| &it.body));
    let inside = bodies.flat_map(expressions);
    let vars = file.vars.iter().map(|it| &it.value);
    let outputs = file.outputs.iter().map(|it| &it.value);
    let mut todo: Vec<&Expr> = inside.chain(vars).chain(outputs).collect();
    let mut read = Vec::new();
    while let Some(expr) = todo.pop() {
        todo.extend(expr.children());
        let Node::Member(of, output) = &expr.node else {
            continue;
        };
        let Node::Member(of, outputs) = &of.node else {
            continue;
        };
        if outputs == "outputs" && matches!(&of.node, Node::Name(name) if name == module) {
            read.push((output.as_str(), expr.line));
        }
    }
    read.sort_unstable_by_key(|(_, line)| *line);
    read
}

fn expressions(body: &Body) -> Vec<&Expr> {
    let list = body.repeat.iter().map(|repeat| &*repeat.list);
    let condition = body.condition.iter();
    let values = body.properties.iter().map(|property| &property.value);
    list.chain(condition).chain(values).collect()
}

#[cfg(test)]
mod tests {
    use super::{check, resolve};
    use crate::syntax::parse;
    use std::collections::BTreeMap;

    const PART: &str = "param name string\nparam size int = 1\n\
        output id string = '${name}${size}'\n";

    fn problems(main: &str) -> Vec<String> {
        let main = parse("infra/main.bicep", main).unwrap();
        let part = parse("infra/app/part.bicep", PART).unwrap();
        let files = BTreeMap::from([(part.path.clone(), part)]);
        let found = check(&main, &files);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_module_that_is_used_rightly_passes() {
        let main = "module part 'app/part.bicep' = {\n  params: {\n    name: 'x'\n  }\n}\n\
            output id string = part.outputs.id\n";
        assert_eq!(problems(main), [] as [&str; 0]);
    }

    #[test]
    fn wrong_paths_parameters_and_outputs_are_found() {
        let main = "module part 'app/part.bicep' = {\n  params: {\n    nam: 'x'\n  }\n}\n\
            module other 'app/other.bicep' = {}\noutput id string = part.outputs.ip\n";
        assert_eq!(
            problems(main),
            [
                "infra/main.bicep:3: app/part.bicep has no parameter nam",
                "infra/main.bicep:1: app/part.bicep needs the parameter name",
                "infra/main.bicep:7: app/part.bicep has no output ip",
                "infra/main.bicep:6: there is no file app/other.bicep",
            ]
        );
    }

    #[test]
    fn from_a_subscription_a_module_needs_a_scope() {
        let main = "targetScope = 'subscription'\n\
            module part 'app/part.bicep' = if (false) {\n  params: { name: 'x' }\n}\n";
        assert_eq!(
            problems(main),
            ["infra/main.bicep:2: app/part.bicep needs a scope"]
        );
    }

    #[test]
    fn paths_are_relative_to_the_file_that_names_them() {
        assert_eq!(
            resolve("infra/main.bicep", "app/a.bicep"),
            "infra/app/a.bicep"
        );
        assert_eq!(resolve("infra/app/a.bicep", "../x.json"), "infra/x.json");
        assert_eq!(resolve("infra/main.bicep", "../host.json"), "host.json");
    }
}
