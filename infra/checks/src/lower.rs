//! From the grammar's tree to declarations and expressions.

use crate::Problem;
use crate::ast::{
    Body, Decorator, Expr, File, Loop, Module, Node as Kind, Output, Param, Part, Property,
    Resource, Var,
};
use crate::syntax::{line, named};
use tree_sitter::Node;

pub(crate) type Result<T> = std::result::Result<T, Problem>;

pub(crate) fn lower(root: Node<'_>, path: &str, text: &str) -> Result<File> {
    let source = Source { path, text };
    let mut file = File {
        path: path.to_owned(),
        ..File::default()
    };
    let mut decorators = Vec::new();
    for node in named(root) {
        let parts = named(node);
        match (node.kind(), parts.as_slice()) {
            ("decorators", list) => {
                for decorator in list {
                    decorators.push(source.decorator(*decorator)?);
                }
                continue;
            }
            ("target_scope_assignment", [value]) => {
                file.target_scope = Some(source.plain(*value)?);
            }
            ("parameter_declaration", [name, kind, default @ ..]) => file.params.push(Param {
                name: source.text(*name)?.to_owned(),
                line: line(node),
                kind: source.text(*kind)?.to_owned(),
                default: default
                    .first()
                    .map(|value| source.expr(*value))
                    .transpose()?,
                decorators: std::mem::take(&mut decorators),
            }),
            ("variable_declaration", [name, value]) => file.vars.push(Var {
                name: source.text(*name)?.to_owned(),
                line: line(node),
                value: source.expr(*value)?,
            }),
            ("output_declaration", [name, kind, value]) => file.outputs.push(Output {
                name: source.text(*name)?.to_owned(),
                line: line(node),
                kind: source.text(*kind)?.to_owned(),
                value: source.expr(*value)?,
            }),
            ("resource_declaration", [name, kind, body]) => {
                file.resources
                    .push(source.resource(node, *name, *kind, *body)?);
            }
            ("module_declaration", [name, path, body]) => file.modules.push(Module {
                name: source.text(*name)?.to_owned(),
                line: line(node),
                path: source.plain(*path)?,
                body: source.body(*body)?,
            }),
            _ => return Err(source.unknown(node)),
        }
        decorators.clear();
    }
    Ok(file)
}

pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    pub(crate) fn unknown(&self, node: Node<'_>) -> Problem {
        let text = format!("these checks do not know {}", node.kind());
        Problem::new(self.path, line(node), text)
    }

    pub(crate) fn text(&self, node: Node<'_>) -> Result<&str> {
        self.text
            .get(node.byte_range())
            .ok_or_else(|| self.unknown(node))
    }

    fn plain(&self, node: Node<'_>) -> Result<String> {
        match self.string(node)?.as_slice() {
            [] => Ok(String::new()),
            [Part::Plain(text)] => Ok(text.clone()),
            _ => Err(Problem::new(self.path, line(node), "this is a plain text")),
        }
    }

    fn decorator(&self, node: Node<'_>) -> Result<Decorator> {
        let call = named(node)
            .first()
            .map(|call| self.expr(*call))
            .transpose()?;
        match call.map(|call| call.node) {
            Some(Kind::Call(name, arguments)) => Ok(Decorator { name, arguments }),
            _ => Err(self.unknown(node)),
        }
    }

    fn resource(
        &self,
        node: Node<'_>,
        name: Node<'_>,
        kind: Node<'_>,
        body: Node<'_>,
    ) -> Result<Resource> {
        let full = self.plain(kind)?;
        let Some((kind, version)) = full.split_once('@') else {
            let text = format!("{full} has no API version");
            return Err(Problem::new(self.path, line(node), text));
        };
        let mut cursor = node.walk();
        let existing = node
            .children(&mut cursor)
            .any(|child| child.kind() == "existing");
        Ok(Resource {
            name: self.text(name)?.to_owned(),
            line: line(node),
            kind: kind.to_owned(),
            version: version.to_owned(),
            existing,
            body: self.body(body)?,
        })
    }

    fn body(&self, node: Node<'_>) -> Result<Body> {
        let parts = named(node);
        match (node.kind(), parts.as_slice()) {
            ("object", _) => Ok(Body {
                repeat: None,
                condition: None,
                properties: self.properties(node)?,
                line: line(node),
            }),
            ("if_statement", [condition, object]) => Ok(Body {
                condition: Some(self.expr(*condition)?),
                ..self.body(*object)?
            }),
            ("for_statement", [names, list, body]) => Ok(Body {
                repeat: Some(self.repeat(*names, *list)?),
                ..self.body(*body)?
            }),
            _ => Err(self.unknown(node)),
        }
    }

    fn repeat(&self, names: Node<'_>, list: Node<'_>) -> Result<Loop> {
        let names = match names.kind() {
            "identifier" => vec![names],
            _ => named(names),
        };
        let names = names
            .into_iter()
            .map(|name| self.text(name).map(str::to_owned));
        Ok(Loop {
            names: names.collect::<Result<_>>()?,
            list: Box::new(self.expr(list)?),
        })
    }

    fn properties(&self, object: Node<'_>) -> Result<Vec<Property>> {
        let mut properties = Vec::new();
        for node in named(object) {
            let [key, value] = named(node)[..] else {
                return Err(self.unknown(node));
            };
            let key = match key.kind() {
                "string" => self.expr(key)?,
                _ => Expr {
                    line: line(key),
                    node: Kind::Text(vec![Part::Plain(self.text(key)?.to_owned())]),
                },
            };
            let value = self.expr(value)?;
            properties.push(Property { key, value });
        }
        Ok(properties)
    }

    fn boxed(&self, node: Node<'_>) -> Result<Box<Expr>> {
        self.expr(node).map(Box::new)
    }

    fn list(&self, nodes: &[Node<'_>]) -> Result<Vec<Expr>> {
        nodes.iter().map(|node| self.expr(*node)).collect()
    }

    fn operator(&self, node: Node<'_>) -> Result<String> {
        let operator = node.child_by_field_name("operator");
        let operator = operator.ok_or_else(|| self.unknown(node))?;
        Ok(self.text(operator)?.to_owned())
    }

    pub(crate) fn expr(&self, node: Node<'_>) -> Result<Expr> {
        let parts = named(node);
        let kind = match (node.kind(), parts.as_slice()) {
            ("null", _) => Kind::Null,
            ("boolean", _) => Kind::Bool(self.text(node)? == "true"),
            ("number", _) => match self.text(node)?.parse() {
                Ok(number) => Kind::Int(number),
                Err(_) => return Err(self.unknown(node)),
            },
            ("string", _) => Kind::Text(self.string(node)?),
            ("identifier", _) => Kind::Name(self.text(node)?.to_owned()),
            ("parenthesized_expression", [inside]) => return self.expr(*inside),
            ("object", _) => Kind::Object(self.properties(node)?),
            ("array", items) => Kind::Array(self.list(items)?),
            ("member_expression" | "subscript_expression", _) => {
                return self.accessed(node, &[]);
            }
            ("call_expression", [function, arguments, ..]) if function.kind() == "identifier" => {
                Kind::Call(
                    self.text(*function)?.to_owned(),
                    self.list(&named(*arguments))?,
                )
            }
            ("ternary_expression", [condition, yes, no]) => {
                Kind::Ternary(self.boxed(*condition)?, self.boxed(*yes)?, self.boxed(*no)?)
            }
            ("binary_expression", [left, right]) => Kind::Binary(
                self.operator(node)?,
                self.boxed(*left)?,
                self.boxed(*right)?,
            ),
            ("unary_expression", [of]) => Kind::Unary(self.operator(node)?, self.boxed(*of)?),
            ("lambda_expression", [name, body]) if name.kind() == "identifier" => {
                Kind::Lambda(self.text(*name)?.to_owned(), self.boxed(*body)?)
            }
            ("for_statement", [names, list, body]) => {
                Kind::For(self.repeat(*names, *list)?, self.boxed(*body)?)
            }
            _ => return Err(self.unknown(node)),
        };
        Ok(Expr {
            line: line(node),
            node: kind,
        })
    }

    /// The grammar lets `.` and `[` take all of `a ? b : c`, `a == b`, `!a` or `a => b` that stands before
    /// them. They belong to its last operand. `around` are the accesses to hand down to it, the
    /// outermost first.
    fn accessed<'t>(&self, node: Node<'t>, around: &[Node<'t>]) -> Result<Expr> {
        let parts = named(node);
        let last = |operand: Node<'t>| self.accessed(operand, around).map(Box::new);
        let kind = match (node.kind(), parts.as_slice()) {
            ("member_expression" | "subscript_expression", [of, _]) => {
                return self.accessed(*of, &[around, &[node]].concat());
            }
            ("ternary_expression", [condition, yes, no]) => {
                Kind::Ternary(self.boxed(*condition)?, self.boxed(*yes)?, last(*no)?)
            }
            ("binary_expression", [left, right]) => {
                Kind::Binary(self.operator(node)?, self.boxed(*left)?, last(*right)?)
            }
            ("unary_expression", [of]) => Kind::Unary(self.operator(node)?, last(*of)?),
            ("lambda_expression", [name, body]) => {
                Kind::Lambda(self.text(*name)?.to_owned(), last(*body)?)
            }
            _ => {
                let mut expr = self.expr(node)?;
                for access in around.iter().rev() {
                    let of = Box::new(expr);
                    let line = of.line;
                    let node = match (access.kind(), named(*access).as_slice()) {
                        ("member_expression", [_, name]) => {
                            Kind::Member(of, self.text(*name)?.to_owned())
                        }
                        ("subscript_expression", [_, at]) => Kind::Index(of, self.boxed(*at)?),
                        _ => return Err(self.unknown(*access)),
                    };
                    expr = Expr { line, node };
                }
                return Ok(expr);
            }
        };
        Ok(Expr {
            line: line(node),
            node: kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::ast::{Expr, Node};
    use crate::syntax::parse;

    /// With a parenthesis around everything that has parts.
    fn shown(text: &str) -> String {
        fn show(expr: &Expr) -> String {
            match &expr.node {
                Node::Name(name) => name.clone(),
                Node::Int(number) => number.to_string(),
                Node::Member(of, name) => format!("({}.{name})", show(of)),
                Node::Index(of, at) => format!("({}[{}])", show(of), show(at)),
                Node::Call(name, arguments) => {
                    let arguments: Vec<_> = arguments.iter().map(show).collect();
                    format!("{name}({})", arguments.join(","))
                }
                Node::Ternary(a, b, c) => format!("({}?{}:{})", show(a), show(b), show(c)),
                Node::Binary(operator, a, b) => format!("({}{operator}{})", show(a), show(b)),
                Node::Unary(operator, of) => format!("({operator}{})", show(of)),
                Node::Lambda(name, body) => format!("({name}=>{})", show(body)),
                other => format!("{other:?}"),
            }
        }
        let file = parse("f.bicep", &format!("var v = {text}\n")).unwrap();
        show(&file.vars[0].value)
    }

    #[test]
    fn accesses_bind_more_tightly_than_operators() {
        assert_eq!(shown("a ? b : c.d[0].e"), "(a?b:(((c.d)[0]).e))");
        assert_eq!(shown("a == b.c"), "(a==(b.c))");
        assert_eq!(shown("!a.b"), "(!(a.b))");
        assert_eq!(shown("map(a, b => b.c)"), "map(a,(b=>(b.c)))");
        assert_eq!(shown("a.b && c.d || e.f"), "(((a.b)&&(c.d))||(e.f))");
        assert_eq!(shown("f(a)!.b"), "(f(a).b)");
    }

    #[test]
    fn parentheses_bind_more_tightly_still() {
        assert_eq!(shown("(a ? b : c).d"), "((a?b:c).d)");
        assert_eq!(shown("a ? b : (c + d).e"), "(a?b:((c+d).e))");
        assert_eq!(shown("a + b * c"), "(a+(b*c))");
    }
}
