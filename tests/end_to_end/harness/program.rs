//! Runs the program.

use super::HANG;
use super::service::{KEY, Service};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A run of the program, in an environment of its own.
pub(crate) struct Softlabel {
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    through: Vec<OsString>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Softlabel {
    pub(crate) fn new<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        let mut env = BTreeMap::new();
        // Coverage and sanitizers write where these say.
        for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
            env.extend(std::env::var_os(name).map(|value| (name.to_owned(), value)));
        }
        Self {
            args,
            env,
            through: Vec::new(),
        }
    }

    /// `softlabel label` against `service`, with waits that suit a test.
    pub(crate) fn label(service: &Service, input: &Path, output: &Path) -> Self {
        let label = Self::new(["label", "--input"])
            .arg(input)
            .arg("--output")
            .arg(output);
        label.against(service)
    }

    pub(crate) fn against(self, service: &Service) -> Self {
        self.env("AZURE_OPENAI_ENDPOINT", service.endpoint())
            .env("AZURE_OPENAI_API_KEY", KEY)
            .env("SOFTLABEL_FIRST_BACKOFF", "2ms")
            .env("SOFTLABEL_LONGEST_BACKOFF", "10ms")
            // What is tested is not the pace, unless a test says so.
            .env("SOFTLABEL_TPM", "4000000000")
            .env("SOFTLABEL_RPM", "4000000000")
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Runs it through another program, which gets the command as its last arguments.
    pub(crate) fn through<A: Into<OsString>>(
        mut self,
        program: impl IntoIterator<Item = A>,
    ) -> Self {
        self.through = program.into_iter().map(Into::into).collect();
        self
    }

    /// The command, for those who start it in their own way.
    pub(crate) fn command(&self) -> Command {
        let softlabel = OsString::from(env!("CARGO_BIN_EXE_softlabel"));
        let mut words = self.through.iter().chain([&softlabel]).chain(&self.args);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).env_clear().envs(&self.env);
        command
    }

    pub(crate) fn start(&self) -> Running {
        let mut command = self.command();
        let piped = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running(piped.spawn().unwrap())
    }

    pub(crate) fn run(&self) -> Outcome {
        self.start().wait()
    }

    /// Runs it and expects that it ends with `code`.
    pub(crate) fn ends(&self, code: i32) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.code, Some(code), "{outcome}");
        outcome
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "exit {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

impl Outcome {
    /// The value of a row of the summary.
    pub(crate) fn row(&self, name: &str) -> &str {
        let rows = self
            .stdout
            .lines()
            .filter_map(|line| line.trim_start().split_once("  "));
        let mut found = rows
            .filter(|(row, _)| *row == name)
            .map(|(_, value)| value.trim());
        found
            .next()
            .unwrap_or_else(|| panic!("no row {name:?}: {self}"))
    }

    /// The one line that says what went wrong.
    pub(crate) fn error(&self) -> &str {
        let errors = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error:"));
        let errors = errors.collect::<Vec<_>>();
        assert_eq!(errors.len(), 1, "one error, said once: {self}");
        errors[0]
    }
}

/// A run that goes on.
pub(crate) struct Running(Child);

impl Running {
    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) -> Outcome {
        self.0.kill().unwrap();
        self.wait()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Nobody reads what it writes any more.
    pub(crate) fn close_stdout(&mut self) {
        self.0.stdout = None;
    }

    pub(crate) fn wait(mut self) -> Outcome {
        fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).unwrap();
                let _ = sender.send(String::from_utf8(bytes).expect("output is UTF-8"));
            });
            receiver
        }
        let stdout = match self.0.stdout.take() {
            Some(stdout) => collect(stdout),
            None => collect(std::io::empty()),
        };
        let stderr = collect(self.0.stderr.take().unwrap());
        let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(HANG), stderr.recv_timeout(HANG))
        else {
            self.0.kill().unwrap();
            panic!("the program hangs");
        };
        Outcome {
            code: self.0.wait().unwrap().code(),
            stdout,
            stderr,
        }
    }
}

/// What a process says to stderr while it goes on, through a file.
pub(crate) struct Heard {
    pub(crate) child: Child,
    path: PathBuf,
}

impl Heard {
    pub(crate) fn start(label: &Softlabel, path: PathBuf) -> Self {
        let mut command = label.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&path).unwrap());
        Self {
            child: command.spawn().unwrap(),
            path,
        }
    }

    pub(crate) fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.so_far().contains(text) {
            assert!(
                start.elapsed() < HANG,
                "{text:?} is never said: {}",
                self.so_far()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn so_far(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// Waits for its end, but not for ever.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if start.elapsed() > HANG {
                self.child.kill().unwrap();
                panic!("the program hangs: {}", self.so_far());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        // Where a test fails, its program is not left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, such as `-INT`.
pub(crate) fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    assert!(
        Command::new("kill")
            .args([name, &pid])
            .status()
            .unwrap()
            .success()
    );
}
