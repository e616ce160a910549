//! Which source is taken, what is said when none gives anything, and what is never said.

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn a_vault_that_refuses_gives_way_to_the_key_of_the_environment() {
    let azure = Azure::with_keys(&[OWN_KEY]).await;
    azure.vault.set_closed(true);
    let mut command = azure.with_vault(&["test"]);
    command.env("AZURE_OPENAI_API_KEY", OWN_KEY);
    let outcome = ends(command, 0).await;
    for part in [
        "WARN",
        "AZURE_OPENAI_API_KEY is used",
        "HTTP 403",
        "Key Vault Secrets User",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn when_nothing_works_everything_that_was_tried_is_listed() {
    let azure = Azure::with_keys(&[KEY]).await;
    let mut command = azure.with_vault(&["test"]);
    command.env("AZURE_CLIENT_ID", "an-identity-that-is-not-assigned");
    let stderr = ends(command, 1).await.stderr;
    let expected = "error: there is no credential for the service; tried in this order:
  - Key Vault, secret azure-openai-api-key of https://double.vault.azure.net: no identity gives a \
token for https://vault.azure.net/.default
    - managed identity: The requested identity has not been assigned to this resource
    - workload identity: not tried, AZURE_FEDERATED_TOKEN_FILE is not set
    - az login: az not found on PATH
    - azd login: azd not found on PATH
  - AZURE_OPENAI_API_KEY: not set
  - Entra token for the model: not tried, --auth is key
";
    assert_eq!(stderr, expected);
    assert!(azure.model.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_setting_the_message_says_what_could_be_set() {
    let azure = Azure::with_keys(&[KEY]).await;
    let stderr = ends(azure.softlabel(&["test", "--no-keyvault"]), 1)
        .await
        .stderr;
    for part in [
        "Key Vault: not tried, --no-keyvault",
        "AZURE_OPENAI_API_KEY: not set",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let stderr = ends(azure.softlabel(&["test"]), 1).await.stderr;
    assert!(
        stderr.contains("Key Vault: not tried, no --keyvault-url is set"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn no_keyvault_asks_no_vault() {
    let azure = Azure::with_keys(&[OWN_KEY]).await;
    let mut command = azure.with_vault(&["test", "--no-keyvault"]);
    command.env("AZURE_OPENAI_API_KEY", OWN_KEY);
    let outcome = ends(command, 0).await;
    assert_eq!(outcome.stderr, "");
    assert!(azure.vault.log().is_empty() && azure.identity.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_of_the_environment_is_sent_once() {
    let azure = Azure::with_keys(&[KEY]).await;
    let mut command = azure.softlabel(&["test"]);
    command.env("AZURE_OPENAI_API_KEY", OWN_KEY);
    let stderr = ends(command, 1).await.stderr;
    let advice = "check that AZURE_OPENAI_API_KEY belongs to AZURE_OPENAI_ENDPOINT";
    assert!(stderr.contains(advice), "{stderr}");
    assert_eq!(azure.model.log().len(), 1);
}

/// [`outcome`] looks for secrets after every run; this one says everything that it can say.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn the_most_talkative_log_shows_no_secret() {
    let azure = Azure::with_keys(&[KEY]).await;
    let outcome = ends(azure.with_vault(&["test", "--log", "trace"]), 0).await;
    assert!(outcome.stderr.contains("TRACE"), "{}", outcome.stderr);
    let azure = Azure::with_tokens(&[2]).await;
    let mut command = azure.with_identity(&["test", "--log", "trace"]);
    command.env("SOFTLABEL_AUTH", "entra");
    // Refused, renewed and refused again.
    ends(command, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn info_says_where_a_credential_would_come_from() {
    let azure = Azure::with_keys(&[KEY]).await;
    let mut command = azure.with_identity(&["info", "--json", "--keyvault-url", VAULT]);
    command
        .env("AZURE_CLIENT_ID", CLIENT_ID)
        .env("AZURE_OPENAI_API_KEY", OWN_KEY);
    let info: Value = serde_json::from_str(&ends(command, 0).await.stdout).unwrap();
    let credential = &info["credential"];
    assert_eq!(credential["auth"], "key");
    assert_eq!(
        credential["Key Vault"],
        format!("secret {SECRET} of {}", VAULT.trim_end_matches('/'))
    );
    assert_eq!(credential["AZURE_OPENAI_API_KEY"], "set (not shown)");
    assert!(
        credential["managed identity"]
            .as_str()
            .unwrap()
            .contains(CLIENT_ID)
    );
    assert!(azure.vault.log().is_empty() && azure.identity.log().is_empty());
}
