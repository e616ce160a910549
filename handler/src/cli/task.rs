//! `softlabel task`: the questions that can be asked about messages.

use super::table::{Table, number};
use super::{Exit, print};
use crate::config::{TaskCheckArgs, TaskCommand, UsageError, read_task};
use crate::dataset::figures::Tokens;
use crate::labeling::cut::TokenCounter;
use crate::labeling::label::Label;
use crate::labeling::prompt::{Mark, Prompts, Sizes};
use crate::labeling::strategy::{Input, UserMessageOnly};
use crate::labeling::task::{BUILT_IN, SCHEMA, Task};
use crate::money::Usd;
use crate::teacher::model::Price;
use crate::teacher::tokens::ENVELOPE;
use crate::text::visible;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use std::sync::Arc;

/// The number of turns that costs are given for.
const TURNS: u64 = 1000;

/// The fewest common tokens at the beginning of prompts from which the service caches them,
const CACHED_FROM: u64 = 1024;

/// and the size of the blocks in which it caches tokens beyond that.
const CACHED_BLOCK: u64 = 128;

/// Shows, checks or describes tasks. Nothing is sent.
///
/// # Errors
/// If the file is no task.
pub(super) fn run(command: &TaskCommand) -> anyhow::Result<Exit> {
    let text = match command {
        TaskCommand::Show => BUILT_IN.to_owned(),
        TaskCommand::Schema => SCHEMA.to_owned(),
        TaskCommand::Check(args) => check(args)?,
    };
    print(&text)?;
    Ok(Exit::Complete)
}

/// What `task check` reports about a task.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    name: String,
    prompt_version: String,
    built_in: bool,
    labels: [String; 2],
    rules: usize,
    examples: usize,
    model: String,
    encoding: &'static str,
    /// Of "0" and of "1"; `None` where the tokenizer is not known.
    tokens_of_labels: Option<[usize; 2]>,
    /// Of a message.
    typical_tokens: u32,
    classification: Cost,
    rationale: Cost,
}

/// What the calls of one kind take.
#[derive(Debug, Serialize)]
struct Cost {
    /// Tokens that all its prompts begin with.
    constant_tokens: u64,
    prompt_tokens: u64,
    answer_tokens: u64,
    /// For a thousand turns, as all of the following.
    charged_tokens: u64,
    /// At most; `None` where no price is known.
    usd: Option<Usd>,
    /// Whether the constant beginning is long enough to be cached.
    cached: bool,
    cached_usd_saved: Option<Usd>,
    /// Tokens that the constant beginning lacks to be cached; 0 if it is long enough.
    tokens_to_caching: u64,
    charged_tokens_more_if_cached: u64,
    usd_if_cached: Option<Usd>,
}

fn check(args: &TaskCheckArgs) -> anyhow::Result<String> {
    let task = Arc::new(read_task(&args.file)?);
    let encoding = args.service.encoding();
    let of_labels = || Label::BOTH.map(|label| encoding.count(&u8::from(label).to_string()));
    let of_labels = encoding.label_ids().map(|_| of_labels());
    if of_labels.is_some_and(|counts| counts != [1, 1]) {
        return Err(UsageError(format!(
            "\"0\" and \"1\" are not one token each in {}; use another --encoding",
            encoding.as_str()
        ))
        .into());
    }
    let report = report(args, &task, of_labels);
    Ok(match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&report)?),
        false => render(&report),
    })
}

fn report(args: &TaskCheckArgs, task: &Arc<Task>, tokens_of_labels: Option<[usize; 2]>) -> Report {
    let service = &args.service;
    let encoding = service.encoding();
    let prompts = Prompts::of(task);
    let sizes = Sizes::new(Arc::new(encoding), &prompts);
    let nothing = Input::new(&UserMessageOnly);
    let mark = Mark::fresh(&mut StdRng::seed_from_u64(0), &nothing);
    let price = service.price();
    let cost = |system: &str, prompt: usize, charged_answer: u32, billed_answer: u32| {
        let prompt = prompt as u64 + u64::from(args.typical_tokens) + u64::from(ENVELOPE);
        let call = Call {
            constant: encoding.count(system) as u64,
            prompt,
            charged: u64::from(charged_answer),
            billed: u64::from(billed_answer),
        };
        call.cost(price)
    };
    let profile = service.profile();
    let label = prompts.classification(&nothing, &mark);
    let why = prompts.rationale(&nothing, Label::Zero, &mark);
    let section = sizes.a_section(&mark);
    Report {
        file: args.file.display().to_string(),
        name: task.name.clone(),
        prompt_version: task.version(),
        built_in: task.is_built_in(),
        labels: Label::BOTH.map(|label| task.meaning(label).to_owned()),
        rules: task.rules.len(),
        examples: task.examples.len(),
        model: service.model.clone(),
        encoding: encoding.as_str(),
        tokens_of_labels,
        typical_tokens: args.typical_tokens,
        classification: cost(
            &label.system,
            sizes.classification(&nothing, &mark) + section,
            profile.classification_tokens,
            1,
        ),
        rationale: cost(
            &why.system,
            sizes.rationale(&nothing, &mark) + section,
            prompts.rationale_tokens(),
            prompts.rationale_tokens(),
        ),
    }
}

/// The tokens of a call.
#[derive(Clone, Copy)]
struct Call {
    constant: u64,
    prompt: u64,
    /// Of the answer, as the quota is charged.
    charged: u64,
    /// Of the answer, at most, as it is billed.
    billed: u64,
}

impl Call {
    fn usd(self, price: Price, cached: u64) -> Usd {
        price.of(Tokens {
            calls: TURNS,
            prompt: TURNS * self.prompt,
            cached: TURNS * cached,
            completion: TURNS * self.billed,
            ..Tokens::default()
        })
    }

    /// Tokens of its constant beginning that are cached.
    fn cached(self) -> u64 {
        match self.constant {
            CACHED_FROM.. => self.constant - self.constant % CACHED_BLOCK,
            _ => 0,
        }
    }

    fn cost(self, price: Option<Price>) -> Cost {
        let more = CACHED_FROM.saturating_sub(self.constant);
        let longer = Self {
            constant: self.constant + more,
            prompt: self.prompt + more,
            ..self
        };
        let usd = price.map(|price| self.usd(price, 0));
        let with_cache = price.map(|price| longer.usd(price, longer.cached()));
        Cost {
            constant_tokens: self.constant,
            prompt_tokens: self.prompt,
            answer_tokens: self.charged,
            charged_tokens: TURNS * (self.prompt + self.charged),
            usd,
            cached: more == 0,
            cached_usd_saved: usd
                .zip(with_cache)
                .filter(|_| more == 0)
                .map(|(usd, cached)| usd.saturating_sub(cached)),
            tokens_to_caching: more,
            charged_tokens_more_if_cached: TURNS * more,
            usd_if_cached: with_cache,
        }
    }
}

fn render(report: &Report) -> String {
    let mut table = Table::default();
    table.row("task", &report.name);
    let version = match report.built_in {
        true => format!("{}, the built-in task", report.prompt_version),
        false => report.prompt_version.clone(),
    };
    table.row("prompt version", version);
    for (number, meaning) in report.labels.iter().enumerate() {
        table.row(format!("  {number}"), meaning);
    }
    table.row(
        "rules, examples",
        format!("{}, {}", report.rules, report.examples),
    );
    let Report {
        model, encoding, ..
    } = report;
    let whose = match report.tokens_of_labels {
        Some(_) => format!("of {model} ({encoding}), where \"0\" and \"1\" are one each"),
        None => format!("estimates: the tokenizer of {model} is not known (--encoding)"),
    };
    let message = number(u64::from(report.typical_tokens));
    table.row("tokens", format!("{whose}; a message counts as {message}"));
    for (name, cost) in [
        ("label", &report.classification),
        ("rationale", &report.rationale),
    ] {
        table.row(
            name,
            format!(
                "{} prompt tokens, {} of them the same in every call",
                number(cost.prompt_tokens),
                number(cost.constant_tokens)
            ),
        );
        table.row(
            "  1,000 turns",
            format!(
                "{} tokens charged to the quota, with {} for the answer; at most {}",
                number(cost.charged_tokens),
                cost.answer_tokens,
                usd(cost.usd)
            ),
        );
        table.row("  prompt cache", caching(cost));
    }
    format!(
        "{} is a task. Nothing was sent.\n\n{}",
        visible(&report.file),
        table.render()
    )
}

fn usd(usd: Option<Usd>) -> String {
    match usd {
        Some(usd) => format!("{usd:.4} USD"),
        None => "an unknown amount (set --price-input and --price-output)".into(),
    }
}

/// Whether the beginning of the prompts is cached, and what that saves or would.
fn caching(cost: &Cost) -> String {
    if cost.cached {
        let saves = match cost.cached_usd_saved {
            Some(saved) => format!("saves up to {saved:.4} USD"),
            None => "saves money".into(),
        };
        return format!(
            "the constant beginning reaches the {} tokens from which the service caches it, which \
             {saves}, but no quota",
            number(CACHED_FROM)
        );
    }
    let mut text = format!(
        "the constant beginning is {} tokens short of the {} from which the service caches it; \
         rules or examples that add them charge the quota {} tokens more",
        number(cost.tokens_to_caching),
        number(CACHED_FROM),
        number(cost.charged_tokens_more_if_cached)
    );
    if let Some((now, then)) = cost.usd.zip(cost.usd_if_cached) {
        let then = match then < now {
            true => format!(", and save up to {:.4} USD", now.saturating_sub(then)),
            false => format!(", and cost {:.4} USD more", then.saturating_sub(now)),
        };
        text.push_str(&then);
    }
    text
}
