//! The command line itself: help, settings, what is shown, and what never is.

use crate::harness::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, ContentFilter, Form};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const SUBCOMMANDS: [&str; 3] = ["label", "info", "test"];

#[test]
fn help_is_there_for_everything_and_tells_no_secret() {
    let help = Softlabel::new(["--help"]).ends(0);
    for subcommand in SUBCOMMANDS {
        assert!(help.stdout.contains(subcommand), "{help}");
        let own = Softlabel::new([subcommand, "--help"])
            .env("AZURE_OPENAI_API_KEY", KEY)
            .ends(0);
        assert!(own.stdout.contains("AZURE_OPENAI_API_KEY"), "{own}");
        assert!(!own.stdout.contains(KEY), "{own}");
        assert_eq!(own.stderr, "");
    }
    for text in [
        &help.stdout,
        &Softlabel::new(["label", "--help"]).ends(0).stdout,
    ] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for code in [
            "Exit codes:",
            "0 complete",
            "1 could not run",
            "2 wrong usage",
            "3 finished with failed turns",
        ] {
            assert!(text.contains(code), "{code}: {text}");
        }
    }
    let short = Softlabel::new(["label", "-h"]).ends(0);
    for flag in [
        "-i, --input",
        "-o, --output",
        "-m, --model",
        "-s, --strategy",
        "-c, --concurrency",
    ] {
        assert!(short.stdout.contains(flag), "{flag}: {short}");
    }
    assert!(
        Softlabel::new(["--version"])
            .ends(0)
            .stdout
            .starts_with("softlabel ")
    );
}

#[test]
fn every_shell_can_complete_commands_and_flags() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Softlabel::new(["completions", shell]).ends(0).stdout;
        for word in ["softlabel", "label", "serve", "max-cost"] {
            assert!(script.contains(word), "{word} is unknown to {shell}");
        }
    }
    // What bash makes of it: the last word, after the words before it.
    let script = Softlabel::new(["completions", "bash"]).ends(0).stdout;
    for (words, completed) in [
        (["label", "--dry-run", "--max-cos"], "--max-cost\n"),
        (["label", "--auth", ""], "key entra\n"),
    ] {
        let [first, before, word] = words;
        let asked = format!(
            "{script}\nCOMP_WORDS=(softlabel '{first}' '{before}' '{word}') COMP_CWORD=3\n\
             _softlabel softlabel '{word}' '{before}'\necho \"${{COMPREPLY[@]}}\"\n"
        );
        let bash = Command::new("bash").args(["-c", &asked]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&bash.stdout), completed, "{bash:?}");
    }
    let unknown = Softlabel::new(["completions", "dos"]).ends(2);
    assert!(unknown.stderr.contains("bash"), "{unknown}");
}

#[test]
fn every_command_has_its_man_page() {
    let page = Softlabel::new(["man"]).ends(0).stdout;
    assert!(page.contains(".TH softlabel 1"), "{page}");
    for command in SUBCOMMANDS.iter().chain(&["serve", "completions", "man"]) {
        assert!(
            page.contains(&format!("softlabel\\-{command}(1)")),
            "{page}"
        );
        let own = Softlabel::new(["man", command]).ends(0).stdout;
        assert!(own.contains(&format!(".TH softlabel-{command} 1")), "{own}");
    }
    let nested = Softlabel::new(["man", "task", "show"]).ends(0).stdout;
    assert!(nested.contains(".TH softlabel-task-show 1"), "{nested}");
    let label = Softlabel::new(["man", "label"])
        .env("AZURE_OPENAI_API_KEY", KEY)
        .ends(0);
    assert!(label.stdout.contains("\\-\\-max\\-cost"), "{label}");
    assert!(!label.stdout.contains(KEY));
    let unknown = Softlabel::new(["man", "lable"]).ends(2);
    assert!(unknown.error().contains("label, info, test"), "{unknown}");
}

#[test]
fn wrong_usage_ends_with_2_and_names_what_is_wrong() {
    let home = Home::new();
    let input = home.messages(&["one"]);
    for (args, env, says) in [
        (vec!["label"], None, "--input"),
        (vec!["lable"], None, "lable"),
        (vec![], None, "Usage"),
        (vec!["info", "--strategy", "best"], None, "with_context"),
        (
            vec!["info", "--hard-label", "softest"],
            None,
            "generated|argmax",
        ),
        (vec!["info", "--concurrency", "0"], None, "--concurrency"),
        (vec!["info", "--call-timeout", "10"], None, "500ms"),
        (vec!["info", "--encoding", "p50k"], None, "--encoding"),
        (vec!["info", "--model-family", "new"], None, "gpt5_none"),
        (vec!["info", "--price-input", "1"], None, "--price-output"),
        (
            vec!["info"],
            Some(("SOFTLABEL_MODLE", "gpt-4.1")),
            "SOFTLABEL_MODLE",
        ),
        (
            vec!["info"],
            Some(("SOFTLABEL_CONCURRENCY", "many")),
            "many",
        ),
        (vec!["info"], Some(("SOFTLABEL_JSON", "perhaps")), "perhaps"),
        (vec!["test", "--log", "=="], None, "--log"),
        (vec!["test", "--message", "  "], None, "--message"),
    ] {
        let mut softlabel = Softlabel::new(args.clone());
        if let Some((name, value)) = env {
            softlabel = softlabel.env(name, value);
        }
        let outcome = softlabel.run();
        assert_eq!(outcome.code, Some(2), "{args:?} {env:?}: {outcome}");
        assert!(outcome.stderr.contains(says), "{says}: {outcome}");
        assert_eq!(outcome.stdout, "");
    }
    // Names that would leave the output's place.
    let service = Service::well();
    for (flag, name) in [
        ("--split", "../up"),
        ("--bucket", "a/b"),
        ("--split", ".."),
        ("--bucket", ""),
    ] {
        let label = Softlabel::label(&service, &input, &home.path("out.jsonl"));
        let outcome = label.args([flag, name]).ends(2);
        assert!(outcome.error().contains(flag), "{outcome}");
    }
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn an_endpoint_and_a_key_are_needed_to_ask_and_not_to_inform() {
    Softlabel::new(["info"]).ends(0);
    let service = Service::well();
    let test = || Softlabel::new(["test"]).against(&service);
    let outcome = test().without_env("AZURE_OPENAI_ENDPOINT").ends(2);
    assert!(
        outcome.error().contains("AZURE_OPENAI_ENDPOINT"),
        "{outcome}"
    );
    let outcome = test()
        .without_env("AZURE_OPENAI_API_KEY")
        .arg("--no-keyvault")
        .ends(1);
    outcome.error();
    assert!(
        outcome.stderr.contains("AZURE_OPENAI_API_KEY: not set"),
        "{outcome}"
    );
    // A key never goes over the network in the clear.
    let outcome = test()
        .env("AZURE_OPENAI_ENDPOINT", "http://example.com")
        .ends(2);
    assert!(outcome.error().contains("https"), "{outcome}");
    for outcome in [
        outcome,
        test().env("AZURE_OPENAI_ENDPOINT", "not a url").ends(2),
    ] {
        assert!(!outcome.to_string().contains(KEY), "{outcome}");
    }
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn a_variable_that_is_set_to_nothing_counts_as_not_set() {
    let service = Service::well();
    let help = Softlabel::new(["label", "--help"]).ends(0).stdout;
    let names = help.split("[env: ").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_uppercase() && c != '_')
            .unwrap();
        rest[..end].to_owned()
    });
    let names = names.collect::<Vec<_>>();
    assert!(names.len() > 25, "{names:?}");
    let home = Home::new();
    let mut label = Softlabel::label(&service, &home.messages(&["one"]), &home.path("out.jsonl"));
    for name in names {
        if !["AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"].contains(&name.as_str()) {
            label = label.env(&name, "");
        }
    }
    label.ends(0);
    assert!(
        service
            .log()
            .iter()
            .all(|r| r.form == Form::V1 && r.deployment == "gpt-5.2")
    );
    assert_eq!(lines(&home.path("out.jsonl")).len(), 1);
}

#[test]
fn info_shows_the_settings_that_hold_and_no_secret() {
    let info = || {
        Softlabel::new(["info"])
            .env("AZURE_OPENAI_API_KEY", KEY)
            .env("AZURE_OPENAI_ENDPOINT", "https://kept.openai.azure.com")
            .env("SOFTLABEL_CONCURRENCY", "17")
            .env("SOFTLABEL_MODEL", "gpt-4o")
            .env("SOFTLABEL_ATTEMPTS", "3")
            .args([
                "--model",
                "gpt-4.1",
                "--hard-label",
                "argmax",
                "--first-backoff",
                "250ms",
            ])
    };
    let text = info().ends(0);
    let json = info().arg("--json").ends(0);
    for outcome in [&text, &json] {
        assert!(!outcome.to_string().contains(KEY), "{outcome}");
        for shown in [
            "https://kept.openai.azure.com",
            "gpt-4.1",
            "17",
            "argmax",
            "o200k_base",
            "0.25",
            "user_message_only",
            "with_context",
            "with_response",
            "requires reasoning",
        ] {
            assert!(outcome.stdout.contains(shown), "{shown}: {outcome}");
        }
        assert_eq!(outcome.stderr, "");
    }
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        json["service"]["model"], "gpt-4.1",
        "a flag wins over a variable"
    );
    assert_eq!(json["service"]["model_family"], "classic");
    assert_eq!(json["limits"]["concurrency"], 17);
    assert_eq!(json["retry"]["attempts"], 3);
    assert_eq!(json["retry"]["first_backoff_s"], 0.25);
    assert_eq!(
        (&json["tokens"]["id_of_0"], &json["tokens"]["id_of_1"]),
        (&json!(15), &json!(16))
    );
    assert_eq!(json["labels"].as_array().unwrap().len(), 2);
    for strategy in json["strategies"].as_array().unwrap() {
        assert!(!strategy["description"].as_str().unwrap().is_empty());
    }
    let dated = info().env("AZURE_OPENAI_API_VERSION", "2024-10-21").ends(0);
    assert!(dated.stdout.contains("2024-10-21"), "{dated}");
    let unset = Softlabel::new(["info", "--json"]).ends(0);
    let unset: Value = serde_json::from_str(&unset.stdout).unwrap();
    assert_eq!(unset["service"]["model"], "gpt-5.2");
    let key = |info: &Value| {
        info["credential"]["AZURE_OPENAI_API_KEY"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_ne!(key(&unset), key(&json), "whether there is a key is shown");
}

#[test]
fn test_shows_everything_an_answer_says() {
    let service = Service::well();
    let test = || Softlabel::new(["test", "--message", "why is it slow?"]).against(&service);
    let text = test().ends(0);
    for row in [
        "hard label",
        "soft label",
        "bounds",
        "p0, p1, mass",
        "generated token",
        "rationale",
        "latency",
        "client request id",
        "service request id",
        "profile",
    ] {
        assert!(!text.row(row).is_empty(), "{row}: {text}");
    }
    let log = service.log();
    let asked = log
        .iter()
        .filter(|record| message(record) == "why is it slow?")
        .collect::<Vec<_>>();
    assert_eq!(asked.len(), 2, "one label, one rationale");
    assert_eq!(
        text.row("client request id"),
        asked[0].client_request_id.as_deref().unwrap()
    );

    let records = [asked[0].clone()];
    let taught = Taught::by(&service.answers_to(&records)[0], 5).unwrap();
    service.clear();
    let outcome = test().arg("--json").ends(0);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let estimate = &json["estimate"];
    assert!(
        (estimate["soft"].as_f64().unwrap() - taught.soft).abs() < 1e-9,
        "{json}"
    );
    assert_eq!(json["hard_label"], taught.hard());
    assert_eq!(estimate["generated"], taught.generated);
    for name in ["low", "high", "p0", "p1", "mass"] {
        assert!(estimate[name].is_f64(), "{name}: {json}");
    }
    assert_eq!(json["api_profile"]["top_logprobs"], 5);
    assert!(!json["api_profile_reasons"].as_array().unwrap().is_empty());
    assert!(
        json["latency_ms"].is_u64() && json["service_request_id"].is_string(),
        "{json}"
    );

    service.clear();
    let without = test().arg("--no-rationale").ends(0);
    assert!(!without.stdout.contains("rationale"), "{without}");
    assert_eq!(service.rationales().len(), 0);
    assert!(!text.to_string().contains(KEY));
}

#[test]
fn a_test_that_fails_says_why() {
    let content_filter = ContentFilter {
        prompt_contains: vec!["forbidden".to_owned()],
        ..ContentFilter::default()
    };
    let service = Service::start(Config {
        content_filter,
        ..Config::default()
    });
    let outcome = Softlabel::new(["test", "--message", "forbidden fruit"])
        .against(&service)
        .ends(1);
    assert!(outcome.error().contains("content filter"), "{outcome}");
    service
        .update(|config| config.access.api_keys = vec!["other".to_owned()])
        .unwrap();
    let outcome = Softlabel::new(["test"]).against(&service).ends(1);
    assert!(
        outcome.error().contains("401") && !outcome.to_string().contains(KEY),
        "{outcome}"
    );
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let service = Service::well();
    let home = Home::new();
    let input = home.messages(&["one"]);
    let label = Softlabel::label(&service, &input, &home.path("out.jsonl"));
    for softlabel in [
        Softlabel::new(["info"]),
        Softlabel::new(["info", "--json"]),
        Softlabel::new(["label", "--help"]),
        Softlabel::new(["test"]).against(&service),
        label,
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = softlabel.command();
        let output = command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let service = Service::well();
    let home = Home::new();
    let label = Softlabel::label(&service, &home.messages(&["one"]), &home.path("out.jsonl"));
    let outcome = label.args(["--log", "info"]).ends(0);
    for drawn in ['\u{1b}', '\r', '━'] {
        assert!(!outcome.to_string().contains(drawn), "{outcome:?}");
    }
}

/// `script` gives a program a terminal; where there is none this is left out.
#[test]
#[cfg(target_os = "linux")]
fn on_a_terminal_there_is_a_bar_and_the_log_stands_above_it() {
    use softlabel_doubles::azure_openai::{Fault, Faults, Latency};
    if Command::new("script").arg("--version").output().is_err() {
        return;
    }
    let rates = [(Fault::Status(503), 1.0)].into();
    let faults = Faults {
        rates,
        max_faults_per_key: 1,
        ..Faults::default()
    };
    let latency = Latency::Fixed { ms: 60.0 };
    let service = Service::start(Config {
        faults,
        latency,
        ..Config::default()
    });
    let home = Home::new();
    let messages = distinct(24);
    let label = Softlabel::label(
        &service,
        &home.messages(&borrowed(&messages)),
        &home.path("out.jsonl"),
    )
    .args(["--log", "debug", "--concurrency", "2", "--no-rationales"]);
    let inner = label.command();
    let quoted = std::iter::once(inner.get_program()).chain(inner.get_args());
    let quoted = quoted
        .map(|arg| format!("'{}'", arg.to_str().unwrap()))
        .collect::<Vec<_>>();
    let mut script = Command::new("script");
    script
        .args(["-qec", &quoted.join(" "), "/dev/null"])
        .env_clear();
    script.envs(
        inner
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let output = script
        .env("TERM", "xterm")
        .env("COLUMNS", "120")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let screen = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{screen}");
    assert!(
        screen.contains('━') || screen.contains('─'),
        "a bar: {screen:?}"
    );
    assert!(
        screen.contains("labels ") && screen.contains("/24"),
        "{screen:?}"
    );
    let mut logged = 0;
    for line in screen
        .split('\n')
        .filter(|line| line.contains("WARN") || line.contains("DEBUG"))
    {
        // What stands before the time on this line of the terminal was wiped.
        let end = line
            .rfind("\u{1b}[2K")
            .map_or(0, |at| at + "\u{1b}[2K".len());
        // The cursor goes up as many lines as the bar takes.
        let visible = (1..=9).fold(&line[end..], |line, up| {
            line.trim_start_matches(&format!("\u{1b}[{up}A"))
        });
        assert!(visible.starts_with("\u{1b}[2m20"), "{line:?}");
        assert!(!line[end..].contains('━'), "{line:?}");
        logged += 1;
    }
    assert!(logged > 0, "{screen:?}");
}

/// What a worker bought whose host was killed would reach nobody.
#[test]
fn a_worker_ends_when_its_host_is_gone() {
    let serve = Softlabel::new(["serve", "--data", "data", "--port", "0"])
        .env("SoftlabelData", "UseDevelopmentStorage=true")
        .env("AzureWebJobsStorage", "UseDevelopmentStorage=true")
        // A shell is the host: it starts the worker, and ends with its own input.
        .through(["sh", "-c", "\"$0\" \"$@\" & cat"]);
    let mut command = serve.command();
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut host = command.spawn().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(host.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines() {
            let _ = sender.send(line.unwrap());
        }
    });
    let wait_for = |event: &str| {
        let event = format!("\"event\":\"{event}\"");
        while !lines.recv_timeout(HANG).unwrap().contains(&event) {}
    };
    wait_for("started");
    host.kill().unwrap();
    host.wait().unwrap();
    wait_for("host_gone");
    // The pipe closes with the last process that writes to it.
    while lines.recv_timeout(HANG) != Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {}
}
