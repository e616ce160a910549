//! What a subscription lets through.

use serde::Deserialize;
use serde_json::Value;

/// A subscription's filter, with the names that templates and the REST API use. What is left out lets
/// everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Filter {
    /// What the subject begins with.
    pub subject_begins_with: String,
    /// What the subject ends with.
    pub subject_ends_with: String,
    /// Whether these two tell capitals from small letters.
    pub is_subject_case_sensitive: bool,
    /// The types of events.
    pub included_event_types: Option<Vec<String>>,
    /// Further conditions, all of which must hold.
    pub advanced_filters: Vec<AdvancedFilter>,
    /// Whether a condition may look into arrays. No event here has any.
    pub enable_advanced_filtering_on_arrays: bool,
}

/// A condition on one value of an event. Capitals count as small letters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdvancedFilter {
    /// How the value is compared.
    pub operator_type: Operator,
    /// The name of the value: `subject`, or `data.api`.
    pub key: String,
    /// What it is compared with: one is enough, and with an operator that negates none may.
    pub values: Vec<String>,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Operator {
    StringIn,
    StringNotIn,
    StringContains,
    StringNotContains,
    StringBeginsWith,
    StringNotBeginsWith,
    StringEndsWith,
    StringNotEndsWith,
}

impl Filter {
    /// Whether an event in the Event Grid schema is let through.
    pub fn lets_through(&self, event: &Value) -> bool {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let fold = |text: &str| match self.is_subject_case_sensitive {
            true => text.to_owned(),
            false => text.to_lowercase(),
        };
        let subject = fold(text("subject"));
        let included = self.included_event_types.as_ref();
        subject.starts_with(&fold(&self.subject_begins_with))
            && subject.ends_with(&fold(&self.subject_ends_with))
            && included.is_none_or(|types| types.iter().any(|name| name == text("eventType")))
            && self
                .advanced_filters
                .iter()
                .all(|filter| filter.holds(event))
    }
}

impl AdvancedFilter {
    fn holds(&self, event: &Value) -> bool {
        let value = self.key.split('.').fold(event, |value, name| &value[name]);
        let (matches, negated): (fn(&str, &str) -> bool, bool) = match self.operator_type {
            Operator::StringIn => (|value, with| value == with, false),
            Operator::StringNotIn => (|value, with| value == with, true),
            Operator::StringContains => (|value, with| value.contains(with), false),
            Operator::StringNotContains => (|value, with| value.contains(with), true),
            Operator::StringBeginsWith => (|value, with| value.starts_with(with), false),
            Operator::StringNotBeginsWith => (|value, with| value.starts_with(with), true),
            Operator::StringEndsWith => (|value, with| value.ends_with(with), false),
            Operator::StringNotEndsWith => (|value, with| value.ends_with(with), true),
        };
        let any = value.as_str().is_some_and(|value| {
            let value = value.to_lowercase();
            self.values
                .iter()
                .any(|with| matches(&value, &with.to_lowercase()))
        });
        any != negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lets_through(filter: Value, subject: &str) -> bool {
        let filter: Filter = serde_json::from_value(filter).unwrap();
        filter.lets_through(&json!({
            "subject": subject,
            "eventType": "Microsoft.Storage.BlobCreated",
            "data": { "api": "PutBlob" },
        }))
    }

    #[test]
    fn a_subject_is_compared_at_both_ends() {
        let filter =
            json!({ "subjectBeginsWith": "/blobServices/raw/", "subjectEndsWith": ".json" });
        assert!(lets_through(filter.clone(), "/blobservices/RAW/a.JSON"));
        assert!(!lets_through(filter.clone(), "/blobServices/raw/a.jsonl"));
        assert!(!lets_through(filter, "/x/blobServices/raw/a.json"));
        let exact = json!({ "subjectEndsWith": ".json", "isSubjectCaseSensitive": true });
        assert!(!lets_through(exact, "a.JSON"));
        assert!(lets_through(json!({}), "anything"));
    }

    #[test]
    fn types_are_chosen_by_name() {
        let types = |name: &str| json!({ "includedEventTypes": [name] });
        assert!(lets_through(types("Microsoft.Storage.BlobCreated"), "a"));
        assert!(!lets_through(types("Microsoft.Storage.BlobDeleted"), "a"));
    }

    #[test]
    fn one_value_is_enough_and_none_where_it_is_negated() {
        let filter = |operator: &str, key: &str, values: &[&str]| json!({ "advancedFilters": [{ "operatorType": operator, "key": key, "values": values }] });
        let not = filter("StringNotContains", "subject", &["/LABELED_", "/x/"]);
        assert!(lets_through(not.clone(), "raw/d/a.json"));
        assert!(!lets_through(not.clone(), "raw/labeled_d/a.json"));
        assert!(!lets_through(not, "raw/x/a.json"));
        assert!(lets_through(
            filter("StringIn", "data.api", &["CopyBlob", "putblob"]),
            "a"
        ));
        assert!(!lets_through(
            filter("StringIn", "data.api", &["CopyBlob"]),
            "a"
        ));
        assert!(!lets_through(
            filter("StringContains", "data.none", &["a"]),
            "a"
        ));
        assert!(lets_through(
            filter("StringNotContains", "data.none", &["a"]),
            "a"
        ));
        assert!(lets_through(
            filter("StringBeginsWith", "subject", &["raw"]),
            "raw/a"
        ));
        assert!(!lets_through(
            filter("StringNotEndsWith", "subject", &["a"]),
            "raw/a"
        ));
    }
}
