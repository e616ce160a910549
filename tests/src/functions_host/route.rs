//! Routes of HTTP triggers: `runs/{run?}/{action?}`.

use anyhow::{Result, bail};

/// A route template, without the prefix.
#[derive(Debug)]
pub(super) struct Route(Vec<Segment>);

#[derive(Debug)]
enum Segment {
    Text(String),
    Name {
        name: String,
        optional: bool,
    },
    /// `{*name}`: the rest of the path.
    Rest(String),
}

impl Route {
    pub(super) fn parse(template: &str) -> Result<Self> {
        let mut segments = Vec::new();
        for part in template.split('/').filter(|part| !part.is_empty()) {
            let inner = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            let segment = match inner {
                None if part.contains(['{', '}']) => {
                    bail!(
                        "the double of the Functions host knows names only as whole segments: {template}"
                    )
                }
                None => Segment::Text(part.to_owned()),
                Some(inner) if inner.contains([':', '=']) => {
                    bail!(
                        "the double of the Functions host knows no constraints in routes: {template}"
                    )
                }
                Some(inner) => match (inner.strip_prefix('*'), inner.strip_suffix('?')) {
                    (Some(name), _) => Segment::Rest(name.to_owned()),
                    (None, Some(name)) => Segment::Name {
                        name: name.to_owned(),
                        optional: true,
                    },
                    (None, None) => Segment::Name {
                        name: inner.to_owned(),
                        optional: false,
                    },
                },
            };
            segments.push(segment);
        }
        Ok(Self(segments))
    }

    /// The values of the names for the decoded segments of a path; `None` where it does not fit. An
    /// optional name that is absent has no value.
    pub(super) fn matches(&self, path: &[String]) -> Option<Vec<(String, Option<String>)>> {
        let mut values = Vec::new();
        let mut path = path.iter();
        for segment in &self.0 {
            match (segment, path.next()) {
                (Segment::Text(text), Some(part)) if text.eq_ignore_ascii_case(part) => {}
                (Segment::Name { name, .. }, Some(part)) => {
                    values.push((name.clone(), Some(part.clone())));
                }
                (
                    Segment::Name {
                        name,
                        optional: true,
                    }
                    | Segment::Rest(name),
                    None,
                ) => {
                    values.push((name.clone(), None));
                }
                (Segment::Rest(name), Some(part)) => {
                    let rest = std::iter::once(part).chain(path.by_ref());
                    let rest = rest.map(String::as_str).collect::<Vec<_>>().join("/");
                    values.push((name.clone(), Some(rest)));
                }
                _ => return None,
            }
        }
        path.next().is_none().then_some(values)
    }

    /// Where two routes fit, the one with the smaller rank is meant: fixed text before names.
    pub(super) fn rank(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Text(_) => 0,
            Segment::Name { .. } => 1,
            Segment::Rest(_) => 2,
        };
        self.0.iter().map(rank).collect()
    }
}

/// A segment of a path without its escapes.
pub(super) fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = segment.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(route: &str, path: &str) -> Option<Vec<String>> {
        let path = path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let values = Route::parse(route).unwrap().matches(&path)?;
        Some(
            values
                .into_iter()
                .map(|(name, value)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name,
                })
                .collect(),
        )
    }

    #[test]
    fn optional_names_may_be_absent_and_others_may_not() {
        let route = "runs/{run?}/{action?}";
        assert_eq!(values(route, "runs").unwrap(), ["run", "action"]);
        assert_eq!(values(route, "RUNS/7").unwrap(), ["run=7", "action"]);
        assert_eq!(
            values(route, "runs/7/cancel").unwrap(),
            ["run=7", "action=cancel"]
        );
        assert_eq!(values(route, "runs/7/cancel/x"), None);
        assert_eq!(values("a/{b}", "a"), None);
        assert_eq!(values("a/{*b}", "a/c/d").unwrap(), ["b=c/d"]);
        assert!(Route::parse("a/{b:int}").is_err());
    }
}
