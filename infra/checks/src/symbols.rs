//! Names: what is used must be declared once, what is declared must be used, and functions must be
//! known. It looks at every branch, whatever parameters would choose.

use crate::Problem;
use crate::ast::{Body, Expr, File, Node};
use crate::builtin::objection;
use std::collections::{BTreeMap, BTreeSet};

const DECORATORS: &[&str] = &[
    "allowed",
    "description",
    "maxLength",
    "maxValue",
    "minLength",
    "minValue",
    "secure",
];

/// Looks at the names of a file.
pub fn check(file: &File) -> Vec<Problem> {
    let mut names = Names {
        file,
        declared: BTreeMap::new(),
        used: BTreeSet::new(),
        problems: Vec::new(),
    };
    names.declare_all();
    names.look_at_all();
    names.report_unused();
    names.problems
}

const TYPES: &[&str] = &["array", "bool", "int", "object", "string", "string[]"];

struct Names<'a> {
    file: &'a File,
    declared: BTreeMap<&'a str, usize>,
    used: BTreeSet<&'a str>,
    problems: Vec<Problem>,
}

impl<'a> Names<'a> {
    fn report(&mut self, line: usize, text: String) {
        self.problems
            .push(Problem::new(&self.file.path, line, text));
    }

    fn declare_all(&mut self) {
        let file = self.file;
        let params = file.params.iter().map(|it| (it.name.as_str(), it.line));
        let vars = file.vars.iter().map(|it| (it.name.as_str(), it.line));
        let resources = file.resources.iter().map(|it| (it.name.as_str(), it.line));
        let modules = file.modules.iter().map(|it| (it.name.as_str(), it.line));
        for (name, line) in params.chain(vars).chain(resources).chain(modules) {
            if self.declared.insert(name, line).is_some() {
                self.report(line, format!("{name} is declared twice"));
            }
        }
    }

    fn look_at_all(&mut self) {
        let file = self.file;
        for param in &file.params {
            let names = param.decorators.iter().map(|it| it.name.as_str());
            for name in names.filter(|name| !DECORATORS.contains(name)) {
                self.report(
                    param.line,
                    format!("these checks do not know the decorator {name}"),
                );
            }
            let defaults = param.default.iter();
            let arguments = param.decorators.iter().flat_map(|it| &it.arguments);
            defaults
                .chain(arguments)
                .for_each(|expr| self.look_at(expr, &[]));
        }
        let params = file.params.iter().map(|it| (&it.kind, it.line));
        let outputs = file.outputs.iter().map(|it| (&it.kind, it.line));
        for (kind, line) in params.chain(outputs) {
            if !TYPES.contains(&kind.as_str()) {
                self.report(line, format!("these checks do not know the type {kind}"));
            }
        }
        for var in &file.vars {
            self.look_at(&var.value, &[]);
        }
        for output in &file.outputs {
            self.look_at(&output.value, &[]);
        }
        for resource in &file.resources {
            self.look_at_body(&resource.body);
        }
        for module in &file.modules {
            self.look_at_body(&module.body);
        }
    }

    fn look_at_body(&mut self, body: &'a Body) {
        let mut bound = Vec::new();
        if let Some(repeat) = &body.repeat {
            self.look_at(&repeat.list, &[]);
            bound.extend(repeat.names.iter().map(String::as_str));
        }
        if let Some(condition) = &body.condition {
            self.look_at(condition, &bound);
        }
        for property in &body.properties {
            self.look_at(&property.key, &bound);
            self.look_at(&property.value, &bound);
        }
    }

    /// `bound` are the names that loops and lambdas around the expression bind.
    fn look_at(&mut self, expr: &'a Expr, bound: &[&'a str]) {
        let mut inside = bound.to_vec();
        match &expr.node {
            Node::Name(name) if bound.contains(&name.as_str()) => {}
            Node::Name(name) => {
                self.used.insert(name);
                if !self.declared.contains_key(name.as_str()) {
                    self.report(expr.line, format!("{name} is not declared"));
                }
            }
            Node::Call(name, arguments) => {
                if let Some(text) = objection(name, arguments.len()) {
                    self.report(expr.line, text);
                }
            }
            Node::For(repeat, body) => {
                self.look_at(&repeat.list, bound);
                inside.extend(repeat.names.iter().map(String::as_str));
                self.look_at(body, &inside);
                return;
            }
            Node::Lambda(name, _) => inside.push(name),
            _ => {}
        }
        for child in expr.children() {
            self.look_at(child, &inside);
        }
    }

    fn report_unused(&mut self) {
        let file = self.file;
        let params = file.params.iter().map(|it| (&it.name, it.line));
        let vars = file.vars.iter().map(|it| (&it.name, it.line));
        let existing = file.resources.iter().filter(|it| it.existing);
        let existing = existing.map(|it| (&it.name, it.line));
        for (name, line) in params.chain(vars).chain(existing) {
            if !self.used.contains(name.as_str()) {
                self.report(line, format!("{name} is used nowhere"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::syntax::parse;

    fn problems(text: &str) -> Vec<String> {
        let file = parse("f.bicep", text).unwrap();
        check(&file).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_whose_names_are_right_passes() {
        let text = "param list string[]\nvar some = filter(list, it => !empty(it))\n\
            resource all 'T/a@1' = [for (it, at) in some: {\n  name: '${it}-${at}'\n}]\n\
            output first string = all[0].id\n";
        assert_eq!(problems(text), [] as [&str; 0]);
    }

    #[test]
    fn a_name_that_is_not_declared_is_found_in_every_branch() {
        let text = "param yes bool\noutput o string = yes ? 'a' : typo\n";
        assert_eq!(problems(text), ["f.bicep:2: typo is not declared"]);
    }

    #[test]
    fn a_name_is_bound_only_inside_its_lambda_or_loop() {
        let text = "param list string[]\nvar all = map(list, it => '${it}')\noutput o string = '${it}${all[0]}'\n";
        assert_eq!(problems(text), ["f.bicep:3: it is not declared"]);
    }

    #[test]
    fn what_is_used_nowhere_is_found() {
        let text = "param a string\nvar b = 'x'\nresource c 'T/a@1' existing = {\n  name: 'x'\n}\n";
        let expected = ["f.bicep:1: a", "f.bicep:2: b", "f.bicep:3: c"];
        assert_eq!(
            problems(text),
            expected.map(|it| format!("{it} is used nowhere"))
        );
    }

    #[test]
    fn a_name_that_is_declared_twice_is_found() {
        let text = "param a string\nvar a = 'x'\noutput o string = a\n";
        assert_eq!(problems(text), ["f.bicep:2: a is declared twice"]);
    }

    #[test]
    fn a_decorator_that_does_not_exist_is_found() {
        let text = "@scure()\nparam a string\noutput o string = a\n";
        let expected = "f.bicep:2: these checks do not know the decorator scure";
        assert_eq!(problems(text), [expected]);
    }

    #[test]
    fn a_type_that_does_not_exist_is_found() {
        let text = "param a strin\noutput o string[ ] = a\n";
        assert_eq!(
            problems(text),
            [
                "f.bicep:1: these checks do not know the type strin",
                "f.bicep:2: these checks do not know the type string[ ]",
            ]
        );
    }

    #[test]
    fn functions_that_do_not_exist_or_change_each_time_are_found() {
        let text = "output a string = toLowr('A')\noutput b string = utcNow()\n";
        let found = problems(text);
        assert!(found[0].contains("do not know the function toLowr"));
        assert!(found[1].contains("a second deployment would change things"));
    }
}
