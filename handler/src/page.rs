//! The page that watches runs: markup, style and script, without any data.
//!
//! The script asks `GET runs` beside the page's own address, with the key that a person typed. The page loads
//! nothing else. The report of a dataset is fetched the same way and shown in a frame without an origin: it inherits
//! the page's policy, so that no other script than the report's own runs in it, whatever lies in the storage.

use crate::html::{Frame, PAGE, REPORT, policy};
use askama::Template;

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    policy: String,
    frame: Frame,
}

/// What the page may load. The second directive is for the frame of a report, whose address is made in the page.
const OTHERS: [&str; 2] = ["connect-src 'self'", "frame-src blob:"];

/// The page as HTML, and the headers to send with it.
#[must_use]
pub fn page() -> (Vec<(&'static str, String)>, String) {
    let policy = policy(&[PAGE, REPORT], &OTHERS);
    let headers = vec![
        ("Content-Type", "text/html; charset=utf-8".to_owned()),
        (
            "Content-Security-Policy",
            format!("{policy}; frame-ancestors 'none'"),
        ),
        ("X-Content-Type-Options", "nosniff".to_owned()),
        ("Cache-Control", "no-cache".to_owned()),
    ];
    let page = Page {
        policy,
        frame: PAGE,
    };
    // Writing into a text never fails.
    (headers, page.render().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_its_parts_and_asks_no_other_host() {
        let (headers, html) = page();
        assert!(html.contains(PAGE.style) && html.contains(PAGE.script));
        let policy = &headers
            .iter()
            .find(|(name, _)| name.contains("Policy"))
            .unwrap()
            .1;
        assert!(policy.contains("connect-src 'self'") && policy.contains("frame-ancestors 'none'"));
        for foreign in ["src=", "href=", "style=", "{{", "unsafe"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
    }
}
