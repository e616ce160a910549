//! A Bicep file as declarations and expressions: no more of the language than our files use.

/// A file.
#[derive(Debug, Default)]
pub struct File {
    /// How it was named when it was read; modules are found relative to it.
    pub path: String,
    /// `subscription`, or else a resource group is meant.
    pub target_scope: Option<String>,
    /// In the order of the file.
    pub params: Vec<Param>,
    /// In the order of the file.
    pub vars: Vec<Var>,
    /// New and existing ones, in the order of the file.
    pub resources: Vec<Resource>,
    /// In the order of the file.
    pub modules: Vec<Module>,
    /// In the order of the file.
    pub outputs: Vec<Output>,
}

/// `param NAME KIND = DEFAULT`.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub line: usize,
    /// `string`, `string[]`, `int`, `bool`, `object`, `array`.
    pub kind: String,
    /// What it is if it is not given.
    pub default: Option<Expr>,
    /// `@minLength(3)` and the like, without the `@`.
    pub decorators: Vec<Decorator>,
}

/// `@NAME(ARGUMENTS)`.
#[derive(Debug)]
pub struct Decorator {
    /// Its name.
    pub name: String,
    /// What is in its parentheses.
    pub arguments: Vec<Expr>,
}

/// `var NAME = VALUE`.
#[derive(Debug)]
pub struct Var {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub line: usize,
    /// What it stands for.
    pub value: Expr,
}

/// `resource NAME 'TYPE@VERSION' existing = …`.
#[derive(Debug)]
pub struct Resource {
    /// Its name in the file.
    pub name: String,
    /// Where it is declared.
    pub line: usize,
    /// `Microsoft.Storage/storageAccounts`.
    pub kind: String,
    /// The API version, what stands after the `@`.
    pub version: String,
    /// Read, not deployed.
    pub existing: bool,
    /// What it is to be.
    pub body: Body,
}

/// `module NAME 'PATH' = …`.
#[derive(Debug)]
pub struct Module {
    /// Its name in the file.
    pub name: String,
    /// Where it is declared.
    pub line: usize,
    /// The file, relative to the one it is named in.
    pub path: String,
    /// Scope and parameters.
    pub body: Body,
}

/// `output NAME KIND = VALUE`.
#[derive(Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub line: usize,
    /// As for parameters.
    pub kind: String,
    /// What it tells.
    pub value: Expr,
}

/// What stands behind the `=` of a resource or module: `[for …: if (…) {…}]` or a part of it.
#[derive(Debug)]
pub struct Body {
    /// Once for each of a list.
    pub repeat: Option<Loop>,
    /// Only if so.
    pub condition: Option<Expr>,
    /// Its properties.
    pub properties: Vec<Property>,
    /// Where they begin.
    pub line: usize,
}

impl Body {
    /// The value of a property of the outermost object.
    pub fn property(&self, name: &str) -> Option<&Expr> {
        self.properties
            .iter()
            .find(|property| property.name() == Some(name))
            .map(|property| &property.value)
    }
}

/// `for ITEM in LIST` or `for (ITEM, INDEX) in LIST`.
#[derive(Debug)]
pub struct Loop {
    /// What each element is called, and its index where that is wanted.
    pub names: Vec<String>,
    /// What is gone through.
    pub list: Box<Expr>,
}

/// `KEY: VALUE`.
#[derive(Debug)]
pub struct Property {
    /// A name, or a text with interpolations.
    pub key: Expr,
    /// Its value.
    pub value: Expr,
}

impl Property {
    /// The key, where it is a plain text.
    pub fn name(&self) -> Option<&str> {
        match &self.key.node {
            Node::Text(parts) => match parts.as_slice() {
                [Part::Plain(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

/// An expression and where it begins.
#[derive(Debug)]
pub struct Expr {
    /// The line, from 1.
    pub line: usize,
    /// What it is.
    pub node: Node,
}

/// The kinds of expressions.
#[derive(Debug)]
pub enum Node {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number; Bicep has no others.
    Int(i64),
    /// `'plain ${interpolated}'`.
    Text(Vec<Part>),
    /// A parameter, variable, resource, module, or what a loop or lambda binds.
    Name(String),
    /// `OF.NAME`.
    Member(Box<Expr>, String),
    /// `OF[AT]`.
    Index(Box<Expr>, Box<Expr>),
    /// `FUNCTION(ARGUMENTS)`.
    Call(String, Vec<Expr>),
    /// `{…}`.
    Object(Vec<Property>),
    /// `[…]`.
    Array(Vec<Expr>),
    /// `[for … in …: …]`.
    For(Loop, Box<Expr>),
    /// `IF ? THEN : ELSE`.
    Ternary(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `LEFT OPERATOR RIGHT`.
    Binary(String, Box<Expr>, Box<Expr>),
    /// `!OF` or `-OF`.
    Unary(String, Box<Expr>),
    /// `NAME => RESULT`.
    Lambda(String, Box<Expr>),
}

/// A part of a text.
#[derive(Debug)]
pub enum Part {
    /// As it is.
    Plain(String),
    /// `${…}`.
    Interpolated(Expr),
}

impl Expr {
    /// The expressions directly inside of this one, keys of objects included.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.node {
            Node::Null | Node::Bool(_) | Node::Int(_) | Node::Name(_) => Vec::new(),
            Node::Text(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Plain(_) => None,
                    Part::Interpolated(expr) => Some(expr),
                })
                .collect(),
            Node::Member(of, _) | Node::Unary(_, of) => vec![of],
            Node::Index(left, right) | Node::Binary(_, left, right) => vec![left, right],
            Node::Call(_, arguments) | Node::Array(arguments) => arguments.iter().collect(),
            Node::Object(properties) => properties
                .iter()
                .flat_map(|property| [&property.key, &property.value])
                .collect(),
            Node::For(repeat, body) => vec![&repeat.list, body],
            Node::Ternary(condition, yes, no) => vec![condition, yes, no],
            Node::Lambda(_, body) => vec![body],
        }
    }
}
