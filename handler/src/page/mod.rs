//! The page that watches runs: markup, style and script, without any data.
//!
//! The script asks `GET /api/runs` with the function key that a person typed. The page loads nothing else: its
//! policy allows its own style and script by their hashes, and requests to its own host.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const MARKUP: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page may load (<https://www.w3.org/TR/CSP3/>).
#[must_use]
pub fn policy() -> String {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; base-uri 'none'; form-action 'none'",
        source(STYLE),
        source(SCRIPT)
    )
}

/// The page as HTML.
#[must_use]
pub fn html() -> String {
    MARKUP
        .replace("{policy}", &policy())
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT)
}

/// The hash by which a policy allows an inline text.
fn source(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("sha256-{}", STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_its_parts_and_asks_no_other_host() {
        let html = html();
        assert!(html.contains(STYLE) && html.contains(SCRIPT) && html.contains(&policy()));
        assert!(
            !html.contains("{policy}") && !html.contains("{style}") && !html.contains("{script}")
        );
        for foreign in ["src=", "href=", "url(", "@import", "innerHTML", "style="] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        let addresses = html.matches("://").count();
        // The name of a vocabulary, not an address.
        assert_eq!(
            addresses,
            html.matches("http://www.w3.org/2000/svg").count()
        );
    }
}
