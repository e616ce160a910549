//! Feeds damaged files to the scanner and damaged answers of the service to the teacher, by turns, and
//! checks what must hold for each of them.
//!
//! `cargo xtask fuzz --seconds 60 [--seed N] [--cases N]`
//!
//! A failure prints the seed and the number of the case, writes the file or answer that caused it to
//! `target/` and ends with 1. The same seed gives the same cases.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a fuzzer reports by panicking and printing"
)]

mod answers;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rand::rngs::Xoshiro256PlusPlus as Dice;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use softlabel::dataset::conversation::{Conversation, count_turns};
use softlabel::dataset::scanner::{Format, Found, ScanError, Scanner};
use softlabel_doubles::dataset::{self, Layout, Options, Size};

#[derive(Parser)]
struct Arguments {
    /// How long to go on.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many cases to go on for at most.
    #[arg(long)]
    cases: Option<u64>,
    /// Repeats the cases of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| rand::rng().random());
    println!("seed {seed}");
    let stock = Stock::new(seed);
    let start = Instant::now();
    let limit = Duration::from_secs(arguments.seconds);
    let mut case = 0_u64;
    let mut bytes = 0_u64;
    while start.elapsed() < limit && arguments.cases.is_none_or(|cases| case < cases) {
        let mut dice = Dice::seed_from_u64(seed ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (input, result) = if case.is_multiple_of(2) {
            let file = stock.file(&mut dice);
            let result = catch_unwind(AssertUnwindSafe(|| check(&file, &mut dice)));
            (file.bytes, result)
        } else {
            let answer = answers::Sent::random(&mut dice);
            let result = catch_unwind(AssertUnwindSafe(|| answer.check()));
            (answer.bytes(), result)
        };
        bytes += input.len() as u64;
        if result.is_err() {
            let name = format!("fuzz_scanner-{seed}-{case}.bin");
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../target")
                .join(name);
            std::fs::write(&path, &input).expect("target/ can be written");
            eprintln!(
                "seed {seed}, case {case} failed; the input is {}",
                path.display()
            );
            return ExitCode::FAILURE;
        }
        case += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{case} cases in {seconds:.1} s, {:.0} cases/s, {:.1} MB/s",
        case as f64 / seconds,
        bytes as f64 / seconds / 1e6,
    );
    ExitCode::SUCCESS
}

/// Conversations to build files from, in each layout.
struct Stock {
    layouts: [(Layout, Vec<Vec<u8>>); 3],
}

struct File {
    bytes: Vec<u8>,
    /// Where conversations stand that nothing was done to, if the file as a whole was left alone.
    intact: Vec<Range<u64>>,
    /// Whether nothing at all was done to it.
    clean: bool,
    layout: Layout,
}

impl Stock {
    fn new(seed: u64) -> Self {
        let layouts = [Layout::Indented, Layout::Compact, Layout::Lines].map(|layout| {
            let mut all = vec![
                br#"{"conversationId": "a", "turnsArray": []}"#.to_vec(),
                br#"{"conversationId":1,"turnsArray":[{"userMessage":"{\"turnsArray\":[]}"},{}]}"#
                    .to_vec(),
            ];
            for turns in [1..=1, 2..=3] {
                let size = Size::Conversations(6);
                let options = Options {
                    seed,
                    size,
                    layout,
                    turns,
                    dirt: 0.5,
                    duplicates: 0.2,
                };
                let mut file = Vec::new();
                dataset::write(&options, &mut file).expect("memory can be written");
                let mut scanner = Scanner::new(count_turns);
                scanner.push(&file);
                scanner.finish();
                while let Some(found) = scanner.next() {
                    match found {
                        Found::Conversation { bytes, .. } => all.push(bytes.to_vec()),
                        Found::Broken { reason, .. } => panic!("{layout:?}: {reason}"),
                    }
                }
            }
            (layout, all)
        });
        Self { layouts }
    }

    fn file(&self, dice: &mut Dice) -> File {
        let (layout, stock) = pick(dice, &self.layouts);
        let (start, between, end): (&[u8], &[u8], &[u8]) = match layout {
            Layout::Indented => (b"[\n  ", b",\n  ", b"\n]\n"),
            Layout::Compact => (b"[", b",", b"]"),
            Layout::Lines => (b"", *pick(dice, LINE_ENDS), b"\n"),
        };
        let share = *pick(dice, &[0.0, 0.1, 0.5, 1.0]);
        let count = dice.random_range(1..8);
        let mut bytes = start.to_vec();
        let mut intact = Vec::new();
        for number in 0..count {
            if number > 0 {
                bytes.extend_from_slice(between);
            }
            // Small ones more often: they bring more damage together.
            let small = dice.random_bool(0.5);
            let mut conversation = if small {
                pick(dice, &stock[..2])
            } else {
                pick(dice, stock)
            }
            .clone();
            let at = bytes.len() as u64;
            if dice.random_bool(share) {
                for _ in 0..dice.random_range(1..4) {
                    damage(dice, &mut conversation);
                }
                bytes.extend_from_slice(&conversation);
            } else {
                bytes.extend_from_slice(&conversation);
                intact.push(at..bytes.len() as u64);
            }
        }
        bytes.extend_from_slice(end);
        if *layout == Layout::Lines && bytes.first() != Some(&b'{') {
            // The first byte tells the format.
            intact.clear();
        }
        let mut clean = share == 0.0;
        if dice.random_bool(0.4) {
            clean = false;
            intact.clear();
            for _ in 0..dice.random_range(1..5) {
                mangle(dice, &mut bytes);
            }
        }
        File {
            bytes,
            intact,
            clean,
            layout: *layout,
        }
    }
}

/// What may stand between two conversations outside of an array.
const LINE_ENDS: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b",\n",
    b"\n\xef\xbb\xbf",
    b"\n\0\0\0\n",
];

pub(crate) fn pick<'a, T>(dice: &mut Dice, choices: &'a [T]) -> &'a T {
    choices.choose(dice).expect("there are choices")
}

/// What goes wrong inside one conversation.
pub(crate) fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.random_range(0..bytes.len());
    match dice.random_range(0..6) {
        4 => bytes.truncate(at.max(1)),
        5 => {
            let to = (at + dice.random_range(1..100)).min(bytes.len());
            bytes[at..to].fill(0);
        }
        0 => bytes[at] = dice.random(),
        1 => bytes[at] ^= 1 << dice.random_range(0..8),
        2 => _ = bytes.remove(at),
        _ => bytes.insert(at, *pick(dice, b"\"\"\"\\\n\n{}[],:\0\x1f")),
    }
}

/// What goes wrong with a file as a whole.
fn mangle(dice: &mut Dice, bytes: &mut Vec<u8>) {
    const PIECES: &[&[u8]] = &[
        b"\n  {",
        b"{\"conversationId\"",
        b"{ \n\"conversationId\" :[",
        b"\"turnsArray\":[]}",
        b"]",
        b"null,",
        b"\xef\xbb\xbf",
        b"\\\"",
        b"},{",
        b"]}",
        b"\xff\xfe",
        b"\0\0\0\0\0\0\0\0",
        b"}{",
        b"\r",
        b"NaN",
    ];
    let at = dice.random_range(0..=bytes.len());
    let to = (at + dice.random_range(0..200)).min(bytes.len());
    match dice.random_range(0..8) {
        0 => bytes.truncate(at),
        1 => _ = bytes.drain(..at),
        2 => _ = bytes.drain(at..to),
        3 => {
            let piece = bytes[at..to].to_vec();
            let to = dice.random_range(0..=bytes.len());
            bytes.splice(to..to, piece);
        }
        4 => _ = bytes.splice(at..at, pick(dice, PIECES).iter().copied()),
        5 => {
            let noise: Vec<u8> = (at..to).map(|_| dice.random()).collect();
            bytes.splice(at..to, noise);
        }
        6 => {
            let soup = b"{}[]\":,\\\n  a1";
            let soup: Vec<u8> = (at..to).map(|_| *pick(dice, soup)).collect();
            bytes.splice(at..at, soup);
        }
        _ => {
            let piece = pick(dice, PIECES).repeat(dice.random_range(1..40));
            bytes.splice(at..at, piece);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Scan {
    found: Vec<(Range<u64>, Result<u32, String>)>,
    outcome: Result<Format, ScanError>,
}

fn scan(file: &[u8], max: usize, mut block: impl FnMut() -> usize) -> (Scan, u64) {
    let mut scanner = Scanner::new(count_turns).with_max_conversation_bytes(max);
    let mut found = Vec::new();
    let mut rest = file;
    loop {
        while let Some(one) = scanner.next() {
            let count = found.len() as u64;
            found.push(match one {
                Found::Conversation {
                    number,
                    range,
                    bytes,
                    value,
                } => {
                    assert_eq!(number, count);
                    assert_eq!(bytes, slice(file, &range));
                    (range, Ok(value))
                }
                Found::Broken {
                    number,
                    range,
                    reason,
                } => {
                    assert_eq!(number, count);
                    (range, Err(reason))
                }
            });
        }
        if rest.is_empty() {
            break;
        }
        let (head, tail) = rest.split_at(block().clamp(1, rest.len()));
        scanner.push(head);
        rest = tail;
        if rest.is_empty() {
            scanner.finish();
        }
    }
    let outcome = scanner.outcome();
    (Scan { found, outcome }, scanner.examined())
}

fn slice<'a>(file: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    &file[range.start as usize..range.end as usize]
}

fn check(file: &File, dice: &mut Dice) {
    let bytes = &file.bytes;
    let max = if file.intact.is_empty() && dice.random_bool(0.3) {
        dice.random_range(1..5000)
    } else {
        1 << 26
    };
    let (whole, examined) = scan(bytes, max, || usize::MAX);
    assert!(
        examined <= 12 * bytes.len() as u64 + 10_000,
        "{examined} of {}",
        bytes.len()
    );

    let largest = *pick(dice, &[1, 7, 100, 10_000]);
    let (split, _) = scan(bytes, max, || dice.random_range(1..=largest));
    assert_eq!(whole, split, "depends on the blocks");

    let mut end = 0;
    for (range, value) in &whole.found {
        assert!(
            end <= range.start && range.start < range.end,
            "{range:?} after {end}"
        );
        end = range.end;
        let text = slice(bytes, range);
        let blank = |byte: Option<&u8>| byte.is_none_or(|byte| b" \t\r\n".contains(byte));
        assert!(
            !blank(text.first()) && !blank(text.last()),
            "blanks around {range:?}"
        );
        let counted = count_turns(text);
        let parsed = Conversation::parse(text);
        match (&counted, &parsed) {
            (Ok(count), Ok(parsed)) => assert_eq!(*count as usize, parsed.turns.len()),
            (Err(one), Err(other)) => assert_eq!(one, other),
            _ => panic!("counting gives {counted:?}, parsing {parsed:?}"),
        }
        if let Ok(count) = value {
            assert_eq!(counted.as_ref(), Ok(count));
            for file in [text.to_vec(), [b"[", text, b"]"].concat()] {
                let (again, _) = scan(&file, max, || usize::MAX);
                let lone = text.contains(&b'\n') && file == text;
                assert!(
                    lone || again.found.len() == 1,
                    "another result alone: {again:?}"
                );
                assert!(
                    lone || again.found[0].1 == *value,
                    "another result alone: {again:?}"
                );
            }
        }
    }
    assert!(end <= bytes.len() as u64);

    for range in &file.intact {
        let found = whole
            .found
            .iter()
            .any(|(at, value)| at == range && value.is_ok());
        assert!(
            found,
            "the intact conversation at {range:?} is lost: {whole:?}"
        );
    }
    if file.clean {
        let good = whole.found.iter().filter(|(_, value)| value.is_ok());
        assert_eq!(good.count(), file.intact.len());
        let format = if file.layout == Layout::Lines {
            Format::Lines
        } else {
            Format::Array
        };
        assert_eq!(whole.outcome, Ok(format));
    }
    if let Ok(serde_json::Value::Array(elements)) = serde_json::from_slice(bytes)
        && max == 1 << 26
    {
        // Valid JSON leaves nothing to guess.
        let text =
            |element: &serde_json::Value| serde_json::to_vec(element).expect("it was JSON before");
        let expected = elements
            .iter()
            .filter(|it| count_turns(&text(it)).is_ok())
            .count();
        let good = whole
            .found
            .iter()
            .filter(|(_, value)| value.is_ok())
            .count();
        assert!(good >= expected, "{good} of {expected}");
        assert!(whole.found.len() >= elements.len());
    }
}
