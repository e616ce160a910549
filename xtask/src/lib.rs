//! The tasks of `cargo xtask`, once: what each is called, what it does, how long it takes, and the program
//! of this repository that does it.

use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;

/// What cargo does with a task's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `cargo run`, unoptimised.
    Bin,
    /// `cargo bench`, unoptimised: it looks for faults.
    Bench,
    /// `cargo bench`, optimised as releases are: it measures.
    Measurement,
}

/// One task.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, and how long it takes on two cores once everything that it needs is built.
    pub about: &'static str,
    /// What cargo does with its program.
    pub program: Program,
    /// The workspace's member that the program is in.
    pub package: &'static str,
    /// The program's target in that member.
    pub target: &'static str,
}

/// All tasks.
pub const TASKS: &[Task] = &[
    Task {
        name: "zip",
        about: "Make the function app's packages from a portable release build [10 min]",
        program: Program::Bin,
        package: "softlabel-package",
        target: "softlabel-package",
    },
    Task {
        name: "dist",
        about: "Make what is installed without Rust: a .tar.gz and a Python wheel [10 min]",
        program: Program::Bin,
        package: "softlabel-package",
        target: "softlabel-dist",
    },
    Task {
        name: "figures",
        about: "Measure speed, memory and size, and print the table of docs/figures.md [20 min]",
        program: Program::Measurement,
        package: "softlabel",
        target: "figures",
    },
    Task {
        name: "pacing",
        about: "Simulate fleets of processes that share a quota [10 min]",
        program: Program::Measurement,
        package: "softlabel",
        target: "pacing",
    },
    Task {
        name: "fuzz",
        about: "Damage datasets and answers at random, and check what is read of them [5 min, or --seconds]",
        program: Program::Measurement,
        package: "softlabel",
        target: "fuzz_scanner",
    },
    Task {
        name: "crash",
        about: "Kill and freeze softlabel at random instants, and check what it leaves [3 min]",
        program: Program::Bench,
        package: "softlabel",
        target: "crash",
    },
    Task {
        name: "chaos",
        about: "Let bad days happen to the function app, and check how they end [5 min]",
        program: Program::Bench,
        package: "softlabel",
        target: "chaos",
    },
    Task {
        name: "real-host",
        about: "Run the packages under Microsoft's listeners and under the double of the host [3 min]",
        program: Program::Bin,
        package: "softlabel-doubles",
        target: "scenarios",
    },
    Task {
        name: "real-model",
        about: "Label a few messages with a small model behind llama.cpp's server, and recompute the labels [3 min]",
        program: Program::Bin,
        package: "softlabel-doubles",
        target: "real-model",
    },
    Task {
        name: "browser",
        about: "Drive Chromium through the page that watches runs [1 min]",
        program: Program::Bin,
        package: "softlabel-doubles",
        target: "browser",
    },
    Task {
        name: "tutorial",
        about: "Run the commands of docs/tutorial.md; --renew writes what they print [30 s]",
        program: Program::Bin,
        package: "softlabel-doubles",
        target: "tutorial",
    },
    Task {
        name: "azurite",
        about: "Start the pinned Azurite, for everything that wants storage [until Ctrl-C]",
        program: Program::Bin,
        package: "softlabel-doubles",
        target: "azurite",
    },
];

/// Text in the repository's files that is made from something else. A test holds each, and names the command
/// that renews it.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// Its name: `cargo xtask renew NAME`.
    pub name: &'static str,
    /// What it writes.
    pub about: &'static str,
    /// The program that writes it, with its arguments. It runs at the root, with `RENEW=1`.
    pub command: &'static [&'static str],
}

/// All renewals, in their order: a later one may be made from what an earlier one wrote.
pub const RENEWALS: &[Renewal] = &[
    Renewal {
        name: "templates",
        about: "infra/snapshots/, and the format of the templates; needs Bicep's compiler",
        command: &["infra/check.sh", "--renew"],
    },
    Renewal {
        name: "tables",
        about: "the tables of docs/settings.md, the schema of task files, picture and tables of infra/README.md",
        command: &[
            "cargo",
            "test",
            "--locked",
            "--quiet",
            "--workspace",
            "generated_",
        ],
    },
    Renewal {
        name: "tutorial",
        about: "what the commands of docs/tutorial.md print",
        command: &["cargo", "xtask", "tutorial", "--renew"],
    },
];

const AFTER_HELP: &str = "\
The times are rough, for two cores; they count the release build that zip, dist, figures, pacing and fuzz make first.
`cargo xtask TASK --help` says what a task takes.";

/// The command line of `cargo xtask`.
pub fn command() -> Command {
    let tasks = TASKS.iter().map(|task| {
        // The task's program has its own help.
        let arguments = Arg::new("arguments")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_parser(clap::value_parser!(OsString));
        Command::new(task.name)
            .about(task.about)
            .disable_help_flag(true)
            .arg(arguments)
    });
    let dev = Arg::new("dev")
        .long("dev")
        .action(ArgAction::SetTrue)
        .help("Do without optimisation, which takes long to build");
    let names = RENEWALS.iter().map(|renewal| renewal.name);
    let what = RENEWALS
        .iter()
        .map(|it| format!("\n  {}: {}", it.name, it.about));
    let renew = Command::new("renew")
        .about("Write the text in files that is made from something else, all of it or what is named [2 min]")
        .after_help(format!("It writes:{}", what.collect::<String>()))
        .arg(
            Arg::new("what")
                .num_args(0..)
                .value_parser(names.collect::<Vec<_>>()),
        );
    Command::new("xtask")
        .bin_name("cargo xtask")
        .about("Does what softlabel's developers need beside building and testing")
        .after_help(AFTER_HELP)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .arg(dev)
        .subcommand(renew)
        .subcommands(tasks)
}

impl Task {
    /// What cargo is called with, up to the arguments of the program. `dev` takes the optimisation away.
    pub fn cargo(&self, dev: bool) -> Vec<&'static str> {
        let kind = match self.program {
            Program::Bin => ["run", "--package", self.package, "--bin", self.target],
            _ => ["bench", "--package", self.package, "--bench", self.target],
        };
        let mut arguments = vec!["--locked"];
        arguments.extend(kind);
        match self.program {
            Program::Measurement if !dev => arguments.extend(["--features", "jemalloc"]),
            Program::Bin => arguments.push("--quiet"),
            _ => arguments.extend(["--quiet", "--profile", "dev"]),
        }
        arguments.push("--");
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn all_that_follows_a_task_is_the_tasks() {
        let line = ["xtask", "crash", "--kills", "3", "--help"];
        let matches = command().try_get_matches_from(line).unwrap();
        let (name, own) = matches.subcommand().unwrap();
        let given: Vec<_> = own.get_many::<OsString>("arguments").unwrap().collect();
        assert_eq!((name, given.as_slice().len()), ("crash", 3));
    }

    #[test]
    fn only_measurements_are_optimised() {
        for task in TASKS {
            let line = task.cargo(false).join(" ");
            let optimised = line.contains("bench") && !line.contains("--profile dev");
            assert_eq!(optimised, task.program == Program::Measurement, "{line}");
            assert!(!task.cargo(true).contains(&"jemalloc"));
        }
    }
}
