//! The app's settings as bindings use them. The host reads them through .NET's `IConfiguration`, for which names that
//! differ only in their case are the same.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::storage::Storage;

/// The connection that is meant where a binding names none, and where the host keeps what is its own.
pub(super) const HOST_CONNECTION: &str = "AzureWebJobsStorage";

/// Settings that change `host.json`.
const OVERRIDE: &str = "AzureFunctionsJobHost__";

#[derive(Debug, Clone)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn new(settings: BTreeMap<String, String>) -> Result<Self> {
        let mut names = BTreeMap::new();
        for name in settings.keys() {
            if let Some(other) = names.insert(name.to_ascii_lowercase(), name) {
                bail!("the settings {other} and {name} are one to the host, which knows no case");
            }
        }
        Ok(Self(settings))
    }

    pub(super) fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    fn get(&self, name: &str) -> Option<&String> {
        let mut settings = self.0.iter();
        let found = settings.find(|(setting, _)| setting.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// Whether a setting says "true".
    pub(super) fn is_true(&self, name: &str) -> bool {
        let value = self.get(name);
        value.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// Replaces every `%NAME%` with the setting of that name.
    pub(super) fn resolve(&self, text: &str) -> Result<String> {
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            let (name, after) = after
                .split_once('%')
                .with_context(|| format!("{text:?} has a % without a second one"))?;
            let value = self.get(name);
            let value = value.with_context(|| {
                format!("'%{name}%' does not resolve to a value: set the app setting {name}")
            })?;
            resolved.push_str(before);
            resolved.push_str(value);
            rest = after;
        }
        Ok(resolved + rest)
    }

    /// The account that a connection names. The host looks for its name with `AzureWebJobs` in front,
    /// too.
    pub(super) fn connection(&self, name: &str) -> Result<Storage> {
        let names = [format!("AzureWebJobs{name}"), name.to_owned()];
        for name in &names {
            if let Some(text) = self.get(name) {
                return Storage::from_connection_string(text)
                    .with_context(|| format!("the connection {name} cannot be used"));
            }
        }
        let by_identity = |name: &String| {
            self.0
                .keys()
                .any(|key| key.starts_with(&format!("{name}__")))
        };
        if names.iter().any(by_identity) {
            bail!(
                "the connection {name} is made with an identity, which the double of the Functions host \
                 cannot: set {name} to a connection string"
            );
        }
        bail!("there is no connection {name}: set the app setting {name} to a connection string")
    }

    /// The settings that change `host.json`, with the path of what they change.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (Vec<&str>, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            let path = name.strip_prefix(OVERRIDE)?;
            Some((path.split("__").collect(), value.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::new(pairs.collect()).unwrap()
    }

    #[test]
    fn names_in_percent_signs_are_replaced() {
        let settings = settings(&[("DATA", "raw/base"), ("X", "1")]);
        let resolved = settings.resolve("%DATA%/{name}/m.json%X%").unwrap();
        assert_eq!(resolved, "raw/base/{name}/m.json1");
        assert_eq!(settings.resolve("plain").unwrap(), "plain");
        assert!(
            settings
                .resolve("%NONE%/a")
                .unwrap_err()
                .to_string()
                .contains("'%NONE%'")
        );
        assert!(settings.resolve("100%").is_err());
    }

    #[test]
    fn names_have_no_case() {
        let settings = settings(&[("Data", "raw")]);
        assert_eq!(settings.resolve("%DATA%").unwrap(), "raw");
        let both = [("Data", ""), ("DATA", "")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(Settings::new(both.into()).is_err());
    }

    #[test]
    fn a_connection_without_a_string_says_what_to_set() {
        let settings = settings(&[("Data__blobServiceUri", "https://x")]);
        assert!(
            settings
                .connection("Data")
                .unwrap_err()
                .to_string()
                .contains("identity")
        );
        assert!(
            settings
                .connection("Other")
                .unwrap_err()
                .to_string()
                .contains("no connection Other")
        );
    }
}
