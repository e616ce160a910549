//! The mark at the end of a file that softlabel keeps up to date, such as a dataset card. It holds the
//! file's own fingerprint, so that the file itself shows whether a person wrote or changed it. It is a
//! comment in Markdown and in HTML.

use xxhash_rust::xxh3::xxh3_128;

/// What stands before the fingerprint.
const MARK: &str = "<!-- softlabel keeps this file up to date while it is unchanged: ";

/// The file of this text.
pub fn sealed(mut text: String) -> Vec<u8> {
    let mark = mark(&text);
    text.push_str(&mark);
    text.into_bytes()
}

fn mark(text: &str) -> String {
    format!("{MARK}{:032x} -->\n", xxh3_128(text.as_bytes()))
}

/// Whether softlabel wrote the file and it was not changed since. An empty file counts as softlabel's,
/// since nobody's work is in it.
pub fn is_ours(content: &[u8]) -> bool {
    let parts = str::from_utf8(content).ok().and_then(|content| {
        let at = content.rfind(MARK)?;
        content.split_at_checked(at)
    });
    content.is_empty() || parts.is_some_and(|(text, end)| end == mark(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_own_mark() {
        let file = String::from_utf8(sealed("---\n# x\n".into())).unwrap();
        assert!(is_ours(file.as_bytes()) && is_ours(b""));
        let end = mark("---\n# x\n");
        for changed in [
            file.replace("# x", "# y"),
            format!("{file}more\n"),
            end,
            "# mine\n".to_owned(),
        ] {
            assert!(!is_ours(changed.as_bytes()), "{changed}");
        }
        assert!(!is_ours(b"\xff"));
    }
}
