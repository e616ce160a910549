//! Commands in the documents are commands that there are: every subcommand and every flag of softlabel, and
//! every task of this repository's cargo.

use clap::{Command, CommandFactory};
use regex::Regex;
use softlabel::config::Cli;
use softlabel_infra::documents::pages;
use softlabel_infra::repository::{text, texts};
use std::sync::LazyLock;
use xtask::{Program, RENEWALS, TASKS, Task};

static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`([^`]+)`").unwrap());
static SETTING: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[A-Z][A-Z0-9_]*=").unwrap());

/// Cargo's own commands that the documents use.
const CARGO: &[&str] = &[
    "bench", "build", "check", "clippy", "doc", "fmt", "install", "run", "test", "tree", "update",
];

/// The commands of a page: the lines of its blocks of code, and the code in its text.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in page.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(line.to_owned());
        } else {
            found.extend(CODE.captures_iter(line).map(|code| code[1].to_owned()));
        }
    }
    let commands = found.iter().flat_map(|line| {
        let line = line.split(" #").next().unwrap_or_default();
        line.split("&&").map(|command| {
            let words = command.trim().trim_start_matches("$ ").split_whitespace();
            let words = words.skip_while(|word| SETTING.is_match(word));
            words.collect::<Vec<_>>().join(" ")
        })
    });
    commands
        .filter(|it| it.starts_with("softlabel ") || it.starts_with("cargo "))
        .collect()
}

/// The flags among the words of a command, without their values.
fn flags<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let words = words.iter().take_while(|word| **word != "--");
    let flags = words.filter(|word| word.starts_with('-') && word.len() > 1);
    let flags = flags.map(|flag| flag.split(['=', '[', ']']).next().unwrap_or_default());
    flags
        .filter(|flag| !matches!(*flag, "--help" | "-h"))
        .collect()
}

fn has(command: &Command, flag: &str) -> bool {
    let mut arguments = command.get_arguments();
    arguments.any(|it| match flag.strip_prefix("--") {
        Some(long) => it.get_long() == Some(long),
        None => it.get_short() == flag.chars().nth(1),
    })
}

/// What is wrong with a command of softlabel.
fn wrong_with_softlabel(words: &[&str]) -> Option<String> {
    let softlabel = Cli::command();
    let (name, rest) = words.split_first()?;
    if matches!(*name, "--help" | "--version" | "help") {
        return None;
    }
    // Where it stands for all of them.
    if name.chars().all(char::is_uppercase) {
        return None;
    }
    let Some(mut command) = softlabel.find_subcommand(name) else {
        return Some(format!("softlabel has no command {name}"));
    };
    // Commands of a command.
    for word in rest {
        match command.find_subcommand(word) {
            Some(own) => command = own,
            None => break,
        }
    }
    let flag = flags(rest).into_iter().find(|flag| !has(command, flag))?;
    Some(format!("softlabel {name} has no flag {flag}"))
}

/// The source of a task's program.
fn source(task: &Task) -> String {
    let folder = match task.package {
        "softlabel" => "handler",
        "softlabel-doubles" => "tests",
        "softlabel-infra" => "infra/checks",
        "softlabel-package" => "package",
        other => panic!("{other}"),
    };
    let program = match task.program {
        Program::Bin => format!("{folder}/src"),
        _ => format!("{folder}/benches"),
    };
    let files = texts(&program, ".rs").unwrap();
    let own = files.into_iter().filter(|(path, _)| {
        path.contains(task.target) || (task.name == "zip" && path.ends_with("src/main.rs"))
    });
    own.map(|(_, text)| text).collect()
}

/// What is wrong with a command of cargo.
fn wrong_with_cargo(words: &[&str]) -> Option<String> {
    let mut words = words.iter().copied().filter(|word| *word != "--locked");
    let name = words.next()?;
    if CARGO.contains(&name) {
        return None;
    }
    let rest: Vec<_> = words.collect();
    let (what, source, rest) = match name {
        "demo" => {
            let files = texts("tests/src/bin/demo", ".rs").unwrap();
            ("demo", files.into_values().collect(), rest.as_slice())
        }
        "xtask" => {
            let rest = rest.strip_prefix(&["--dev"]).unwrap_or(&rest);
            let (task, rest) = rest.split_first()?;
            if matches!(*task, "--help" | "TASK") {
                return None;
            }
            if *task == "renew" {
                let is_known =
                    |name: &&str| *name == "--help" || RENEWALS.iter().any(|it| it.name == *name);
                let unknown = rest.iter().find(|name| !is_known(name))?;
                return Some(format!("renew does not know {unknown}"));
            }
            let Some(known) = TASKS.iter().find(|it| it.name == *task) else {
                return Some(format!("there is no task {task}"));
            };
            (known.name, source(known), rest)
        }
        other => return Some(format!("cargo has no command {other}")),
    };
    let is_there = |flag: &str| {
        let field = flag.trim_start_matches('-').replace('-', "_");
        let declared = Regex::new(&format!(r"\n    (pub(\(crate\))? )?{field}: ")).unwrap();
        declared.is_match(&source)
    };
    let flag = flags(rest).into_iter().find(|flag| !is_there(flag))?;
    Some(format!("{what} has no flag {flag}"))
}

fn wrong_with(command: &str) -> Option<String> {
    // What comes after a pipe is another program's.
    let words = command.split(' ').take_while(|word| *word != "|");
    let words: Vec<_> = words.collect();
    let (program, rest) = words.split_first()?;
    match *program {
        "softlabel" => wrong_with_softlabel(rest),
        _ => wrong_with_cargo(rest),
    }
}

#[test]
fn commands_and_flags_in_the_documents_are_there() {
    let pages = pages().unwrap();
    let commands = pages.iter().flat_map(|(path, page)| {
        let commands = commands(page).into_iter();
        commands.map(move |command| (path, command))
    });
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, command) in commands {
        seen += 1;
        wrong.extend(wrong_with(&command).map(|why| format!("{path}: {why}: {command}")));
    }
    assert!(seen > 30, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn commands_and_flags_that_are_not_there_are_found() {
    for command in [
        "softlabel lable --input a",
        "softlabel label --inptu a",
        "softlabel info -z",
        "cargo zip",
        "cargo xtask crush",
        "cargo xtask crash --kill 20",
        "cargo xtask renew table",
        "cargo demo --keeps",
    ] {
        let page = format!("Text.\n```sh\nA=b {command}    # why\n```\nand `{command}`.\n");
        let found = commands(&page);
        assert_eq!(found, [command, command]);
        assert!(wrong_with(command).is_some(), "{command}");
    }
    for command in [
        "softlabel label --input data/v4 -o labeled/ --dry-run",
        "softlabel label --help",
        "cargo xtask crash --kills 20 --seed N",
        "cargo --locked xtask --dev fuzz --seconds 40",
        "cargo xtask renew tables tutorial",
        "cargo demo --keep",
        "cargo test --workspace",
    ] {
        assert_eq!(wrong_with(command), None);
    }
}

#[test]
fn aliases_of_cargo_are_the_demo_and_the_tasks() {
    let config = text(".cargo/config.toml").unwrap();
    let aliases = config.lines().take_while(|line| *line != "[env]");
    let aliases = aliases.filter_map(|line| line.split_once(" = "));
    let names: Vec<_> = aliases.map(|(name, _)| name).collect();
    assert_eq!(names, ["demo", "xtask"]);
}
