//! The page about the deployment, the alerts and the log lines, against the files and each other.

use softlabel_infra::consistency::{fields, logged};
use softlabel_infra::documents::{README, weave};
use softlabel_infra::repository::{root, snapshot, text, texts};
use softlabel_infra::snapshot::Resource;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const COMMON: &[&str] = &[
    "event",
    "level",
    "message",
    "run",
    "span.function",
    "span.invocation_id",
];

fn readme() -> String {
    text(README).unwrap()
}

fn backticked(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The events of the page's table, each with its fields.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let readme = readme();
    let (_, table) = readme
        .split_once("| event | when | fields |\n|---|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (
            backticked(cells[1]).pop_first().unwrap(),
            backticked(cells[3]),
        )
    });
    rows.collect()
}

fn queries() -> BTreeMap<String, String> {
    texts("infra/queries", ".kql").unwrap()
}

/// With `RENEW=1`, as `cargo xtask renew` sets it, this test writes the page's picture and tables.
#[test]
fn generated_parts_of_the_page_are_current() {
    let readme = readme();
    let woven = weave(&readme).unwrap();
    if std::env::var_os("RENEW").is_some() {
        fs::write(root().join(README), woven).unwrap();
        return;
    }
    assert!(
        woven == readme,
        "{README} is stale: run `cargo xtask renew tables`"
    );
}

#[test]
fn a_picture_or_a_parameter_that_is_out_of_date_is_found() {
    let readme = readme();
    for (from, to) in [
        ("storageAccounts<br/>", "accounts<br/>"),
        ("| `concurrency` | `50` |", "| `concurrency` | `60` |"),
    ] {
        let old = readme.replacen(from, to, 1);
        assert_ne!(old, readme);
        assert_eq!(weave(&old).unwrap(), readme);
    }
    assert!(weave("# No marks\n").is_err());
}

#[test]
fn queries_look_for_documented_events_and_fields() {
    let documented = documented();
    for (path, query) in queries() {
        let (fields, events) = fields(&query);
        let mut known: BTreeSet<&str> = COMMON.iter().copied().collect();
        for event in &events {
            let fields = documented.get(event);
            let fields = fields.unwrap_or_else(|| panic!("{path}: {event} is not documented"));
            known.extend(fields.iter().map(String::as_str));
        }
        // The query that shows a run shows all of its lines.
        if events.is_empty() {
            known.extend(documented.values().flatten().map(String::as_str));
        }
        let unknown: Vec<_> = fields
            .iter()
            .filter(|it| !known.contains(it.as_str()))
            .collect();
        assert!(
            unknown.is_empty(),
            "{path} reads {unknown:?}, which no such line has"
        );
    }
}

#[test]
fn fields_and_events_are_read_from_queries() {
    let (names, events) = fields("| where log.event in (\"a\", \"b\")\n| extend x = log.y, z = 1");
    assert_eq!(names, BTreeSet::from(["event".to_owned(), "y".to_owned()]));
    assert_eq!(events, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}

fn read_logs(folder: &Path, events: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_logs(&path, events);
        } else {
            logged(&fs::read_to_string(path).unwrap(), events);
        }
    }
}

#[test]
fn the_program_logs_the_events_and_fields_of_the_page() {
    let mut events = BTreeMap::new();
    read_logs(&root().join("handler/src"), &mut events);
    assert!(events.len() > 5, "{events:?}");
    assert_eq!(documented(), events);
}

#[test]
fn every_alert_has_its_query_and_says_what_to_do() {
    let snapshot = snapshot("everything-new").unwrap();
    let rules = snapshot.of_kind("Microsoft.Insights/scheduledQueryRules");
    let rules: Vec<&Resource> = rules.collect();
    // Between the program's name and what tells environments apart.
    let name = |name: &str| {
        let (name, _) = name.rsplit_once('-').unwrap();
        name.strip_prefix("softlabel-").unwrap().to_owned()
    };
    let alerts: BTreeSet<_> = rules.iter().map(|it| name(&it.name)).collect();

    let queries = queries().into_keys();
    let queries = queries.filter_map(|path| {
        let name = path.strip_prefix("infra/queries/alert-")?;
        Some(name.strip_suffix(".kql")?.to_owned())
    });
    assert_eq!(queries.collect::<BTreeSet<_>>(), alerts);

    let readme = readme();
    let (_, runbook) = readme.split_once("\n## When an alert fires\n").unwrap();
    let (runbook, _) = runbook.split_once("\n## ").unwrap();
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(headings.map(str::to_owned).collect::<BTreeSet<_>>(), alerts);

    for rule in rules {
        let criteria = &rule.body["properties"]["criteria"]["allOf"][0];
        let query = criteria["query"].as_str().unwrap();
        assert!(query.lines().count() > 2, "{}", rule.name);
        let properties = &rule.body["properties"];
        assert_eq!(properties["enabled"], true);
        for name in ["evaluationFrequency", "windowSize"] {
            assert_eq!(properties[name], "PT15M", "{}", rule.name);
        }
        assert_eq!(
            rule.body["properties"]["actions"]["actionGroups"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}

#[test]
fn every_query_is_deployed() {
    let snapshot = snapshot("everything-new").unwrap();
    let bodies = |kind| {
        let bodies = snapshot.of_kind(kind).map(|it| &it.body);
        let bodies = bodies.map(|it| serde_json::to_string(it).unwrap());
        bodies.collect::<String>()
    };
    let deployed = bodies("Microsoft.Insights/scheduledQueryRules")
        + &bodies("Microsoft.OperationalInsights/queryPacks/queries");
    for (path, query) in queries() {
        let query = serde_json::to_string(&query).unwrap();
        assert!(deployed.contains(&query), "{path}");
    }
}

#[test]
fn figures_on_the_page_are_what_their_sums_give() {
    let readme = readme();
    // Tokens a turn, as counted; dollars a million tokens.
    let dollars = |prompt: f64, answer: f64| 100_000.0 * (prompt * 1.75 + answer * 14.0) / 1e6;
    let labels = dollars(523.0, 16.0);
    let rationales = dollars(337.0, 128.0);
    let minutes = |tokens: f64| (100_000.0 * tokens / 500_000.0).round();
    let chunks = (100_000.0_f64 / 128.0).ceil();
    // Calls of two seconds, 50 in flight in each instance, of 10 requests for each 1,000 tokens.
    let busy = |capacity: f64| (capacity * 10.0 / 60.0 * 2.0 / 50.0).ceil();
    let most = busy(500.0);
    let seconds = |tokens: f64| minutes(tokens) * 60.0 * most * 2.0;
    let instances = |tokens: f64| seconds(tokens) * 0.000_026;
    let signs = most * 4.0 * (minutes(1004.0) * 60.0 / 30.0);
    let written = 100_000.0 + signs + 3.0 * chunks;
    let writes = written * 0.05 / 10_000.0;
    let with = labels + rationales + instances(1004.0) + writes + 0.05;
    let without = labels + instances(539.0) + writes + 0.05;
    let thousands = |number: f64| {
        let (high, low) = ((number / 1000.0).floor(), number % 1000.0);
        format!("{high},{low:03}")
    };
    // With a tenth of the capacity.
    let hours = minutes(1004.0) * 10.0 / 60.0;
    assert!((busy(50.0) - 1.0).abs() < f64::EPSILON);
    let one = hours * 3600.0 * 2.0 * 0.000_026;
    for figure in [
        format!("| {labels:.0} |"),
        format!("| {rationales:.0} |"),
        format!("| instances | {most}, as many"),
        format!("each of {chunks} chunks"),
        format!("= {} minutes", minutes(1004.0)),
        format!("= {} GB-s |", thousands(seconds(1004.0))),
        format!("| {:.2} |", instances(1004.0)),
        format!("{} writes", thousands(written)),
        format!("| {writes:.2} |"),
        format!("**{with:.0}**"),
        format!("{} minutes | **{without:.0}**", minutes(539.0)),
        format!(
            "{:.0} hours, on one instance, which comes to {one:.2}",
            hours.floor()
        ),
    ] {
        assert!(readme.contains(&figure), "{figure}");
    }
    let at_rest = 43_200.0 * 2.0 * 0.000_026;
    assert!(readme.contains(&format!("0 to {at_rest:.2}")));
}
