//! Tokens of Entra for the model itself.

use super::*;
use softlabel_doubles::azure_openai::Auth;
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn the_model_can_be_shown_a_token() {
    let azure = Azure::with_tokens(&[1]).await;
    ends(azure.with_identity(&["test", "--auth", "entra"]), 0).await;
    assert!(
        azure
            .model
            .log()
            .iter()
            .all(|r| (r.auth, r.status) == (Auth::Bearer, Some(200)))
    );
    assert_eq!(azure.identity.log()[0].resource.as_deref(), Some(SCOPE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scope_of_the_token_is_a_setting() {
    let azure = Azure::start(Access::default()).await;
    let args = [
        "test",
        "--auth",
        "entra",
        "--entra-scope",
        "https://ai.azure.com/.default",
    ];
    ends(azure.with_identity(&args), 0).await;
    assert_eq!(
        azure.identity.log()[0].resource.as_deref(),
        Some("https://ai.azure.com")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_refused_in_mid_run_is_renewed_once() {
    let azure = Azure::with_tokens(&[1, 2]).await;
    azure.write_input();
    let run = azure
        .with_identity(&LABEL)
        .env("SOFTLABEL_AUTH", "entra")
        .spawn()
        .unwrap();
    azure.until_answered(TURNS / 3).await;
    azure.identity.renew_tokens();
    azure
        .model
        .update(|config| config.access.expired_tokens = vec![token(1)])
        .unwrap();
    let outcome = outcome(run).await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    azure.assert_all_labelled();
    assert_eq!(azure.identity.log().len(), 2);
    assert!(
        (1..=4).contains(&azure.answers(401)),
        "{}",
        azure.answers(401)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_before_it_ends() {
    let azure = Azure::with_tokens(&[1, 2, 3, 4]).await;
    azure.write_input();
    azure.identity.set_lifetime(Duration::from_secs(3));
    let latency = Latency::Fixed { ms: 300.0 };
    azure
        .model
        .update(|config| config.latency = latency)
        .unwrap();
    let run = azure
        .with_identity(&LABEL)
        .env("SOFTLABEL_AUTH", "entra")
        .spawn()
        .unwrap();
    let outcome = outcome(run).await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    azure.assert_all_labelled();
    let tokens = azure
        .identity
        .log()
        .into_iter()
        .filter_map(|request| request.token);
    let tokens = tokens.collect::<std::collections::BTreeSet<_>>();
    assert!(tokens.len() >= 2, "{tokens:?}");
    assert_eq!(azure.answers(401), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_twice_stops_the_run() {
    let azure = Azure::with_tokens(&[99]).await;
    let stderr = ends(azure.with_identity(&["test", "--auth", "entra"]), 1)
        .await
        .stderr;
    for part in [
        "401",
        "audience is incorrect",
        "also after it was renewed",
        "Cognitive Services OpenAI User",
        "--entra-scope",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(azure.model.log().len(), 2);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_logged_in_with_az_is_asked_last() {
    let azure = Azure::with_tokens(&[7]).await;
    let answer = json!({
        "accessToken": token(7), "expires_on": 4_102_444_800_u64, "tokenType": "Bearer",
    });
    let asked = azure.home.path().join("asked");
    let script = format!(
        "#!/bin/sh\nprintf '%s ' \"$@\" > '{}'\nprintf '%s' '{answer}'\n",
        asked.display()
    );
    install(&azure.home.path().join("bin/az"), &script);
    // The managed identity is asked first, and has nothing.
    azure.identity.set_closed(true);
    ends(azure.with_identity(&["test", "--auth", "entra"]), 0).await;
    assert!(!azure.identity.log().is_empty());
    let asked = std::fs::read_to_string(asked).unwrap();
    assert_eq!(
        asked,
        format!("account get-access-token -o json --scope {SCOPE}/.default ")
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_does_not_answer_is_given_up() {
    let azure = Azure::with_tokens(&[7]).await;
    install(
        &azure.home.path().join("bin/az"),
        "#!/bin/sh\nexec /bin/sleep 600\n",
    );
    azure.identity.set_closed(true);
    let mut command = azure.with_identity(&["test", "--auth", "entra"]);
    command.env("SOFTLABEL_CREDENTIAL_TIMEOUT", "3s");
    let stderr = ends(command, 1).await.stderr;
    let given_up = "az login: no token within 3 s (--credential-timeout)";
    assert!(stderr.contains(given_up), "{stderr}");
}

#[cfg(unix)]
fn install(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
