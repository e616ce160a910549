//! The official resource types, as kept in `infra/types/`, and what they say about a resource.
//!
//! Stricter than the compiler in one thing: where a type lists values and then any text, only the
//! listed ones pass.

#[cfg(test)]
mod tests;

use crate::deployment::Deployed;
use anyhow::Context;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// All types, by name.
#[derive(Debug, Default)]
pub struct Types(BTreeMap<String, Definition>);

/// A resource type at one API version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    #[serde(rename = "type")]
    name: String,
    api_version: String,
    /// `ResourceGroup`, `Subscription`, `Extension` or `AllExceptExtension`.
    scopes: String,
    objects: BTreeMap<String, Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    /// The type of properties that are not listed.
    additional: Option<String>,
    /// The property that says which of `elements` it is.
    discriminator: Option<String>,
    properties: BTreeMap<String, Words>,
    #[serde(default)]
    elements: Vec<BTreeMap<String, Words>>,
}

/// The type, then `Required`, `ReadOnly` and limits as they apply.
type Words = Vec<String>;

impl Types {
    /// Reads a folder of type files.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut types = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if !name.is_some_and(|name| name.starts_with("Microsoft.") && name.ends_with(".json")) {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let definition: Definition = serde_json::from_str(&text)
                .with_context(|| format!("{} is no type file", path.display()))?;
            types.insert(definition.name.clone(), definition);
        }
        Ok(Self(types))
    }

    /// What is wrong with a resource, each a sentence.
    pub fn check(&self, resource: &Deployed) -> Vec<String> {
        let Some(definition) = self.0.get(&resource.kind) else {
            let text = "no such resource type; if there is, add it to infra/types/renew.py";
            return vec![format!("{}: {text}", resource.kind)];
        };
        let mut found = Found {
            definition,
            problems: Vec::new(),
        };
        if definition.api_version != resource.version {
            let (known, used) = (&definition.api_version, &resource.version);
            let text = format!("the types kept are those of {known}, not of {used}");
            found.problems.push(text);
        }
        let in_a_group = resource.group.is_some();
        let fits = match definition.scopes.as_str() {
            "Subscription" => !in_a_group,
            "Extension" => resource.scope.is_some(),
            "AllExceptExtension" => true,
            _ => in_a_group,
        };
        if !fits {
            let text = format!("it belongs into the scope {}", definition.scopes);
            found.problems.push(text);
        }
        found.value("", &Value::Object(resource.body.clone()), &definition.name);
        found.problems
    }

    /// Whether a resource of this type answers with `path`, such as `properties.principalId`. Types that
    /// are not known have every property: `check` reports them.
    pub(crate) fn answers(&self, kind: &str, path: &[String]) -> bool {
        let Some(definition) = self.0.get(kind) else {
            return true;
        };
        let mut kinds = vec![kind.to_owned()];
        for name in path {
            let objects = kinds.iter().filter_map(|it| definition.objects.get(it));
            let mut next = Vec::new();
            for object in objects {
                let groups = std::iter::once(&object.properties).chain(&object.elements);
                let words = groups.filter_map(|group| group.get(name));
                next.extend(words.filter_map(|words| words.first()).cloned());
                next.extend(object.additional.clone());
            }
            if next.is_empty() && !kinds.iter().any(|it| it == "any") {
                return false;
            }
            if !next.is_empty() {
                kinds = next;
            }
        }
        true
    }
}

struct Found<'a> {
    definition: &'a Definition,
    problems: Vec<String>,
}

impl Found<'_> {
    fn report(&mut self, path: &str, text: String) {
        let path = path.trim_start_matches('.');
        self.problems.push(format!("{path}: {text}"));
    }

    fn value(&mut self, path: &str, value: &Value, union: &str) {
        if value.as_str().is_some_and(|text| text.contains('⟨')) {
            return;
        }
        let alternatives: Vec<&str> = union.split(" | ").collect();
        let objects = &self.definition.objects;
        // A listed value can be called like a type; the one that is not tells that it is a list of values.
        let words = alternatives.iter().filter(|word| !is_primitive(word));
        let words: Vec<&&str> = words.collect();
        if words
            .iter()
            .any(|word| !objects.contains_key(word.trim_end_matches("[]")))
        {
            let of_many = alternatives.contains(&"string[]");
            let values = match value {
                Value::Array(values) if of_many => values.iter().collect(),
                one => vec![one],
            };
            for value in values {
                let text = crate::builtin::text(value);
                if !value.is_null() && !words.iter().any(|word| **word == text) {
                    self.report(path, format!("{value} is none of {union}"));
                }
            }
            return;
        }
        for alternative in &alternatives {
            if let (Some(element), Value::Array(list)) = (alternative.strip_suffix("[]"), value) {
                for (at, item) in list.iter().enumerate() {
                    self.value(&format!("{path}[{at}]"), item, element);
                }
                return;
            }
            if let (Some(object), Value::Object(fields)) = (objects.get(*alternative), value) {
                return self.object(path, fields, object);
            }
        }
        if !alternatives.iter().any(|it| is_of(value, it)) {
            self.report(path, format!("{value} is no {union}"));
        }
    }

    fn object(&mut self, path: &str, fields: &Map<String, Value>, object: &Object) {
        let mut known: BTreeMap<&str, &Words> = BTreeMap::new();
        known.extend(
            object
                .properties
                .iter()
                .map(|(name, words)| (name.as_str(), words)),
        );
        if let Some(discriminator) = &object.discriminator {
            let chosen = fields.get(discriminator).and_then(Value::as_str);
            let element = object.elements.iter().find(|element| {
                let words = element.get(discriminator);
                words.and_then(|words| words.first()).map(String::as_str) == chosen
            });
            match element {
                Some(element) => known.extend(element.iter().map(|(n, words)| (n.as_str(), words))),
                None => {
                    let text = format!("{discriminator} is {chosen:?}, which is not known");
                    return self.report(path, text);
                }
            }
        }
        for (name, value) in fields {
            let path = format!("{path}.{name}");
            match (known.get(name.as_str()), &object.additional) {
                (Some(words), _) => self.property(&path, value, words),
                (None, Some(kind)) => self.value(&path, value, kind),
                (None, None) => self.report(&path, "there is no such property".to_owned()),
            }
        }
        for (name, words) in known {
            let required = words.iter().any(|word| word == "Required");
            if required && !fields.contains_key(name) {
                self.report(&format!("{path}.{name}"), "it is required".to_owned());
            }
        }
    }

    fn property(&mut self, path: &str, value: &Value, words: &Words) {
        let [kind, rest @ ..] = words.as_slice() else {
            return;
        };
        if rest.iter().any(|word| word == "ReadOnly") {
            return self.report(path, "it is read-only".to_owned());
        }
        self.value(path, value, kind);
        for limit in rest.iter().filter(|word| word.contains(": ")) {
            if let Some(text) = beyond(limit, value) {
                self.report(path, text);
            }
        }
    }
}

fn is_primitive(word: &str) -> bool {
    let word = word.trim_end_matches("[]");
    ["string", "int", "bool", "any", "object", "array"].contains(&word)
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "any" => true,
        "string" => value.is_string(),
        "int" => value.is_i64(),
        "bool" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => false,
    }
}

/// Holds a value against `minLength: 3, maxLength: 24, pattern: ^[a-z]+$`.
fn beyond(limits: &str, value: &Value) -> Option<String> {
    let (numbers, pattern) = limits.split_once("pattern: ").unwrap_or((limits, ""));
    let text = value.as_str();
    if let (Some(text), Ok(regex)) = (text, Regex::new(pattern))
        && !text.contains('⟨')
        && !regex.is_match(text)
    {
        return Some(format!("{text:?} does not match {pattern}"));
    }
    let length = text
        .filter(|it| !it.contains('⟨'))
        .map(|it| it.chars().count() as i64);
    for limit in numbers.split(", ") {
        let Some((name, bound)) = limit.split_once(": ") else {
            continue;
        };
        let bound: i64 = bound.parse().ok()?;
        let bad = match name {
            "minLength" => length.is_some_and(|length| length < bound),
            "maxLength" => length.is_some_and(|length| length > bound),
            "minValue" => value.as_i64().is_some_and(|number| number < bound),
            "maxValue" => value.as_i64().is_some_and(|number| number > bound),
            _ => false,
        };
        if bad {
            return Some(format!("{value} is beyond {limit}"));
        }
    }
    None
}
