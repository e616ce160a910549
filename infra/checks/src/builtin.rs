//! The functions of Bicep that our files use.

use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_128;

/// How many arguments the functions take that these checks know, at least and at most.
const KNOWN: &[(&str, usize, usize)] = &[
    ("concat", 1, 99),
    ("empty", 1, 1),
    ("filter", 2, 2),
    ("guid", 1, 99),
    ("join", 2, 2),
    ("loadJsonContent", 1, 1),
    ("loadTextContent", 1, 1),
    ("map", 2, 2),
    ("resourceGroup", 0, 1),
    ("split", 2, 2),
    ("string", 1, 1),
    ("subscription", 0, 0),
    ("subscriptionResourceId", 2, 99),
    ("tenant", 0, 0),
    ("toLower", 1, 1),
    ("union", 2, 99),
    ("uniqueString", 1, 99),
];

/// What makes a deployment differ from the one before it.
const CHANGING: &[&str] = &["newGuid", "utcNow", "dateTimeAdd", "dateTimeToEpoch"];

/// What is wrong with a call, if anything.
pub(crate) fn objection(name: &str, arguments: usize) -> Option<String> {
    if CHANGING.contains(&name) {
        return Some(format!(
            "{name}() gives something else each time: a second deployment would change things"
        ));
    }
    match KNOWN.iter().find(|(known, ..)| *known == name) {
        None => Some(format!("these checks do not know the function {name}")),
        Some((_, least, most)) if (*least..=*most).contains(&arguments) => None,
        Some((_, least, most)) => Some(format!(
            "{name} takes {least} to {most} arguments, not {arguments}"
        )),
    }
}

/// Applies a function that needs nothing but its arguments. None: it does not take these.
pub(crate) fn apply(name: &str, arguments: &[Value]) -> Option<Value> {
    match (name, arguments) {
        ("empty", [Value::Null]) => Some(json!(true)),
        ("empty", [Value::String(text)]) => Some(json!(text.is_empty())),
        ("empty", [Value::Array(list)]) => Some(json!(list.is_empty())),
        ("empty", [Value::Object(object)]) => Some(json!(object.is_empty())),
        ("toLower", [Value::String(text)]) => Some(json!(text.to_lowercase())),
        ("string", [value]) => Some(json!(text(value))),
        ("split", [Value::String(text), Value::String(mark)]) => {
            Some(text.split(mark.as_str()).collect())
        }
        ("join", [Value::Array(list), Value::String(mark)]) => {
            let texts: Vec<String> = list.iter().map(text).collect();
            Some(json!(texts.join(mark)))
        }
        ("concat", lists) => {
            let lists: Option<Vec<_>> = lists.iter().map(Value::as_array).collect();
            Some(lists?.into_iter().flatten().cloned().collect())
        }
        ("union", objects) => {
            let mut all = Map::new();
            for object in objects {
                all.extend(object.as_object()?.clone());
            }
            Some(Value::Object(all))
        }
        ("uniqueString", parts) => Some(json!(unique_string(parts))),
        ("guid", parts) => Some(json!(guid(parts))),
        ("subscription", []) => Some(json!({ "id": "/subscriptions/SUBSCRIPTION" })),
        ("tenant", []) => Some(json!({ "tenantId": guid(&[json!("tenant")]) })),
        ("subscriptionResourceId", [Value::String(kind), names @ ..]) => {
            let names: Vec<String> = names.iter().map(text).collect();
            let names = names.join("/");
            Some(json!(format!(
                "/subscriptions/SUBSCRIPTION/providers/{kind}/{names}"
            )))
        }
        _ => None,
    }
}

/// A value inside a text.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn digest(parts: &[Value]) -> u128 {
    let parts: Vec<String> = parts.iter().map(text).collect();
    xxh3_128(parts.join("-").as_bytes())
}

/// As Azure's: 13 characters that depend on the parts alone. The characters themselves differ.
fn unique_string(parts: &[Value]) -> String {
    let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = digest(parts);
    (0..13)
        .map(|at| char::from(alphabet[(digest >> (5 * at)) as usize % alphabet.len()]))
        .collect()
}

fn guid(parts: &[Value]) -> String {
    let hex = format!("{:032x}", digest(parts));
    let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::{apply, objection};
    use serde_json::json;

    #[test]
    fn what_changes_from_one_deployment_to_the_next_is_refused() {
        assert!(objection("utcNow", 0).unwrap().contains("each time"));
        assert!(objection("newGuid", 0).unwrap().contains("each time"));
        assert_eq!(objection("guid", 3), None);
        assert!(objection("uniqueStrin", 1).unwrap().contains("do not know"));
        assert!(objection("empty", 2).unwrap().contains("1 to 1 arguments"));
    }

    #[test]
    fn unique_strings_and_guids_depend_on_their_parts_alone() {
        let (a, b) = (json!("a"), json!("b"));
        let of = |name: &str, parts: &[serde_json::Value]| apply(name, parts).unwrap();
        for name in ["uniqueString", "guid"] {
            let both = [a.clone(), b.clone()];
            assert_eq!(of(name, &both), of(name, &both));
            assert_ne!(of(name, &both), of(name, std::slice::from_ref(&a)));
        }
        assert_eq!(of("uniqueString", &[a]).as_str().unwrap().len(), 13);
    }

    #[test]
    fn texts_lists_and_objects_behave_as_in_bicep() {
        let parts = apply("split", &[json!("/a//b/"), json!("/")]).unwrap();
        assert_eq!(parts, json!(["", "a", "", "b", ""]));
        let joined = apply("join", &[json!(["a", "b"]), json!("/")]);
        assert_eq!(joined, Some(json!("a/b")));
        let union = apply("union", &[json!({"a": 1}), json!({"a": 2, "b": 3})]);
        assert_eq!(union, Some(json!({"a": 2, "b": 3})));
        assert_eq!(apply("toLower", &[json!(1)]), None);
    }
}
