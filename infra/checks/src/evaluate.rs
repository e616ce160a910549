//! Evaluates expressions, with parameters as a deployment would give them.

use crate::Problem;
use crate::ast::{Expr, File, Loop, Node, Part};
use crate::builtin::{apply, text};
use crate::deployment::{Deployment, Sources};
use crate::identity::Identity;
use crate::modules::resolve;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) type Result<T> = std::result::Result<T, Problem>;

/// A file in the course of its deployment.
pub(crate) struct Scope<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) file: &'a File,
    /// The resource group; None: the subscription.
    pub(crate) group: Option<String>,
    pub(crate) parameters: RefCell<Map<String, Value>>,
    pub(crate) modules: RefCell<BTreeMap<String, Rc<Deployment>>>,
}

/// What loops and lambdas bind, the innermost last.
pub(crate) type Bound = Vec<(String, Value)>;

impl Scope<'_> {
    pub(crate) fn problem(&self, expr: &Expr, what: impl Into<String>) -> Problem {
        Problem::new(&self.file.path, expr.line, what)
    }

    pub(crate) fn value(&self, expr: &Expr, bound: &Bound) -> Result<Value> {
        match &expr.node {
            Node::Null => Ok(Value::Null),
            Node::Bool(value) => Ok(json!(value)),
            Node::Int(value) => Ok(json!(value)),
            Node::Text(parts) => self.text(parts, bound),
            Node::Name(name) => self.name(expr, name, bound),
            Node::Member(of, name) => self.member(expr, of, name, bound),
            Node::Index(of, at) => {
                let (of, at) = (self.value(of, bound)?, self.value(at, bound)?);
                self.index(expr, &of, &at)
            }
            Node::Call(name, arguments) => self.call(expr, name, arguments, bound),
            Node::Object(_) => self.object(expr, bound).map(Value::Object),
            Node::Array(items) => items.iter().map(|item| self.value(item, bound)).collect(),
            Node::For(repeat, body) => {
                let rounds = self.rounds(repeat, bound)?;
                rounds.iter().map(|bound| self.value(body, bound)).collect()
            }
            Node::Ternary(condition, yes, no) => {
                let chosen = if self.truth(condition, bound)? {
                    yes
                } else {
                    no
                };
                self.value(chosen, bound)
            }
            Node::Binary(operator, left, right) => {
                self.binary(expr, operator, (left, right), bound)
            }
            Node::Unary(operator, of) => match (operator.as_str(), self.value(of, bound)?) {
                ("!", Value::Bool(value)) => Ok(json!(!value)),
                ("-", Value::Number(value)) => Ok(json!(-value.as_i64().unwrap_or_default())),
                (_, value) => Err(self.problem(expr, format!("{operator}{value} has no value"))),
            },
            Node::Lambda(..) => Err(self.problem(expr, "a lambda is no value")),
        }
    }

    /// The value of a condition, which must be known before the deployment.
    pub(crate) fn truth(&self, condition: &Expr, bound: &Bound) -> Result<bool> {
        let value = self.value(condition, bound)?;
        let unknown = || self.problem(condition, format!("{value} is neither true nor false"));
        value.as_bool().ok_or_else(unknown)
    }

    /// What a loop binds in each of its rounds.
    pub(crate) fn rounds(&self, repeat: &Loop, bound: &Bound) -> Result<Vec<Bound>> {
        let Value::Array(list) = self.value(&repeat.list, bound)? else {
            return Err(self.problem(&repeat.list, "this is no list"));
        };
        let rounds = list.into_iter().enumerate().map(|(at, item)| {
            let mut bound = bound.clone();
            let values = [item, json!(at)];
            bound.extend(repeat.names.iter().cloned().zip(values));
            bound
        });
        Ok(rounds.collect())
    }

    fn object(&self, expr: &Expr, bound: &Bound) -> Result<Map<String, Value>> {
        let Node::Object(properties) = &expr.node else {
            return Err(self.problem(expr, "this is no object"));
        };
        let mut object = Map::new();
        for property in properties {
            let key = text(&self.value(&property.key, bound)?);
            object.insert(key, self.value(&property.value, bound)?);
        }
        Ok(object)
    }

    fn text(&self, parts: &[Part], bound: &Bound) -> Result<Value> {
        let mut whole = String::new();
        for part in parts {
            match part {
                Part::Plain(text) => whole.push_str(text),
                Part::Interpolated(expr) => whole.push_str(&text(&self.value(expr, bound)?)),
            }
        }
        Ok(Value::String(whole))
    }

    fn name(&self, expr: &Expr, name: &str, bound: &Bound) -> Result<Value> {
        if let Some((_, value)) = bound.iter().rev().find(|(known, _)| known == name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.parameters.borrow().get(name) {
            return Ok(value.clone());
        }
        let params = self.file.params.iter();
        let defaults = params.map(|param| (&param.name, param.default.as_ref()));
        let vars = self.file.vars.iter();
        let vars = vars.map(|var| (&var.name, Some(&var.value)));
        match vars.chain(defaults).find(|(known, _)| *known == name) {
            Some((_, Some(value))) => {
                let value = self.value(value, &Bound::new())?;
                let mut parameters = self.parameters.borrow_mut();
                parameters.insert(name.to_owned(), value.clone());
                Ok(value)
            }
            Some((_, None)) => Err(self.problem(expr, format!("{name} is not given"))),
            None => Err(self.problem(expr, format!("{name} has no value"))),
        }
    }

    fn member(&self, expr: &Expr, of: &Expr, name: &str, bound: &Bound) -> Result<Value> {
        if let Some((identity, mut path)) = self.resource_path(of, bound)? {
            path.push(name.to_owned());
            return self.answer(expr, &identity, &path);
        }
        if let Some(module) = self.module(of)? {
            return match module.outputs.get(name) {
                Some(value) => Ok(value.clone()),
                None => Err(self.problem(expr, format!("there is no output {name}"))),
            };
        }
        let of = self.value(of, bound)?;
        self.index(expr, &of, &json!(name))
    }

    /// `RESOURCE.a.b` as the resource and its path, for a resource or an element of a resource loop.
    fn resource_path(&self, expr: &Expr, bound: &Bound) -> Result<Option<(Identity, Vec<String>)>> {
        if let Node::Member(of, name) = &expr.node {
            let Some((identity, mut path)) = self.resource_path(of, bound)? else {
                return Ok(None);
            };
            path.push(name.clone());
            return Ok(Some((identity, path)));
        }
        let identity = self.referenced(expr, bound)?;
        Ok(identity.map(|identity| (identity, Vec::new())))
    }

    /// The module behind `MODULE.outputs`.
    fn module(&self, expr: &Expr) -> Result<Option<Rc<Deployment>>> {
        let Node::Member(of, outputs) = &expr.node else {
            return Ok(None);
        };
        let Node::Name(name) = &of.node else {
            return Ok(None);
        };
        let Some(module) = self.file.modules.iter().find(|module| module.name == *name) else {
            return Ok(None);
        };
        if outputs != "outputs" {
            return Err(self.problem(expr, format!("a module has outputs, no {outputs}")));
        }
        let deployed = self.deploy_module(module)?;
        let left_out = || self.problem(expr, format!("{name} is not deployed"));
        deployed.ok_or_else(left_out).map(Some)
    }

    fn index(&self, expr: &Expr, of: &Value, at: &Value) -> Result<Value> {
        let found = match (of, at) {
            (Value::Object(object), Value::String(name)) if name.contains('⟨') => {
                let any = object.values().next();
                any.map(|_| json!(format!("⟨what stands for {name}⟩")))
            }
            (Value::Object(object), Value::String(name)) => object.get(name).cloned(),
            (Value::Array(list), Value::Number(at)) => {
                let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                at.and_then(|at| list.get(at).cloned())
            }
            (Value::String(later), Value::String(name)) if later.ends_with('⟩') => {
                Some(json!(format!("{}.{name}⟩", later.trim_end_matches('⟩'))))
            }
            _ => None,
        };
        found.ok_or_else(|| self.problem(expr, format!("there is no {at} in this")))
    }

    fn call(&self, expr: &Expr, name: &str, arguments: &[Expr], bound: &Bound) -> Result<Value> {
        if let (kind @ ("map" | "filter"), [list, lambda]) = (name, arguments) {
            return self.over(kind, list, lambda, bound);
        }
        let values = arguments.iter().map(|it| self.value(it, bound));
        let values: Vec<Value> = values.collect::<Result<_>>()?;
        let load = |path: &Value| {
            let path = resolve(&self.file.path, &text(path));
            let found = self.sources.texts.get(&path);
            found.ok_or_else(|| self.problem(expr, format!("there is no file {path}")))
        };
        match (name, values.as_slice()) {
            ("loadTextContent", [path]) => Ok(json!(load(path)?)),
            ("loadJsonContent", [path]) => serde_json::from_str(load(path)?)
                .map_err(|error| self.problem(expr, format!("{path} is no JSON: {error}"))),
            _ => apply(name, &values).ok_or_else(|| {
                let text = format!("{name} does not take {}", Value::Array(values.clone()));
                self.problem(expr, text)
            }),
        }
    }

    fn over(&self, kind: &str, list: &Expr, lambda: &Expr, bound: &Bound) -> Result<Value> {
        let Value::Array(items) = self.value(list, bound)? else {
            return Err(self.problem(list, "this is no list"));
        };
        let Node::Lambda(name, body) = &lambda.node else {
            return Err(self.problem(lambda, "this is no lambda"));
        };
        let mut results = Vec::new();
        for item in items {
            let mut bound = bound.clone();
            bound.push((name.clone(), item.clone()));
            if kind == "map" {
                results.push(self.value(body, &bound)?);
            } else if self.truth(body, &bound)? {
                results.push(item);
            }
        }
        Ok(Value::Array(results))
    }

    fn binary(
        &self,
        expr: &Expr,
        operator: &str,
        (left, right): (&Expr, &Expr),
        bound: &Bound,
    ) -> Result<Value> {
        if let "&&" | "||" = operator {
            let left = self.truth(left, bound)?;
            let decided = left == (operator == "||");
            return Ok(json!(if decided {
                left
            } else {
                self.truth(right, bound)?
            }));
        }
        let (left, right) = (self.value(left, bound)?, self.value(right, bound)?);
        let later = |value: &Value| value.as_str().is_some_and(|text| text.contains('⟨'));
        match (operator, left.as_i64(), right.as_i64()) {
            ("==", ..) => Ok(json!(left == right)),
            ("!=", ..) => Ok(json!(left != right)),
            (">", Some(left), Some(right)) => Ok(json!(left > right)),
            ("<", Some(left), Some(right)) => Ok(json!(left < right)),
            ("+", Some(left), Some(right)) => Ok(json!(left + right)),
            ("*", Some(left), Some(right)) => Ok(json!(left * right)),
            ("+" | "*", ..) if later(&left) || later(&right) => Ok(json!(format!(
                "⟨{} {operator} {}⟩",
                text(&left),
                text(&right)
            ))),
            _ => Err(self.problem(expr, format!("{left} {operator} {right} has no value"))),
        }
    }
}
