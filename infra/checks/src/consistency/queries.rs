//! The log lines that queries look for.

use regex::Regex;
use std::collections::BTreeSet;

/// The fields (`log.NAME`) and the events (`log.event == "NAME"`) that a query reads from our log lines.
pub fn fields(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let found = |pattern: &str, text: &str| -> BTreeSet<String> {
        let regex = Regex::new(pattern).expect("a pattern");
        let found = regex.captures_iter(text).map(|it| it[1].to_owned());
        found.collect()
    };
    let fields = found(r"\blog\.((?:span\.)?\w+)", query);
    let compared = Regex::new(r"log\.event (?:==|in) (.*)").expect("a pattern");
    let compared = compared.captures_iter(query);
    let events = compared
        .flat_map(|it| found(r#""(\w+)""#, &it[1]))
        .collect();
    (fields, events)
}
