//! Reads a file and reports what the grammar does not allow.
//!
//! The grammar is tree-sitter's. It is more lenient than the compiler about line ends, so those that
//! matter are checked here: a declaration and an element without a comma begin a line of their own,
//! and the parenthesis of a call stands behind the function's name.

use crate::Problem;
use crate::ast::File;
use crate::lower::lower;
use tree_sitter::{Node, Parser};

/// Reads the text of a file that is called `path`.
pub fn parse(path: &str, text: &str) -> Result<File, Vec<Problem>> {
    let mut parser = Parser::new();
    let tree = parser
        .set_language(&tree_sitter_bicep::LANGUAGE.into())
        .ok()
        .and_then(|()| parser.parse(text, None));
    let Some(tree) = tree else {
        return Err(vec![Problem::new(path, 0, "the grammar cannot be loaded")]);
    };
    let mut problems = Vec::new();
    inspect(tree.root_node(), path, text, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    lower(tree.root_node(), path, text).map_err(|problem| vec![problem])
}

/// The line of a node, from 1.
pub(crate) fn line(node: Node<'_>) -> usize {
    node.start_position().row + 1
}

/// The children that have a name in the grammar, comments left out.
pub(crate) fn named<'tree>(node: Node<'tree>) -> Vec<Node<'tree>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor)
        .filter(|child| !child.kind().ends_with("comment"))
        .collect()
}

fn inspect(node: Node<'_>, path: &str, text: &str, problems: &mut Vec<Problem>) {
    let mut report = |node: Node<'_>, what: &str| {
        problems.push(Problem::new(path, line(node), what));
    };
    if node.is_error() || node.is_missing() {
        report(node, "this is not Bicep");
        return;
    }
    let separated = |before: Node<'_>, after: Node<'_>, marks: &[char]| {
        text.get(before.end_byte()..after.start_byte())
            .is_some_and(|between| between.contains(marks))
    };
    let children = named(node);
    let pairs = || children.iter().zip(children.iter().skip(1));
    match node.kind() {
        "infrastructure" => pairs()
            .filter(|(before, after)| !separated(**before, **after, &['\n']))
            .for_each(|(_, after)| report(*after, "a declaration begins a line of its own")),
        "array" | "object" => pairs()
            .filter(|(before, after)| !separated(**before, **after, &['\n', ',']))
            .for_each(|(_, after)| report(*after, "a comma or a new line is missing before this")),
        "call_expression" => pairs()
            .filter(|(before, after)| before.end_byte() != after.start_byte())
            .for_each(|(before, _)| {
                report(*before, "a parenthesis follows a function's name at once")
            }),
        _ => {}
    }
    // All of them: what is missing is mostly a mark, which has no name.
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        inspect(child, path, text, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn problems(text: &str) -> Vec<String> {
        let found = parse("broken.bicep", text).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_file_is_read() {
        let file = parse(
            "good.bicep",
            "// A comment.\nparam name string = 'a'\nvar list = [\n  'x' // one\n  'y'\n]\n\
             output o string = '${name}-${list[0]}'\n",
        )
        .unwrap();
        let counts = (file.params.len(), file.vars.len(), file.outputs.len());
        assert_eq!(counts, (1, 1, 1));
    }

    #[test]
    fn a_brace_that_is_not_closed_is_found() {
        let found = problems("resource a 'T/a@1' = {\n  name: 'x'\n");
        assert!(!found.is_empty(), "{found:?}");
    }

    #[test]
    fn elements_on_one_line_need_commas() {
        assert_eq!(
            problems("var list = ['x' 'y']\n"),
            ["broken.bicep:1: a comma or a new line is missing before this"]
        );
        assert_eq!(problems("var list = ['x', 'y']\n"), [] as [&str; 0]);
        assert_eq!(problems("var o = { a: 1, b: 2 }\n"), [] as [&str; 0]);
        assert_eq!(problems("var o = { a: 1 b: 2 }\n").len(), 1);
    }

    #[test]
    fn declarations_on_one_line_are_found() {
        assert_eq!(
            problems("var a = 'x' var b = 'y'\n"),
            ["broken.bicep:1: a declaration begins a line of its own"]
        );
    }

    #[test]
    fn a_call_that_is_two_elements_is_found() {
        assert_eq!(problems("var list = [\n  a\n  (b)\n]\n").len(), 1);
    }

    #[test]
    fn what_these_checks_do_not_know_is_said() {
        let found = problems("func f(a string) string => a\n");
        assert_eq!(
            found,
            ["broken.bicep:1: these checks do not know user_defined_function"]
        );
    }
}
