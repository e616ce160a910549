//! The columns of a row: named, typed and filled in one place for every shape.

use super::Options;
use crate::labeled::{Metadata, Row, Said};
use crate::labeling::task::Task;
use serde_json::{Value as Json, json};
use std::borrow::Cow;

/// How the labels of a bucket came about.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The model that answered or, where that is not known, was asked.
    pub model: Option<String>,
    /// The version of the prompts; only labels under the same one are comparable.
    pub prompt_version: Option<String>,
    /// The name of the strategy.
    pub strategy: Option<String>,
    /// The name of the task.
    pub task: Option<String>,
}

impl Origin {
    /// As the metadata says; `settings` are those of the bucket, where it has its own.
    pub fn new(metadata: &Metadata, settings: Option<&Json>) -> Self {
        let setting = |name: &str| {
            let own = settings.and_then(|own| own.get(name));
            let found = own.or_else(|| metadata.settings.get(name))?;
            found.as_str().map(str::to_owned)
        };
        let answered_by = settings.is_none().then(|| setting("answered_by")).flatten();
        // Settings hold every task but the built-in one.
        let task = match settings {
            None => Some(metadata.task_name.clone()),
            Some(own) => match own.get("task") {
                None => Some(Task::built_in().name.clone()),
                Some(task) => task.get("name").and_then(Json::as_str).map(str::to_owned),
            },
        };
        Self {
            task,
            model: answered_by.or_else(|| setting("model")),
            prompt_version: setting("prompt_version"),
            strategy: setting("strategy"),
        }
    }
}

/// A row to be exported.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Its label and details.
    pub row: &'a Row,
    /// What was said in it, where that is exported.
    pub said: Option<&'a Said>,
    /// How the labels of its bucket came about.
    pub origin: &'a Origin,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A label: 0 or 1.
    Int8,
    Int32,
    Int64,
    Float,
    Bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<f64> for Cell<'_> {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Cell<'_> {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    #[cfg_attr(
        not(feature = "parquet"),
        expect(dead_code, reason = "only Parquet has types")
    )]
    pub(super) kind: Kind,
    pub(super) cell: for<'a> fn(&Turn<'a>) -> Cell<'a>,
}

const fn column(name: &'static str, kind: Kind, cell: for<'a> fn(&Turn<'a>) -> Cell<'a>) -> Column {
    Column { name, kind, cell }
}

/// A column from the details; `null` where there are none.
macro_rules! detail {
    ($name:literal, $kind:expr, |$details:ident| $value:expr) => {
        column($name, $kind, |turn| {
            let details = turn.row.details.as_ref();
            details.and_then(|$details| $value).into()
        })
    };
}

const COLUMNS: &[Column] = &[
    column("conversationId", Kind::Text, |turn| {
        turn.row.label.conversation_id.as_str().into()
    }),
    column("messageId", Kind::Text, |turn| {
        turn.row.label.message_id.as_str().into()
    }),
    column("split", Kind::Text, |turn| {
        turn.row.label.split.as_deref().into()
    }),
    column("bucket", Kind::Text, |turn| {
        turn.row.label.bucket.as_deref().into()
    }),
    detail!("position", Kind::Int64, |details| i64::try_from(
        details.position?
    )
    .ok()),
    detail!("turn", Kind::Int32, |details| details.turn.map(i64::from)),
    detail!("turn_index", Kind::Int64, |details| details.turn_index),
    column("hard_label", Kind::Int8, |turn| {
        turn.row.label.hard_label.map(i64::from).into()
    }),
    column("soft_label", Kind::Float, |turn| {
        turn.row.label.soft_label.into()
    }),
    detail!("low", Kind::Float, |details| details.low),
    detail!("high", Kind::Float, |details| details.high),
    detail!("p0", Kind::Float, |details| details.p0),
    detail!("p1", Kind::Float, |details| details.p1),
    detail!("mass", Kind::Float, |details| details.mass),
    detail!("censored", Kind::Bool, |details| Some(details.censored)),
    detail!("low_mass", Kind::Bool, |details| Some(details.low_mass)),
    detail!("contradicting", Kind::Bool, |details| Some(
        details.contradicting
    )),
    detail!("cut", Kind::Int32, |details| Some(i64::from(details.cut))),
    detail!("reused", Kind::Bool, |details| Some(details.reused)),
    column("error_code", Kind::Text, |turn| {
        let error = turn.row.label.labeling_error.as_ref();
        error.map(|error| error.code.as_str()).into()
    }),
    column("error_message", Kind::Text, |turn| {
        let error = turn.row.label.labeling_error.as_ref();
        error.map(|error| error.message.as_str()).into()
    }),
    column("rationale", Kind::Text, |turn| {
        turn.row.label.rationale.as_deref().into()
    }),
    column("model", Kind::Text, |turn| {
        turn.origin.model.as_deref().into()
    }),
    column("task", Kind::Text, |turn| {
        turn.origin.task.as_deref().into()
    }),
    column("strategy", Kind::Text, |turn| {
        turn.origin.strategy.as_deref().into()
    }),
    column("prompt_version", Kind::Text, |turn| {
        turn.origin.prompt_version.as_deref().into()
    }),
];

const TEXT: Column = column("message", Kind::Text, |turn| {
    turn.said.map(|said| said.message.as_str()).into()
});

const CONTEXT: Column = column("context", Kind::Text, |turn| match turn.said {
    Some(said) => Cell::Text(context(said).to_string().into()),
    None => Cell::Null,
});

/// The turns before, as chat messages.
pub(super) fn context(said: &Said) -> Json {
    let messages = said.context.iter().flat_map(|(user, model)| {
        let user = Some(json!({"role": "user", "content": user}));
        let model = model
            .as_ref()
            .map(|model| json!({"role": "assistant", "content": model}));
        user.into_iter().chain(model)
    });
    messages.collect()
}

/// The columns of an export.
pub(super) fn columns(options: Options) -> Vec<Column> {
    let text = options.with_text.then_some(TEXT);
    let context = options.with_context.then_some(CONTEXT);
    let columns = COLUMNS.iter().copied();
    columns.chain(text).chain(context).collect()
}
