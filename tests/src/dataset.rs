//! RAW bucket files that look like exported ones: for tests, demos and measurements at real sizes.
//!
//! About 29 KB a conversation, most of it in fields that labelling ignores; developer chat in
//! several languages with pasted code; two-space indentation; everything beyond ASCII escaped.
//! The same options give the same bytes, and a conversation depends on nothing but the options and
//! its number. Files of any size are written as a stream.
//!
//! ```
//! use softlabel_doubles::dataset::{self, Options, Size};
//!
//! let mut file = Vec::new();
//! let options = Options { size: Size::Conversations(3), ..Options::default() };
//! let written = dataset::write(&options, &mut file).unwrap();
//! assert_eq!(written.conversations, 3);
//! assert_eq!(written.bytes, file.len() as u64);
//! ```

use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::RangeInclusive;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::ser::Serializer;

mod phrases;
mod python;

use python::{LONE_SURROGATE, PythonFormat};

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Another seed, other conversations.
    pub seed: u64,
    /// How much of it.
    pub size: Size,
    /// How it is laid out.
    pub layout: Layout,
    /// How many turns a conversation has. 8 on average by default.
    pub turns: RangeInclusive<u32>,
    /// The share of user messages, 0 to 1, that are one of a few which occur again and again. The
    /// others are all different. 0 by default.
    pub duplicates: f64,
    /// The share of turns, 0 to 1, that have one of the known faults: an empty message, no
    /// answer, no id, a gap in the numbering, a lone surrogate. 0 by default.
    pub dirt: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            size: Size::Conversations(100),
            layout: Layout::Indented,
            turns: 5..=11,
            duplicates: 0.0,
            dirt: 0.0,
        }
    }
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// After this many conversations.
    Conversations(u64),
    /// After the conversation with which the file reaches this many bytes.
    Bytes(u64),
}

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// An array with two-space indentation, as exported.
    Indented,
    /// An array without any blanks.
    Compact,
    /// One conversation a line, as Python writes it.
    Lines,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// How many conversations.
    pub conversations: u64,
    /// How many turns they have together.
    pub turns: u64,
    /// How many of these turns have an empty or blank user message.
    pub empty_messages: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// Writes a RAW bucket file.
///
/// # Errors
///
/// Those of `out`.
pub fn write(options: &Options, out: impl Write) -> io::Result<Written> {
    let mut out = Counted {
        out: io::BufWriter::with_capacity(1 << 16, out),
        bytes: 0,
    };
    let mut written = Written::default();
    let array = options.layout != Layout::Lines;
    if array {
        out.write_all(b"[")?;
    }
    loop {
        let enough = match options.size {
            Size::Conversations(count) => written.conversations >= count,
            Size::Bytes(bytes) => out.bytes >= bytes,
        };
        if enough {
            break;
        }
        out.write_all(match options.layout {
            _ if written.conversations == 0 && options.layout != Layout::Indented => b"",
            Layout::Indented if written.conversations == 0 => b"\n  ",
            Layout::Indented => b",\n  ",
            Layout::Compact => b",",
            Layout::Lines => b"",
        })?;
        let conversation = Conversation::generate(options, written.conversations);
        let format = PythonFormat {
            layout: options.layout,
            depth: 1,
            filled: false,
        };
        conversation.serialize(&mut Serializer::with_formatter(&mut out, format))?;
        if !array {
            out.write_all(b"\n")?;
        }
        written.conversations += 1;
        written.turns += conversation.turns_array.len() as u64;
        let messages = conversation
            .turns_array
            .iter()
            .map(|turn| &turn.user_message);
        written.empty_messages += messages.filter(|text| text.trim().is_empty()).count() as u64;
    }
    if array {
        let indented = options.layout == Layout::Indented && written.conversations > 0;
        out.write_all(if indented { b"\n]" } else { b"]" })?;
    }
    out.out.flush()?;
    Ok(Written {
        bytes: out.bytes,
        ..written
    })
}

struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conversation {
    conversation_id: String,
    user_name: String,
    bucket: &'static str,
    turn_count: u32,
    captured_turn_count: u32,
    turns_array: Vec<Turn>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Turn {
    turn_index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    user_message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_message: Option<String>,
    llm_calls: Vec<LlmCall>,
    turn_summary: TurnSummary,
    tools: Tools,
    num_requests: u32,
    turn_duration_ms: u32,
}

#[derive(Serialize)]
struct LlmCall {
    #[serde(rename = "callIndex")]
    call_index: u32,
    model: &'static str,
    #[serde(rename = "actual_API")]
    actual_api: ApiUsage,
    #[serde(rename = "estimates_Copilot")]
    estimates_copilot: Estimates,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiUsage {
    prompt_tokens: u32,
    completion_tokens: u32,
    cached_tokens: u32,
    total_tokens: u32,
    time_to_first_token_ms: u32,
    finish_reason: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Estimates {
    prompt_tokens: u32,
    history_share: f64,
    tool_definition_tokens: u32,
    premium_requests: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TurnSummary {
    total_prompt_tokens: u32,
    total_completion_tokens: u32,
    max_context_tokens: u32,
    models_used: Vec<&'static str>,
    had_error: bool,
    edited_files: Vec<String>,
}

#[derive(Serialize)]
struct Tools {
    definitions: ToolDefinitions,
    invocations: ToolInvocations,
}

#[derive(Serialize)]
struct ToolDefinitions {
    names: String,
    count: usize,
}

#[derive(Serialize)]
struct ToolInvocations {
    #[serde(rename = "withFrequency")]
    with_frequency: String,
}

type Dice = Xoshiro256PlusPlus;

fn pick<T: Copy>(dice: &mut Dice, choices: &[T]) -> T {
    *choices
        .choose(dice)
        .expect("the lists of phrases are not empty")
}

fn uuid(dice: &mut Dice) -> String {
    let bits: u128 = dice.random();
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-4{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

impl Conversation {
    fn generate(options: &Options, number: u64) -> Self {
        // The multiplier keeps the sequences of neighbouring seeds and numbers apart.
        let mixed = options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
        let mut dice = Dice::seed_from_u64(mixed);
        let count = dice.random_range(options.turns.clone());
        let language = pick(&mut dice, phrases::LANGUAGES);
        let mut index = 0;
        let mut turns = Vec::new();
        for turn in 0..count {
            index += 1;
            let unique = number * 1000 + u64::from(turn);
            let mut generated = Turn::generate(&mut dice, options, language, unique);
            if dice.random_bool(options.dirt) {
                generated.soil(&mut dice, &mut index);
            }
            generated.turn_index = index;
            turns.push(generated);
        }
        Self {
            conversation_id: uuid(&mut dice),
            user_name: format!(
                "{}{}",
                pick(&mut dice, phrases::USERS),
                dice.random_range(10..99)
            ),
            bucket: match count {
                0..=5 => "short",
                6..=10 => "medium",
                _ => "long",
            },
            turn_count: index,
            captured_turn_count: count,
            turns_array: turns,
        }
    }
}

impl Turn {
    fn generate(
        dice: &mut Dice,
        options: &Options,
        language: &phrases::Language,
        unique: u64,
    ) -> Self {
        let repeated = dice.random_bool(options.duplicates);
        let user_message = if repeated {
            pick(dice, phrases::REPEATED).to_owned()
        } else {
            ask(dice, language, unique)
        };
        let calls: Vec<_> = (1..=dice.random_range(1..=2))
            .map(|n| LlmCall::roll(dice, n))
            .collect();
        let tools = pick(dice, &[38_usize, 41, 44]).min(phrases::TOOLS.len());
        let names: Vec<_> = phrases::TOOLS.iter().take(tools).copied().collect();
        let used: serde_json::Map<String, serde_json::Value> = (0..dice.random_range(0..4))
            .map(|_| {
                (
                    pick(dice, phrases::TOOLS).to_owned(),
                    dice.random_range(1..9).into(),
                )
            })
            .collect();
        Self {
            turn_index: 0,
            message_id: Some(uuid(dice)),
            user_message,
            model_message: Some(answer(dice, language)),
            turn_summary: TurnSummary {
                total_prompt_tokens: calls.iter().map(|call| call.actual_api.prompt_tokens).sum(),
                total_completion_tokens: dice.random_range(80..4000),
                max_context_tokens: 128_000,
                models_used: calls.iter().map(|call| call.model).take(1).collect(),
                had_error: dice.random_bool(0.03),
                edited_files: (0..dice.random_range(0..3)).map(|_| file(dice)).collect(),
            },
            num_requests: calls.len() as u32,
            llm_calls: calls,
            tools: Tools {
                definitions: ToolDefinitions {
                    names: serde_json::to_string(&names).expect("names are strings"),
                    count: names.len(),
                },
                invocations: ToolInvocations {
                    with_frequency: serde_json::to_string(&used).expect("keys are strings"),
                },
            },
            turn_duration_ms: dice.random_range(900..180_000),
        }
    }

    fn soil(&mut self, dice: &mut Dice, index: &mut u32) {
        match dice.random_range(0..5) {
            0 => self.user_message = pick(dice, &["", " ", "\n\t"]).to_owned(),
            1 => self.model_message = None,
            2 => self.message_id = None,
            3 => *index += 2,
            // Written as half a surrogate pair.
            _ => self.user_message.push(LONE_SURROGATE),
        }
    }
}

impl LlmCall {
    fn roll(dice: &mut Dice, call_index: u32) -> Self {
        let prompt_tokens = dice.random_range(2_000..90_000);
        let completion_tokens = dice.random_range(20..2_000);
        Self {
            call_index,
            model: pick(dice, phrases::MODELS),
            actual_api: ApiUsage {
                prompt_tokens,
                completion_tokens,
                cached_tokens: prompt_tokens / 2,
                total_tokens: prompt_tokens + completion_tokens,
                time_to_first_token_ms: dice.random_range(150..9_000),
                finish_reason: pick(dice, &["stop", "tool_calls", "length"]),
            },
            estimates_copilot: Estimates {
                prompt_tokens: prompt_tokens / 10 * 9,
                history_share: f64::from(dice.random_range(0..1000)) / 1000.0,
                tool_definition_tokens: dice.random_range(3_000..9_000),
                premium_requests: pick(dice, &[0.0, 0.33, 1.0]),
            },
        }
    }
}

fn file(dice: &mut Dice) -> String {
    let stem = pick(dice, phrases::NOUNS);
    format!(
        "src/{}/{stem}.{}",
        pick(dice, phrases::NOUNS),
        pick(dice, phrases::EXTENSIONS)
    )
}

/// A question that no other turn asks: it names something by the turn's own number.
fn ask(dice: &mut Dice, language: &phrases::Language, unique: u64) -> String {
    let mut text = phrase(dice, language.questions);
    let noun = pick(dice, phrases::NOUNS);
    _ = write!(text, " ({noun}_{unique})");
    for _ in 0..dice.random_range(0..3) {
        text.push(' ');
        text.push_str(&phrase(dice, language.remarks));
    }
    if dice.random_bool(0.35) {
        paste(dice, &mut text, &[""]);
    }
    text
}

fn answer(dice: &mut Dice, language: &phrases::Language) -> String {
    let mut text = String::new();
    for paragraph in 0..dice.random_range(1..=4) {
        if paragraph > 0 {
            text.push_str("\n\n");
        }
        for _ in 0..dice.random_range(1..=4) {
            text.push_str(&phrase(dice, language.remarks));
            text.push(' ');
        }
        if dice.random_bool(0.4) {
            paste(dice, &mut text, &["rust", "python", "ts", ""]);
        }
    }
    text
}

fn paste(dice: &mut Dice, text: &mut String, fences: &[&str]) {
    _ = write!(text, "\n```{}\n", pick(dice, fences));
    for _ in 0..dice.random_range(1..=2) {
        text.push_str(&phrase(dice, phrases::CODE));
        text.push('\n');
    }
    text.push_str("```");
}

/// One of the phrases, with a word in the place of each `%`.
fn phrase(dice: &mut Dice, choices: &[&str]) -> String {
    let mut parts = pick(dice, choices).split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(pick(dice, phrases::NOUNS));
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(options: &Options) -> (Vec<u8>, Written) {
        let mut file = Vec::new();
        let written = write(options, &mut file).unwrap();
        (file, written)
    }

    #[test]
    fn looks_like_an_export() {
        let options = Options {
            size: Size::Conversations(200),
            ..Options::default()
        };
        let (file, written) = generate(&options);
        assert!(file.starts_with(b"[\n  {\n    \"conversationId\": \""));
        assert!(file.ends_with(b"\n  }\n]"));
        assert!(file.is_ascii());
        let conversations: Vec<serde_json::Value> = serde_json::from_slice(&file).unwrap();
        assert_eq!(conversations.len(), 200);
        let average = written.bytes / written.conversations;
        assert!(
            (26_000..32_000).contains(&average),
            "{average} bytes a conversation"
        );
        let turns = written.turns as f64 / written.conversations as f64;
        assert!((7.5..8.5).contains(&turns), "{turns} turns a conversation");
    }

    #[test]
    fn layouts_hold_the_same() {
        let options = Options {
            dirt: 0.0,
            duplicates: 0.2,
            ..Options::default()
        };
        let parse = |layout| {
            let (file, _) = generate(&Options {
                layout,
                ..options.clone()
            });
            if layout == Layout::Lines {
                let lines = serde_json::Deserializer::from_slice(&file).into_iter();
                lines
                    .collect::<Result<Vec<serde_json::Value>, _>>()
                    .unwrap()
            } else {
                serde_json::from_slice(&file).unwrap()
            }
        };
        let indented = parse(Layout::Indented);
        assert_eq!(indented, parse(Layout::Compact));
        assert_eq!(indented, parse(Layout::Lines));
    }

    #[test]
    fn user_messages_differ_unless_asked_otherwise() {
        let messages = |duplicates| {
            let (file, _) = generate(&Options {
                duplicates,
                ..Options::default()
            });
            let file: Vec<serde_json::Value> = serde_json::from_slice(&file).unwrap();
            let turns = file
                .iter()
                .flat_map(|it| it["turnsArray"].as_array().unwrap());
            let all: Vec<_> = turns.map(|turn| turn["userMessage"].to_string()).collect();
            let different: std::collections::HashSet<_> = all.iter().collect();
            (all.len(), different.len())
        };
        let (all, different) = messages(0.0);
        assert_eq!(all, different);
        let (all, different) = messages(0.5);
        assert!(different < all * 6 / 10);
    }

    #[test]
    fn stops_at_a_size_and_repeats_itself() {
        let options = Options {
            size: Size::Bytes(300_000),
            dirt: 0.3,
            ..Options::default()
        };
        let (file, written) = generate(&options);
        assert!((300_000..400_000).contains(&file.len()));
        assert!(written.empty_messages > 0);
        assert_eq!(file, generate(&options).0);
        assert_ne!(file, generate(&Options { seed: 2, ..options }).0);
    }
}
