//! What the pages of ours have in common: the frame, the look, and a policy that lets nothing in but the page's
//! own style and script.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A style of its own behind the common one.
macro_rules! style {
    ($file:literal) => {
        concat!(include_str!("../templates/base.css"), include_str!($file))
    };
}

/// A script of its own behind the common one, in a scope of their own.
macro_rules! script {
    ($file:literal) => {
        concat!(
            "\"use strict\";\n(() => {\n",
            include_str!("../templates/base.js"),
            include_str!($file),
            "})();\n"
        )
    };
}

/// What stands around a page; its template extends `base.html`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) style: &'static str,
    pub(crate) script: &'static str,
}

/// The report.
pub(crate) const REPORT: Frame = Frame {
    style: style!("../templates/report.css"),
    script: script!("../templates/report.js"),
};

/// The page that watches runs.
pub(crate) const PAGE: Frame = Frame {
    style: style!("../templates/page.css"),
    script: script!("../templates/page.js"),
};

/// A policy under which no style and no script counts but those of `frames`, and nothing is loaded but what
/// `others`, further directives, allow (<https://www.w3.org/TR/CSP3/>).
pub(crate) fn policy(frames: &[Frame], others: &[&str]) -> String {
    let sources = |text: fn(&Frame) -> &str| {
        let sources = frames.iter().map(|frame| source(text(frame)));
        sources.collect::<Vec<_>>().join(" ")
    };
    let own = [
        "default-src 'none'".to_owned(),
        format!("script-src {}", sources(|frame| frame.script)),
        format!("style-src {}", sources(|frame| frame.style)),
        "base-uri 'none'".to_owned(),
        "form-action 'none'".to_owned(),
    ];
    let others = others.iter().map(|other| (*other).to_owned());
    own.into_iter().chain(others).collect::<Vec<_>>().join("; ")
}

/// The hash by which a policy allows an inline text.
fn source(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_every_style_and_script_by_its_hash() {
        let policy = policy(&[REPORT, PAGE], &["connect-src 'self'"]);
        for text in [REPORT.style, REPORT.script, PAGE.style, PAGE.script] {
            assert!(policy.contains(&source(text)), "{policy}");
        }
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
        assert!(policy.ends_with("; connect-src 'self'"), "{policy}");
    }

    #[test]
    fn pages_load_nothing_and_make_no_markup_of_data() {
        for Frame { style, script } in [REPORT, PAGE] {
            for foreign in ["url(", "@import", "</", "<!--"] {
                assert!(!style.contains(foreign), "{foreign}");
            }
            for foreign in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "</",
                "<!--",
            ] {
                assert!(!script.contains(foreign), "{foreign}");
            }
            // The name of a vocabulary, not an address.
            let names = script.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(script.matches("://").count(), names);
        }
    }
}
