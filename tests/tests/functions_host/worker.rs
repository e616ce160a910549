//! The worker as a process.

use std::time::Duration;

use serde_json::json;
use softlabel_doubles::functions_host::{Host, Level, Options};
use softlabel_doubles::until;

use super::harness::*;

#[tokio::test]
async fn it_is_ready_with_any_answer_and_messages_wait_until_then() {
    let app = App::new().await;
    app.queue_function("work");
    app.send("work", "x").await;
    let options = app.options().setting("START_AFTER_MS", "300");
    let host = Host::start(options).await.unwrap();
    // Its `GET /` is answered with 418.
    assert!(host.time_to_ready() >= Duration::from_millis(300));
    assert!(succeeded(&ended(&host, 1).await[0]));
    assert!(host.worker_peak_memory() > 1 << 20);
}

#[tokio::test]
async fn one_that_does_not_answer_in_time_or_cannot_run_is_an_error() {
    let app = App::new().await;
    // `HttpFunctionInvocationDispatcher.AddOrUpdateErrorBucket`: a start that takes too long is an error like an
    // exit, and is made again until the third.
    let options = Options {
        initialization_timeout: Duration::from_millis(200),
        ..app.options().setting("START_AFTER_MS", "60000")
    };
    let error = format!("{:#}", Host::start(options).await.unwrap_err());
    assert!(
        error.contains("failed 3 times: it did not answer GET /"),
        "{error}"
    );

    let options = app.options().setting("EXIT_AT_START", "7");
    let error = format!("{:#}", Host::start(options).await.unwrap_err());
    assert!(
        error.contains("failed 3 times: it ended") && error.contains("7"),
        "{error}"
    );

    let handler = json!({ "description": { "defaultExecutablePath": "no-such-file" } });
    app.host_json(json!({ "customHandler": handler }));
    let error = format!("{:#}", Host::start(app.options()).await.unwrap_err());
    assert!(error.contains("no-such-file"), "{error}");
}

#[tokio::test]
async fn one_that_was_killed_is_started_again_and_what_it_did_fails_and_is_retried() {
    let app = App::new().await;
    app.queue_function("work");
    let host = app.start().await;
    let first = host.worker_pid().unwrap();
    app.send("work", json!({ "sleep_ms": 2_000 })).await;
    let begun = async || Ok(app.received().len() == 1);
    until(HANG, "the worker has begun", begun).await.unwrap();
    host.kill_worker().await;
    let invocations = ended(&host, 2).await;
    assert!(
        failure(&invocations[0]).contains("does not answer"),
        "{invocations:#?}"
    );
    assert!(succeeded(&invocations[1]));
    assert_eq!(invocations[1].dequeue_count, Some(2));
    assert_ne!(host.worker_pid().unwrap(), first);
    assert_eq!(host.stopped(), None);
}

#[tokio::test]
async fn the_third_exit_in_a_row_stops_the_host_unless_long_times_lie_between() {
    let app = App::new().await;
    let options = app.options();
    let host = Host::start(options.clone()).await.unwrap();
    for _ in 0..3 {
        host.kill_worker().await;
    }
    let stopped = async || Ok(host.stopped().is_some());
    until(HANG, "the host stops", stopped).await.unwrap();
    assert!(host.stopped().unwrap().contains("failed 3 times"));
    assert_eq!(host.worker_pid(), None);

    let options = Options {
        exit_window: Duration::ZERO,
        ..options
    };
    let host = Host::start(options).await.unwrap();
    for _ in 0..4 {
        host.kill_worker().await;
    }
    let ready = async || Ok(host.worker_pid().is_some());
    until(HANG, "the worker is ready again", ready)
        .await
        .unwrap();
    assert_eq!(host.stopped(), None);
}

#[tokio::test]
async fn one_that_ends_with_0_is_not_started_again_and_everything_fails() {
    let app = App::new().await;
    app.host_json(json!({ "extensions": { "queues": { "maxDequeueCount": 2 } } }));
    app.queue_function("work");
    let host = Host::start(app.options().setting("EXIT_AT_SIGTERM", "0"))
        .await
        .unwrap();
    host.terminate_worker().await;
    app.send("work", "x").await;
    let invocations = ended(&host, 2).await;
    assert!(
        failure(&invocations[0]).contains("does not answer"),
        "{invocations:#?}"
    );
    assert_eq!(host.stopped(), None);
    app.drained("work").await;
    assert_eq!(app.messages("work-poison").await, ["x"]);
}

#[tokio::test]
async fn one_that_ends_on_sigterm_with_another_code_is_started_again() {
    let app = App::new().await;
    let host = Host::start(app.options().setting("EXIT_AT_SIGTERM", "143"))
        .await
        .unwrap();
    let first = host.worker_pid();
    host.terminate_worker().await;
    let again = async || Ok(host.worker_pid().is_some_and(|pid| Some(pid) != first));
    until(HANG, "another worker is ready", again).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_asks_for_a_restart_gets_it_as_often_as_it_wants() {
    let app = App::new().await;
    app.host_json(json!({ "extensions": { "queues": { "maxDequeueCount": 5 } } }));
    app.queue_function("work");
    let host = app.start().await;
    app.send("work", json!({ "exit": 200 })).await;
    let invocations = ended(&host, 5).await;
    assert!(failure(&invocations[4]).contains("does not answer"));
    assert_eq!(host.stopped(), None);
}

#[tokio::test]
async fn its_lines_are_kept_with_the_level_that_the_host_gives_them() {
    let app = App::new().await;
    app.queue_function("work");
    let options = Options {
        lines_kept: 3,
        ..app.options()
    };
    let host = Host::start(options).await.unwrap();
    for (stdout, stderr) in [
        ("gone", ""),
        ("an error, says stdout", ""),
        ("", "a WARNing"),
        ("", "all"),
    ] {
        let script = match stderr {
            "" => json!({ "stdout": stdout }),
            _ => json!({ "stderr": stderr }),
        };
        let before = host.invocations().len();
        app.send("work", script).await;
        ended(&host, before + 1).await;
        let said = async || {
            Ok(host
                .lines()
                .iter()
                .any(|line| line.text == format!("{stdout}{stderr}")))
        };
        until(HANG, "the line was read", said).await.unwrap();
    }
    let lines = host
        .lines()
        .into_iter()
        .map(|line| (line.level, line.text))
        .collect::<Vec<_>>();
    let expected = [
        (Level::Information, "an error, says stdout"),
        (Level::Warning, "a WARNing"),
        (Level::Error, "all"),
    ];
    assert_eq!(
        lines,
        expected.map(|(level, text)| (level, text.to_owned()))
    );
}

#[tokio::test]
async fn its_environment_is_the_apps_settings_and_where_it_is() {
    let app = App::new().await;
    let script = "#!/bin/sh\nenv > \"$RECORD\"\nexec \"$WORKER\"\n";
    let path = app.path("start");
    std::fs::write(&path, script).unwrap();
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&path, permissions).unwrap();
    // A path in the script root.
    let handler = json!({ "description": { "defaultExecutablePath": "start" } });
    app.host_json(json!({ "customHandler": handler }));
    let options = app
        .options()
        .setting("WORKER", env!("CARGO_BIN_EXE_scripted-worker"));
    let _host = Host::start(options).await.unwrap();
    let environment = std::fs::read_to_string(app.path("record")).unwrap();
    let value = |name: &str| {
        let mut lines = environment.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.to_owned())
    };
    assert_eq!(
        value("AzureWebJobsStorage"),
        Some(app.account.connection_string())
    );
    let port = value("FUNCTIONS_CUSTOMHANDLER_PORT").unwrap();
    assert!(port.parse::<u16>().is_ok());
    assert_eq!(value("FUNCTIONS_HTTPWORKER_PORT"), Some(port));
    assert!(value("FUNCTIONS_CUSTOMHANDLER_WORKER_ID").is_some());
    let root = app.path("").canonicalize().unwrap();
    assert_eq!(
        value("FUNCTIONS_APP_ROOT_PATH"),
        Some(root.to_string_lossy().into_owned())
    );
    assert_eq!(value("CARGO_MANIFEST_DIR"), None);
}

/// `WorkerProcess.Dispose` kills the process: nothing tells it before.
#[tokio::test]
async fn the_host_ends_its_worker_without_a_warning() {
    let app = App::new().await;
    let ended = app.path("ended");
    let script = format!(
        "#!/bin/bash\ntrap 'echo asked > {}; exit 1' TERM\n\"$WORKER\" & wait\n",
        ended.display()
    );
    let path = app.path("start");
    std::fs::write(&path, script).unwrap();
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&path, permissions).unwrap();
    let handler = json!({ "description": { "defaultExecutablePath": "start" } });
    app.host_json(json!({ "customHandler": handler }));
    let options = app
        .options()
        .setting("WORKER", env!("CARGO_BIN_EXE_scripted-worker"));
    let host = Host::start(options).await.unwrap();
    // What it started outlives it, and is told of nothing.
    let pid = host.worker_pid().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    host.stop().await;
    assert!(!ended.exists());
    for child in children.unwrap().split_whitespace() {
        let mut kill = std::process::Command::new("kill");
        kill.args(["-KILL", child]).status().unwrap();
    }
}
