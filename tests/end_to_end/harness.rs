//! Runs the program, plays the service, makes and reads files.

use serde_json::{Map, Value, json};
use softlabel_doubles::azure_openai::{Config, Double, Kind, Record};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The key that every run sends unless a test says otherwise. Odd, so that it can be searched for.
pub(crate) const KEY: &str = "k3y-that-must-show-nowhere-8841";

/// What the probe before a run asks about; it belongs to no dataset.
pub(crate) const PROBE: &str = "Thanks, that worked!";

/// Longer than any run here takes, even on a busy machine; only a hang reaches it.
const HANG: Duration = Duration::from_secs(120);

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// A double of Azure OpenAI that keeps what it was asked.
pub(crate) struct Service(Option<Double>);

impl Service {
    pub(crate) fn start(config: Config) -> Self {
        let config = Config {
            keep_bodies: true,
            ..config
        };
        Self(Some(runtime().block_on(Double::start(config)).unwrap()))
    }

    /// A service in which nothing goes wrong.
    pub(crate) fn well() -> Self {
        Self::start(Config::default())
    }

    /// Requests that asked for a label, the probe's left out.
    pub(crate) fn classifications(&self) -> Vec<Record> {
        let asked =
            |record: &Record| record.kind == Kind::Classification && message(record) != PROBE;
        self.log().into_iter().filter(asked).collect()
    }

    /// Requests that asked for a rationale.
    pub(crate) fn rationales(&self) -> Vec<Record> {
        self.log()
            .into_iter()
            .filter(|record| record.kind == Kind::Text)
            .collect()
    }

    /// Waits until `enough` holds of the service, as a run goes on.
    pub(crate) fn wait_until(&self, enough: impl Fn(&Double) -> bool) {
        let start = Instant::now();
        while !enough(self) {
            assert!(start.elapsed() < HANG, "it never came to that");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the service answers to the bodies of `records`, asked again in their order as if
    /// nothing had been asked before: its answers follow from seed, message and attempt.
    pub(crate) fn answers_to(&self, records: &[Record]) -> Vec<Value> {
        self.clear();
        let http = reqwest::Client::new();
        let url = format!("{}/openai/v1/chat/completions", self.endpoint());
        runtime().block_on(async {
            let mut answers = Vec::new();
            for record in records {
                let body = record.body.clone().unwrap();
                let sent = http.post(&url).header("api-key", KEY).body(body).send();
                let answer = sent.await.unwrap().bytes().await.unwrap();
                answers.push(serde_json::from_slice(&answer).unwrap());
            }
            answers
        })
    }
}

impl Deref for Service {
    type Target = Double;

    fn deref(&self) -> &Double {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _in_runtime = runtime().enter();
        self.0.take();
    }
}

/// The body of a request.
pub(crate) fn body(record: &Record) -> Value {
    serde_json::from_str(record.body.as_deref().unwrap()).unwrap()
}

/// The parameters of a request: its body without the messages.
pub(crate) fn parameters(record: &Record) -> Value {
    let mut body = body(record);
    body.as_object_mut().unwrap().remove("messages");
    body
}

/// The titled sections of a request, read as the prompt says they are to be read: by the random mark
/// of the first line.
pub(crate) fn sections(record: &Record) -> Vec<(String, String)> {
    let user = record.user_text.as_deref().unwrap();
    let mark = mark(record);
    let mut sections = Vec::new();
    let mut rest = user;
    while let Some((_, after)) = rest.split_once(&format!("<<<BEGIN {mark} ")) {
        let (title, after) = after.split_once(">>>\n").unwrap();
        let (text, after) = after.split_once(&format!("\n<<<END {mark}>>>\n")).unwrap();
        sections.push((title.to_owned(), text.to_owned()));
        rest = after;
    }
    sections
}

/// The random mark of a request's delimiters.
pub(crate) fn mark(record: &Record) -> String {
    let user = record.user_text.as_deref().unwrap();
    let rest = user.strip_prefix("<<<BEGIN ").unwrap();
    rest.split_once(' ').unwrap().0.to_owned()
}

/// The message that a request is about.
pub(crate) fn message(record: &Record) -> String {
    let section = sections(record)
        .into_iter()
        .find(|(title, _)| title == "Message to label");
    section.unwrap().1
}

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
        let stdout = collect(self.0.stdout.take().unwrap());
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

/// A temporary folder.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a lone bucket file of one conversation with these messages.
    pub(crate) fn messages(&self, messages: &[&str]) -> PathBuf {
        self.write("in.json", array(&[conversation("c1", messages)]))
    }
}

/// A conversation as the exporter writes it, with answers, and personal data in it.
pub(crate) fn conversation(id: &str, messages: &[&str]) -> Value {
    let turns = messages.iter().enumerate().map(|(i, message)| {
        json!({
            "turnIndex": i + 1,
            "messageId": format!("{id}-m{i}"),
            "userMessage": message,
            "modelMessage": format!("answer {i} of {id}"),
            "llmCalls": [{"callIndex": 1, "model": "gpt-4.1", "actual_API": {"promptTokens": 1}}],
            "tools": {"definitions": {"names": "[\"a\", \"b\"]", "count": 2}},
            "numRequests": 1,
        })
    });
    json!({
        "conversationId": id,
        "userName": "petra.privat",
        "bucket": "short",
        "turnCount": messages.len(),
        "turnsArray": turns.collect::<Vec<_>>(),
    })
}

/// The content of a bucket file, as the exporter writes it.
pub(crate) fn array(conversations: &[Value]) -> String {
    serde_json::to_string_pretty(conversations).unwrap()
}

/// The same as JSONL.
pub(crate) fn jsonl(conversations: &[Value]) -> String {
    conversations
        .iter()
        .map(|conversation| format!("{conversation}\n"))
        .collect()
}

/// `count` messages that are all different.
pub(crate) fn distinct(count: usize) -> Vec<String> {
    let nouns = [
        "parser", "build", "cache", "lock", "test", "index", "socket",
    ];
    (0..count)
        .map(|i| format!("what about the {} in module {i}?", nouns[i % nouns.len()]))
        .collect()
}

/// The same, borrowed.
pub(crate) fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The sample dataset.
pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../samples")
        .canonicalize()
        .unwrap()
}

pub(crate) fn json_file(path: &Path) -> Value {
    let content = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&content).unwrap()
}

/// The lines of a LABELED file, each checked against the contract: its keys, their order, their types.
pub(crate) fn lines(path: &Path) -> Vec<Map<String, Value>> {
    let content =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        content.is_empty() || content.ends_with('\n'),
        "the last line has its end"
    );
    content.lines().map(line).collect()
}

fn line(text: &str) -> Map<String, Value> {
    let line: Map<String, Value> = serde_json::from_str(text).unwrap();
    let keys = line.keys().map(String::as_str).collect::<Vec<_>>();
    let ids = ["conversationId", "messageId", "split", "bucket"];
    assert_eq!(keys[..4], ids, "{text}");
    match keys[4..] {
        ["hard_label", "soft_label"] | ["hard_label", "soft_label", "rationale"] => {
            let soft = line["soft_label"].as_f64().unwrap();
            assert!(soft > 0.0 && soft < 1.0, "{text}");
            assert!([json!(0), json!(1)].contains(&line["hard_label"]), "{text}");
            let rationale = line
                .get("rationale")
                .map(|rationale| rationale.as_str().unwrap());
            assert!(
                rationale.is_none_or(|rationale| !rationale.trim().is_empty()),
                "{text}"
            );
            let decimals = text.split_once("\"soft_label\":0.").unwrap().1;
            assert!(
                decimals.bytes().take(6).all(|b| b.is_ascii_digit()),
                "{text}"
            );
        }
        ["labeling_error"] => {
            let error = line["labeling_error"].as_object().unwrap();
            let keys = error.keys().map(String::as_str).collect::<Vec<_>>();
            assert_eq!(keys, ["code", "message"], "{text}");
            assert!(!error["message"].as_str().unwrap().is_empty(), "{text}");
        }
        _ => panic!("these keys are not the contract's: {text}"),
    }
    line
}

/// The code of a line's error, or an empty text where it has a label.
pub(crate) fn error_code(line: &Map<String, Value>) -> &str {
    line.get("labeling_error")
        .map_or("", |error| error["code"].as_str().unwrap())
}

/// What the answers of the service say about a label, worked out anew from the rules.
#[derive(Clone, Debug)]
pub(crate) struct Taught {
    pub(crate) soft: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) censored: bool,
    pub(crate) generated: String,
}

impl Taught {
    /// What `answer` says, to a request for `requested` candidates; `None` where it names no label.
    pub(crate) fn by(answer: &Value, requested: usize) -> Option<Self> {
        let first = answer["choices"][0]["logprobs"]["content"].get(0)?;
        let text = |entry: &Value| match entry["bytes"].as_array() {
            Some(bytes) => bytes
                .iter()
                .map(|b| char::from(b.as_u64().unwrap() as u8))
                .collect(),
            None => entry["token"].as_str().unwrap().to_owned(),
        };
        let top = first["top_logprobs"].as_array().unwrap();
        let usable = |entry: &&Value| {
            let logprob = entry["logprob"].as_f64().unwrap();
            logprob > -9999.0 && logprob <= 0.0
        };
        let mut candidates = HashMap::new();
        for entry in top.iter().chain([first]).filter(usable) {
            candidates.insert(text(entry), entry["logprob"].as_f64().unwrap().exp());
        }
        let mass = |label: &str| {
            let variants = candidates
                .iter()
                .filter(|(token, _)| token.trim_ascii() == label);
            variants.map(|(_, p)| p).sum::<f64>()
        };
        let (p0, p1) = (mass("0"), mass("1"));
        let mut unseen = (1.0 - candidates.values().sum::<f64>()).max(0.0);
        let listed = top
            .iter()
            .filter(usable)
            .map(|e| e["logprob"].as_f64().unwrap().exp());
        let listed = listed.collect::<Vec<_>>();
        if listed.len() >= requested {
            unseen = listed.iter().copied().fold(unseen, f64::min);
        }
        let (soft, low, high) = match (p0 > 0.0, p1 > 0.0) {
            (false, false) => return None,
            (true, true) => {
                let soft = (p1 / (p0 + p1)).clamp(1e-6, 1.0 - 1e-6);
                (soft, soft, soft)
            }
            (false, true) => {
                let soft = (p1 / (p1 + unseen / 2.0)).clamp(1e-4, 1.0 - 1e-4);
                (soft, p1 / (p1 + unseen), 1.0)
            }
            (true, false) => {
                let soft = (unseen / 2.0 / (p0 + unseen / 2.0)).clamp(1e-4, 1.0 - 1e-4);
                (soft, 0.0, unseen / (p0 + unseen))
            }
        };
        let generated = text(first).trim_ascii().to_owned();
        Some(Self {
            soft,
            low,
            high,
            censored: p0 == 0.0 || p1 == 0.0,
            generated,
        })
    }

    /// The hard label by `--hard-label generated`.
    pub(crate) fn hard(&self) -> u64 {
        match self.generated.as_str() {
            "0" => 0,
            "1" => 1,
            _ => self.argmax(),
        }
    }

    /// The more probable label.
    pub(crate) fn argmax(&self) -> u64 {
        u64::from(self.soft > 0.5)
    }
}

/// The labels that the service taught, by message. Only for runs in which each message was answered
/// by its first attempt, or, where `records` has more of them, by the last one.
pub(crate) fn taught(service: &Service, records: &[Record]) -> HashMap<String, Option<Taught>> {
    let answers = service.answers_to(records);
    let requested = |record| parameters(record)["top_logprobs"].as_u64().unwrap() as usize;
    let pairs = records.iter().zip(&answers);
    pairs
        .map(|(record, answer)| (message(record), Taught::by(answer, requested(record))))
        .collect()
}

/// Asserts that a line carries the label that was taught.
pub(crate) fn assert_taught(line: &Map<String, Value>, taught: &Taught) {
    let soft = line["soft_label"]
        .as_f64()
        .unwrap_or_else(|| panic!("{line:?}"));
    // The line has six decimals.
    assert!((soft - taught.soft).abs() < 6e-7, "{line:?} {taught:?}");
    assert_eq!(line["hard_label"], taught.hard(), "{line:?} {taught:?}");
}

/// The full records of labels in a work folder, by message id.
pub(crate) fn full_records(work: &Path) -> HashMap<String, Value> {
    let mut records = HashMap::new();
    for path in files(work)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/parts/"))
    {
        for line in fs::read_to_string(path).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            if let Some(label) = entry.get("label") {
                records.insert(
                    label["message_id"].as_str().unwrap().to_owned(),
                    label.clone(),
                );
            }
        }
    }
    records
}

/// All files below a folder, links not followed, in order.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// A folder as it is: every entry with its size, its time of change and its content.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime, Vec<u8>)> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            entries.insert(
                path.clone(),
                (metadata.len(), metadata.modified().unwrap(), content),
            );
            if metadata.is_dir() {
                folders.push(path);
            }
        }
        let metadata = fs::metadata(&folder).unwrap();
        entries.insert(
            folder,
            (metadata.len(), metadata.modified().unwrap(), Vec::new()),
        );
    }
    entries
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// The conversations of an intact RAW file; half surrogate pairs read as U+FFFD.
pub(crate) fn raw(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (mut whole, mut at) = (String::new(), 0);
    while let Some(next) = text.get(at..).and_then(|rest| rest.find('\\')) {
        whole.push_str(&text[at..at + next]);
        at += next;
        let (taken, kept) = match unit(at) {
            None => (2, &text[at..at + 2]),
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => {
                (12, &text[at..at + 12])
            }
            Some(0xd800..=0xdfff) => (6, "\\ufffd"),
            Some(_) => (6, &text[at..at + 6]),
        };
        whole.push_str(kept);
        at += taken;
    }
    whole.push_str(&text[at..]);
    serde_json::from_str(&whole).unwrap()
}
