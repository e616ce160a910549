//! The log lines that the program writes, read from its source.

use std::collections::{BTreeMap, BTreeSet};

const LEVELS: &[&str] = &["debug!", "error!", "info!", "warn!"];

/// The fields of each event (`tracing::info!(event = "NAME", …, "message")`) in a source text, added to
/// those that are known already: an event may be logged in several places.
pub fn logged(source: &str, events: &mut BTreeMap<String, BTreeSet<String>>) {
    for (at, _) in source.match_indices("event = \"") {
        let before = source.get(..at).unwrap_or_default();
        let Some(start) = before.rfind('(') else {
            continue;
        };
        let before = before.get(..start).unwrap_or_default();
        if !LEVELS.iter().any(|level| before.ends_with(level)) {
            continue;
        }
        let arguments = arguments(source.get(start + 1..).unwrap_or_default());
        let mut fields: Vec<&str> = arguments.iter().filter_map(|it| field(it)).collect();
        let name = arguments.first().and_then(|it| it.split('"').nth(1));
        fields.retain(|field| *field != "event");
        if let Some(name) = name {
            let known = events.entry(name.to_owned()).or_default();
            known.extend(fields.into_iter().map(str::to_owned));
        }
    }
}

/// What stands between the commas up to the closing parenthesis.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut from) = (0, false, 0);
    let mut found = Vec::new();
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => {
                found.push(text.get(from..at).unwrap_or_default().trim());
                from = at + 1;
                if character == ')' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// The name of `name = value`, `name`, `?name` or `%name`; none of the message.
fn field(argument: &str) -> Option<&str> {
    let name = argument
        .split('=')
        .next()?
        .trim()
        .trim_start_matches(['?', '%']);
    let is_name = |it: &str| it.chars().all(|c| c.is_alphanumeric() || c == '_');
    (!name.is_empty() && is_name(name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::logged;
    use std::collections::BTreeMap;

    #[test]
    fn events_and_their_fields_are_read_from_source() {
        let source = "tracing::info!(event = \"began\", run, \"a run (of \\u{1}, it) begins\");\n\
            warn!(\n    event = \"ended\",\n    run = %id,\n    ?state,\n    n = list.len(),\n    \
            sum = f(a, b),\n    \"ended\"\n);\n\
            tracing::info!(event = \"began\", file, \"begins\");\ntracing::info!(run, \"nothing\");\n\
            let json = json!({\"event = \": 1});\n";
        let mut events = BTreeMap::new();
        logged(source, &mut events);
        let shown = format!("{events:?}");
        assert_eq!(
            shown,
            "{\"began\": {\"file\", \"run\"}, \"ended\": {\"n\", \"run\", \"state\", \"sum\"}}"
        );
    }
}
