//! The tasks of `cargo xtask`, once: what each is called, what it does, how long it takes, and the program
//! of this repository that does it.
//!
//! It depends on no other crate, so that it is built at once: `cargo demo` begins with it.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        about: "Measure speed and memory, and print the table of docs/figures.md [20 min]",
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
        about: "Drive Chromium through report and page; --renew makes the pictures of README.md [2 min]",
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The list of all tasks.
    Help,
    /// `cargo demo`, with its arguments.
    Demo(Vec<OsString>),
    /// To write the generated texts of these names.
    Renew(Vec<&'static Renewal>),
    /// A task, with its arguments; `dev` takes the optimisation away.
    Run {
        task: &'static Task,
        arguments: Vec<OsString>,
        dev: bool,
    },
}

impl Wish {
    /// Understands the arguments of `cargo xtask`.
    ///
    /// # Errors
    /// A sentence, if there is no such task or text.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter().peekable();
        let dev = arguments.next_if(|it| it == "--dev").is_some();
        let Some(name) = arguments.next() else {
            return Ok(Self::Help);
        };
        let arguments = arguments.collect::<Vec<_>>();
        let is_help = |it: &OsString| it == "--help" || it == "-h";
        match name.to_str() {
            Some("--help" | "-h") => Ok(Self::Help),
            Some("renew") if arguments.iter().any(is_help) => Ok(Self::Help),
            Some("renew") if arguments.is_empty() => Ok(Self::Renew(RENEWALS.iter().collect())),
            Some("renew") => {
                let unknown = arguments.iter().find(|name| renewal(name).is_none());
                match unknown {
                    Some(name) => Err(unknown_name(name, RENEWALS.iter().map(|it| it.name))),
                    None => Ok(Self::Renew(arguments.iter().filter_map(renewal).collect())),
                }
            }
            Some("demo") => Ok(Self::Demo(arguments)),
            _ => {
                let task = TASKS.iter().find(|task| name == task.name);
                let names = TASKS.iter().map(|task| task.name).chain(["renew", "demo"]);
                let task = task.ok_or_else(|| unknown_name(&name, names))?;
                Ok(Self::Run {
                    task,
                    arguments,
                    dev,
                })
            }
        }
    }
}

fn renewal(name: &OsString) -> Option<&'static Renewal> {
    RENEWALS.iter().find(|renewal| name == renewal.name)
}

fn unknown_name(name: &OsString, known: impl Iterator<Item = &'static str>) -> String {
    let known = known.collect::<Vec<_>>().join(", ");
    format!("{name:?} is unknown; use one of {known}")
}

/// The list of all tasks and texts.
pub fn help() -> String {
    let row = |(name, about): (&str, &str)| format!("  {name:11} {about}\n");
    let tasks = TASKS.iter().map(|task| row((task.name, task.about)));
    let texts = RENEWALS.iter().map(|it| row((it.name, it.about)));
    format!(
        "Does what softlabel's developers need beside building and testing.\n\n\
         Usage: cargo xtask [--dev] TASK [ARGUMENTS]\n\n\
         Tasks:\n{}{}{}\n\
         What renew writes:\n{}\n\
         The times are rough, for two cores; they count the release build that zip, dist, figures, pacing and\n\
         fuzz make first. --dev does without it. `cargo xtask TASK --help` says what a task takes.\n",
        tasks.collect::<String>(),
        row((
            "renew",
            "Write the text in files that is made from something else, or what is named [3 min]"
        )),
        row((
            "demo",
            "`cargo demo`: label the sample dataset in a cloud on this machine [1 min]"
        )),
        texts.collect::<String>(),
    )
}

/// The profile of `cargo demo`, and the folder of its build in the target folder.
pub const DEMO_PROFILE: &str = "quick";

/// What cargo is called with to build the demo and the program that it shows: both at once, since cargo would
/// build most dependencies twice for one after the other, and without what the demo does not use.
pub const DEMO_BUILD: &[&str] = &[
    "build",
    "--locked",
    "--profile",
    DEMO_PROFILE,
    "--no-default-features",
    "--package",
    "softlabel",
    "--package",
    "softlabel-doubles",
    "--bin",
    "softlabel",
    "--bin",
    "demo",
];

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
            // As the packages are built.
            Program::Measurement if !dev => {
                arguments.extend(["--no-default-features", "--features", "jemalloc"]);
            }
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

    fn parse(line: &str) -> Result<Wish, String> {
        Wish::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn all_that_follows_a_task_is_the_tasks() {
        let Ok(Wish::Run {
            task,
            arguments,
            dev,
        }) = parse("--dev crash --kills 3 --help")
        else {
            panic!("crash is a task");
        };
        assert_eq!((task.name, dev), ("crash", true));
        assert_eq!(arguments, ["--kills", "3", "--help"]);
        let demo = ["--keep", "--dev"].map(OsString::from).to_vec();
        assert_eq!(parse("demo --keep --dev"), Ok(Wish::Demo(demo)));
    }

    #[test]
    fn texts_are_renewed_all_or_by_name() {
        assert_eq!(parse("renew"), Ok(Wish::Renew(RENEWALS.iter().collect())));
        let tables = RENEWALS.iter().filter(|it| it.name == "tables").collect();
        assert_eq!(parse("renew tables"), Ok(Wish::Renew(tables)));
        assert!(
            parse("renew tables chairs")
                .unwrap_err()
                .contains("\"chairs\"")
        );
        assert!(parse("crush").unwrap_err().contains("crash"));
    }

    #[test]
    fn the_help_names_every_task_and_text() {
        for line in ["", "--help", "renew --help"] {
            assert_eq!(parse(line), Ok(Wish::Help));
        }
        let names = TASKS.iter().map(|task| task.name);
        for name in names.chain(RENEWALS.iter().map(|it| it.name)) {
            assert!(help().contains(&format!("\n  {name} ")), "{name}");
        }
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
