//! What a person sees in a terminal while a run goes on, and what is left on it at the end.

use crate::harness::*;
use softlabel_doubles::faulty_line::{FaultyLine, HeldBack, When};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs its arguments in a terminal of 30 lines and 100 columns: what is typed comes from stdin, what is seen goes to
/// stdout.
const IN_A_TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
sources = [terminal, 0]
while terminal in sources:
    for ready in select.select(sources, [], [])[0]:
        try:
            data = os.read(ready, 65536)
        except OSError:
            data = b""
        if data:
            os.write(terminal if ready == 0 else 1, data)
        else:
            sources.remove(ready)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

const COLUMNS: usize = 100;

/// A program in a terminal.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(softlabel: Softlabel) -> Self {
        let in_terminal = softlabel
            .through(["python3", "-c", IN_A_TERMINAL])
            .env("TERM", "xterm");
        let mut command = in_terminal.command();
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (keyboard, mut seen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let written = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(length @ 1..) = seen.read(&mut block) {
                copy.lock().unwrap().extend_from_slice(&block[..length]);
            }
        });
        Self {
            child,
            keyboard,
            written,
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Everything that was written to it.
    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until its lines are as wanted, and gives them.
    fn until(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let lines = seen(&self.written());
            if wanted(&lines) {
                return lines;
            }
            assert!(start.elapsed() < HANG, "it never shows that: {lines:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end of the program; gives its exit code.
    fn code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < HANG, "it hangs: {}", self.written());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines on a terminal that got this, without colours.
fn seen(written: &str) -> Vec<String> {
    let mut lines = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                let mut number = String::new();
                let end = rest.by_ref().skip(1).find(|&c| {
                    number.push(c);
                    c.is_ascii_alphabetic()
                });
                let count = number[..number.len() - 1].parse::<usize>();
                match end {
                    Some('A') => row = row.saturating_sub(count.unwrap_or(1)),
                    Some('B') => row += count.unwrap_or(1),
                    Some('C') => column += count.unwrap_or(1),
                    Some('D') => column = column.saturating_sub(count.unwrap_or(1)),
                    Some('K') if count == Ok(2) => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    Some('J') => {
                        lines.truncate(row + 1);
                        lines[row].truncate(column);
                    }
                    Some('m' | 'h' | 'l') => {}
                    other => panic!("{other:?} after {number:?} is unknown to this terminal"),
                }
            }
            c => {
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                }
                lines.resize(lines.len().max(row + 1), Vec::new());
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    let lines = lines.into_iter();
    lines.map(|line| line.into_iter().collect()).collect()
}

/// A run of twenty turns that is held up in the middle until a request is let go.
struct HeldUp {
    _service: Service,
    line: FaultyLine,
    home: Home,
    held: Option<HeldBack>,
}

impl HeldUp {
    fn new() -> Self {
        let service = Service::well();
        let line = runtime()
            .block_on(FaultyLine::start(&service.endpoint()))
            .unwrap();
        let asks = When::new(reqwest::Method::POST, "/chat/completions");
        let held = Some(line.hold(asks.after(15)));
        let home = Home::new();
        home.messages(&borrowed(&distinct(20)));
        Self {
            _service: service,
            line,
            home,
            held,
        }
    }

    /// One call at a time: nothing overtakes the one that is held.
    fn label(&self) -> Softlabel {
        Softlabel::label(
            &self._service,
            &self.home.path("in.json"),
            &self.home.path("out.jsonl"),
        )
        .env("AZURE_OPENAI_ENDPOINT", self.line.endpoint())
        .args(["--concurrency", "1"])
    }
}

/// Whether a line is one of the bars.
fn is_bar(line: &str) -> bool {
    ["scanning", "labels ", "rationales "]
        .iter()
        .any(|name| line.starts_with(name))
        && line.contains(['━', '╸', '─'])
}

#[test]
fn two_bars_fit_the_terminal_and_are_gone_at_the_end() {
    let mut run = HeldUp::new();
    let mut terminal = Terminal::start(run.label());
    let bars = |lines: &[String]| lines.iter().filter(|line| is_bar(line)).count() == 2;
    let lines =
        terminal.until(|lines| bars(lines) && lines.iter().any(|line| line.contains("/20")));
    let bars = lines.iter().filter(|line| is_bar(line)).collect::<Vec<_>>();
    assert!(
        bars[0].starts_with("labels") && bars[1].starts_with("rationales"),
        "{bars:#?}"
    );
    assert!(
        bars.iter().all(|bar| bar.chars().count() <= COLUMNS),
        "{bars:#?}"
    );
    run.held = None;
    assert_eq!(terminal.code(), Some(0), "{}", terminal.written());
    let lines = terminal.until(|lines| lines.iter().any(|line| line.starts_with("report:")));
    assert!(
        !lines.iter().any(|line| line.contains(['━', '╸', '─'])),
        "{lines:#?}"
    );
    // The three numbers first, the places last.
    let text = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>();
    assert!(
        text[0].starts_with("20 turns labelled, 0 failed, "),
        "{text:#?}"
    );
    assert!(text[text.len() - 1].starts_with("report:"), "{text:#?}");
    assert!(text[text.len() - 2].starts_with("labels:"), "{text:#?}");
}

#[test]
fn ctrl_c_leaves_no_debris_and_says_what_is_kept() {
    let mut run = HeldUp::new();
    let mut terminal = Terminal::start(run.label());
    let held = run.held.take().unwrap();
    runtime().block_on(held.arrived());
    terminal.until(|lines| lines.iter().filter(|line| is_bar(line)).count() == 2);
    terminal.press(b"\x03");
    terminal.until(|lines| {
        lines
            .iter()
            .any(|line| line.contains("a second signal stops at once"))
    });
    drop(held);
    assert_eq!(terminal.code(), Some(130), "{}", terminal.written());
    let kept = full_records(&run.home.path("out.jsonl.softlabel")).len();
    assert!((1..20).contains(&kept), "{kept}");
    let verb = if kept == 1 { "is" } else { "are" };
    let says = format!(
        "stopped: {kept} of 20 turns {verb} answered and kept, and the same command continues"
    );
    let lines = terminal.until(|lines| lines.contains(&says));
    assert!(
        !lines.iter().any(|line| line.contains(['━', '╸', '─'])),
        "{lines:#?}"
    );
    // Whatever is written next begins a line of its own.
    assert_eq!(lines.last().map(String::as_str), Some(""), "{lines:#?}");
    run.label().ends(0);
    assert_eq!(lines_of(&run).len(), 20);
}

fn lines_of(run: &HeldUp) -> Vec<serde_json::Map<String, serde_json::Value>> {
    lines(&run.home.path("out.jsonl"))
}

#[test]
fn colours_are_for_terminals_and_for_who_wants_them() {
    const COLOURS: [&str; 3] = ["\u{1b}[1m", "\u{1b}[36m", "\u{1b}[0m"];
    let (service, home) = (Service::well(), Home::new());
    let input = home.messages(&borrowed(&distinct(4)));
    let label = |output: &str| Softlabel::label(&service, &input, &home.path(output));
    let mut terminal = Terminal::start(label("a.jsonl"));
    assert_eq!(terminal.code(), Some(0), "{}", terminal.written());
    terminal.until(|lines| lines.iter().any(|line| line.starts_with("report:")));
    for colour in COLOURS {
        assert!(
            terminal.written().contains(colour),
            "{}",
            terminal.written()
        );
    }
    let mut plain = Terminal::start(label("b.jsonl").env("NO_COLOR", "1"));
    assert_eq!(plain.code(), Some(0), "{}", plain.written());
    plain.until(|lines| lines.iter().any(|line| line.starts_with("report:")));
    for colour in COLOURS {
        assert!(!plain.written().contains(colour), "{}", plain.written());
    }
    let piped = label("c.jsonl").ends(0);
    assert!(
        !piped.stdout.contains('\u{1b}') && !piped.stderr.contains('\u{1b}'),
        "{piped}"
    );
}

#[test]
fn progress_for_machines_is_a_json_object_a_line() {
    let (service, home) = (Service::well(), Home::new());
    let input = home.messages(&borrowed(&distinct(12)));
    let label = Softlabel::label(&service, &input, &home.path("out.jsonl"));
    let outcome = label.args(["--progress", "json"]).ends(0);
    let said = outcome.stderr.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|_| panic!("no JSON: {outcome}"))
    });
    let said = said.collect::<Vec<_>>();
    let progress = said.iter().filter_map(|line| line.get("progress"));
    let progress = progress.filter(|progress| progress["doing"] == "labeling");
    let progress = progress.collect::<Vec<_>>();
    // As it begins, and as it ends.
    let (first, last) = (progress.first().unwrap(), progress.last().unwrap());
    assert_eq!(first["turns"], 12, "{outcome}");
    assert_eq!(last["turns_done"], 12, "{outcome}");
    assert_eq!(last["labels"], serde_json::json!({"done": 12, "turns": 12}));
    assert_eq!(last["rationales"]["done"], 12);
    assert_eq!(last["errors"], serde_json::json!({}));
    assert!(last["usd"].as_f64().unwrap() > 0.0, "{outcome}");
    assert!(
        said.iter()
            .all(|line| line.get("progress").is_some() || line["message"].is_string())
    );
}

#[test]
fn names_of_files_and_messages_reach_no_terminal_as_escapes() {
    const RED: &str = "\u{1b}[31m";
    let (service, home) = (Service::well(), Home::new());
    let name = |name: &str| format!("{RED}{name}");
    let (ds, out) = (home.path(&name("ds")), home.path(&name("out")));
    let long = array(&[conversation("c1", &[RED])]);
    home.write(&format!("{RED}ds/{RED}train/{RED}short.json"), long);
    let task = Softlabel::new(["task", "show"]).ends(0).stdout;
    let task = home.write(&name("task.toml"), task);
    let label = Softlabel::label(&service, &ds, &out);
    let labelled = label.ends(0);
    let shown = labelled.row("labelled dataset");
    assert!(shown.ends_with("\\u{1b}[31mds"), "{labelled}");
    for place in ["metadata: ", "labels: ", "report: "] {
        let mut lines = labelled.stdout.lines();
        let line = lines.find(|line| line.starts_with(place)).unwrap();
        assert!(line.contains("\\u{1b}[31mout"), "{line}");
    }
    let of_dataset = out.join(format!("LABELED_{RED}ds"));
    let read = |command: &str| Softlabel::new([command]).arg(&of_dataset);
    let dry = Softlabel::label(&service, &ds, &home.path("dry")).arg("--dry-run");
    let commands = [
        label,
        dry,
        read("show").args(["--uncertain", "9"]),
        read("report").arg("--overwrite"),
        read("report")
            .arg("-o")
            .arg(home.path(&name("report.html"))),
        read("export")
            .args(["--to", "csv", "-o"])
            .arg(home.path(&name("rows.csv"))),
        read("compare").arg(&of_dataset),
        read("compare").arg(&of_dataset).arg("--json"),
        Softlabel::new(["task", "check"]).arg(&task),
        Softlabel::new(["task", "check", "--json"]).arg(&task),
    ];
    for command in commands {
        let outcome = command.ends(0);
        let said = outcome.stdout.clone() + &outcome.stderr;
        assert!(
            !said.contains('\u{1b}'),
            "{:?}: {outcome}",
            command.command()
        );
    }
}
