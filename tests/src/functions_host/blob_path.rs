//! The path of a blob trigger, with names in braces.

use anyhow::{Result, bail};

/// A pattern such as `container/base/{dataset}/metadata.json`. As in the host, a name stands for any
/// text, slashes included, and as much of it as fits.
#[derive(Debug)]
pub(super) struct BlobPattern {
    pub(super) container: String,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

impl BlobPattern {
    pub(super) fn parse(path: &str) -> Result<Self> {
        let Some((container, blob)) = path.split_once('/') else {
            bail!("{path:?} names a container and no blob");
        };
        if container.is_empty() || container.contains(['{', '}']) || blob.is_empty() {
            bail!("{path:?} does not begin with the name of a container, or names no blob");
        }
        let mut parts = Vec::new();
        let mut rest = blob;
        while let Some((text, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                bail!("{path:?} has a brace that is not closed");
            };
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            } else if matches!(parts.last(), Some(Part::Name(_))) {
                bail!("{path:?} has two names with nothing between them");
            }
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let container = container.to_owned();
        Ok(Self { container, parts })
    }

    /// What every blob that fits begins with.
    pub(super) fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// What the names stand for in a blob's path; `None` where it does not fit.
    pub(super) fn matches(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut values = fit(&self.parts, path)?;
        values.reverse();
        Some(values)
    }
}

/// The values in reverse order.
fn fit(parts: &[Part], path: &str) -> Option<Vec<(String, String)>> {
    match parts {
        [] => path.is_empty().then(Vec::new),
        [Part::Text(text), rest @ ..] => fit(rest, path.strip_prefix(text.as_str())?),
        [Part::Name(name), rest @ ..] => {
            // The longest first.
            let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
            let mut ends = ends.collect::<Vec<_>>().into_iter().rev();
            ends.find_map(|end| {
                let (value, after) = path.split_at(end);
                let mut values = fit(rest, after)?;
                values.push((name.clone(), value.to_owned()));
                Some(values)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pattern: &str, path: &str) -> Option<Vec<String>> {
        let values = BlobPattern::parse(pattern).unwrap().matches(path)?;
        Some(
            values
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        )
    }

    #[test]
    fn a_name_takes_as_much_as_fits_slashes_included() {
        let pattern = "raw/base/{dataset}/metadata.json";
        let found = |path| values(pattern, path);
        assert_eq!(found("base/d1/metadata.json").unwrap(), ["dataset=d1"]);
        assert_eq!(found("base/a/b/metadata.json").unwrap(), ["dataset=a/b"]);
        assert_eq!(found("base/metadata.json"), None);
        assert_eq!(found("base/d1/metadata.json.bak"), None);
        assert_eq!(found("other/d1/metadata.json"), None);
        let two = values("raw/{name}.{ext}", "a.b.txt").unwrap();
        assert_eq!(two, ["name=a.b", "ext=txt"]);
    }

    #[test]
    fn a_pattern_must_name_a_container_and_a_blob() {
        assert_eq!(
            BlobPattern::parse("raw/base/{d}/m").unwrap().prefix(),
            "base/"
        );
        for wrong in ["raw", "raw/", "{c}/a", "raw/{a", "raw/{a}{b}"] {
            assert!(BlobPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
