//! Links in the documents lead somewhere: to files of the repository and to headings in them.

use regex::Regex;
use softlabel_infra::documents::pages;
use softlabel_infra::repository::root;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\]\(<?([^()\s>]+)>?\)").unwrap());
static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`[^`]*`").unwrap());

/// The lines of a page that are not code, with their numbers.
fn prose(page: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (at, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((at + 1, line.to_owned()));
        }
    }
    lines
}

/// The anchors that GitHub gives a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(page).into_iter().filter_map(|(_, line)| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len() && text.starts_with(' ')).then(|| text.trim().to_lowercase())
    });
    let anchors = headings.map(|text| {
        // A heading that is a link has the anchor of the link's text.
        let text = LINK.replace_all(&text, "");
        let kept = text.chars().filter_map(|it| match it {
            ' ' => Some('-'),
            '-' | '_' => Some(it),
            it => it.is_alphanumeric().then_some(it),
        });
        let anchor: String = kept.collect();
        let times = taken.entry(anchor.clone()).or_default();
        *times += 1;
        match *times {
            1 => anchor,
            times => format!("{anchor}-{}", times - 1),
        }
    });
    anchors.collect()
}

/// A path without `.` and `..`, relative to the repository.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(tidy.pop(), "{} leaves the repository", path.display()),
            Component::CurDir => {}
            other => tidy.push(other),
        }
    }
    tidy
}

/// What is wrong with the links of `page`, which lies at `path`.
fn broken(path: &str, page: &str, pages: &BTreeMap<String, String>) -> Vec<String> {
    let mut broken = Vec::new();
    for (number, line) in prose(page) {
        let line = CODE.replace_all(&line, "``");
        for link in LINK.captures_iter(&line) {
            let target = &link[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(path).parent().unwrap();
            let file = match file {
                "" => PathBuf::from(path),
                file => tidy(&folder.join(file)),
            };
            let leads_on = match pages.get(file.to_str().unwrap()) {
                Some(page) if !anchor.is_empty() => anchors(page).contains(anchor),
                _ => root().join(&file).exists(),
            };
            if !leads_on {
                broken.push(format!("{path}:{number}: {target}"));
            }
        }
    }
    broken
}

#[test]
fn links_lead_to_files_and_headings_that_there_are() {
    let pages = pages().unwrap();
    assert!(pages.contains_key("README.md") && pages.contains_key("infra/README.md"));
    let broken: Vec<_> = pages
        .iter()
        .flat_map(|(path, page)| broken(path, page, &pages))
        .collect();
    assert!(broken.is_empty(), "lead nowhere: {broken:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = "# A `heading`, twice\n## A `heading`, twice\n[a](#a-heading-twice) [b](#a-heading-twice-1)\n\
        [c](../LICENSE) `[d](nowhere)` [e](other.md#there)\n```\n[f](nowhere)\n```\n\
        [g](#a-heading-twice-2) [h](nowhere.md) [i](other.md#nowhere) [j](https://example.com)";
    let pages = BTreeMap::from([
        ("docs/page.md".to_owned(), page.to_owned()),
        ("docs/other.md".to_owned(), "### There\n".to_owned()),
    ]);
    let found = broken("docs/page.md", page, &pages);
    let expected = ["#a-heading-twice-2", "nowhere.md", "other.md#nowhere"];
    assert_eq!(found, expected.map(|it| format!("docs/page.md:8: {it}")));
}
