//! Texts: plain parts, escapes, interpolations.

use crate::ast::Part;
use crate::lower::{Result, Source};
use crate::syntax::named;
use tree_sitter::Node;

impl Source<'_> {
    /// The grammar gives blanks before `${` to the interpolation, so plain parts are taken from the
    /// source.
    pub(crate) fn string(&self, node: Node<'_>) -> Result<Vec<Part>> {
        let whole = self.text(node)?;
        let mark = if whole.starts_with("'''") { 3 } else { 1 };
        let mut at = node.start_byte() + mark;
        let mut parts = Vec::new();
        let plain = |from: usize, to: usize, parts: &mut Vec<Part>| {
            let raw = self.text.get(from..to).unwrap_or_default();
            let text = if mark == 3 {
                raw.to_owned()
            } else {
                unescape(raw)
            };
            if !text.is_empty() {
                parts.push(Part::Plain(text));
            }
        };
        for child in named(node) {
            if child.kind() != "interpolation" {
                continue;
            }
            let opening = self.text(child)?.find("${").unwrap_or(0);
            plain(at, child.start_byte() + opening, &mut parts);
            let [inside] = named(child)[..] else {
                return Err(self.unknown(child));
            };
            parts.push(Part::Interpolated(self.expr(inside)?));
            at = child.end_byte();
        }
        plain(at, node.end_byte() - mark, &mut parts);
        Ok(parts)
    }
}

fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars();
    while let Some(character) = characters.next() {
        let escaped = match character {
            '\\' => characters.next(),
            other => {
                text.push(other);
                continue;
            }
        };
        match escaped {
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some(other) => text.push(other),
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::ast::Node;
    use crate::syntax::parse;

    #[test]
    fn texts_keep_their_blanks_and_escapes() {
        let file = parse("f.bicep", "var v = 'a \\'b\\'  ${c} \\${d}$'\n").unwrap();
        let Node::Text(parts) = &file.vars[0].value.node else {
            panic!("no text");
        };
        let shown = format!("{parts:?}");
        assert!(shown.contains("Plain(\"a 'b'  \")"), "{shown}");
        assert!(shown.contains("Plain(\" ${d}$\")"), "{shown}");
    }
}
