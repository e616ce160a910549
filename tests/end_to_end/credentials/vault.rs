//! The key as a secret of a Key Vault.

use super::*;
use softlabel_doubles::azure_openai::Auth;

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn the_key_is_read_from_the_vault_as_the_managed_identity() {
    let azure = Azure::with_keys(&[KEY]).await;
    let mut command = azure.with_vault(&["test"]);
    command
        .env("AZURE_CLIENT_ID", CLIENT_ID)
        .env("AZURE_OPENAI_API_KEY", "a key that is wrong");
    ends(command, 0).await;
    assert!(
        azure
            .model
            .log()
            .iter()
            .all(|r| (r.auth, r.status) == (Auth::Key, Some(200)))
    );
    let readings = azure.vault.log();
    let readings = readings
        .iter()
        .map(|r| (r.path.as_str(), r.token.is_some(), r.status));
    let path = format!("/secrets/{SECRET}/");
    // The first request brings out the challenge, which says what token is wanted.
    assert_eq!(
        readings.collect::<Vec<_>>(),
        [(&*path, false, 401), (&*path, true, 200)]
    );
    let asked = azure.identity.log();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].client_id.as_deref(), Some(CLIENT_ID));
    assert_eq!(
        asked[0].resource.as_deref(),
        Some("https://vault.azure.net")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn another_secret_can_be_named() {
    let azure = Azure::with_keys(&[NEXT_KEY]).await;
    azure.vault.set_secret("Other-1", NEXT_KEY);
    ends(
        azure.with_vault(&["test", "--keyvault-secret", "Other-1"]),
        0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn a_key_rotated_in_mid_run_is_read_again() {
    let azure = Azure::with_keys(&[KEY]).await;
    azure.write_input();
    let run = azure.with_vault(&LABEL).spawn().unwrap();
    azure.until_answered(TURNS / 3).await;
    azure.vault.set_secret(SECRET, NEXT_KEY);
    azure
        .model
        .update(|config| config.access.api_keys = vec![NEXT_KEY.into()])
        .unwrap();
    let outcome = outcome(run).await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    azure.assert_all_labelled();
    assert_eq!(azure.vault.handed_out(), 2);
    assert!(
        (1..=4).contains(&azure.answers(401)),
        "{}",
        azure.answers(401)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn a_rotated_key_that_cannot_be_read_again_stops_the_run_and_says_why() {
    let azure = Azure::with_keys(&[KEY]).await;
    azure.write_input();
    let run = azure.with_vault(&LABEL).spawn().unwrap();
    azure.until_answered(TURNS / 3).await;
    azure.vault.set_closed(true);
    azure
        .model
        .update(|config| config.access.api_keys = vec![NEXT_KEY.into()])
        .unwrap();
    let stopped = outcome(run).await;
    assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
    for part in [
        "401",
        "could not be renewed: HTTP 403",
        "Key Vault Secrets User",
    ] {
        assert!(stopped.stderr.contains(part), "{part}: {}", stopped.stderr);
    }
    // Nothing is lost: the same command continues.
    azure.vault.set_closed(false);
    azure.vault.set_secret(SECRET, NEXT_KEY);
    ends(azure.with_vault(&LABEL), 0).await;
    azure.assert_all_labelled();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn a_secret_that_is_not_there_is_named() {
    let azure = Azure::with_keys(&[KEY]).await;
    let command = azure.with_vault(&["test", "--keyvault-secret", "no-such-key"]);
    let stderr = ends(command, 1).await.stderr;
    for part in [
        "secret no-such-key of https://double.vault.azure.net: HTTP 404",
        "--keyvault-secret",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(azure.model.log().is_empty());
}

/// After its date the vault still hands it out, and the service has the last word.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build reaches no vault on loopback"
)]
async fn a_key_with_a_date_of_expiry_is_read_again_before_it() {
    let azure = Azure::with_keys(&[KEY]).await;
    azure.write_input();
    let latency = Latency::Fixed { ms: 300.0 };
    azure
        .model
        .update(|config| config.latency = latency)
        .unwrap();
    let expires = jiff::Timestamp::now().as_second() + 3;
    azure.vault.set_expiry(SECRET, expires.try_into().unwrap());
    ends(azure.with_vault(&LABEL), 0).await;
    azure.assert_all_labelled();
    assert!(
        (2..=6).contains(&azure.vault.handed_out()),
        "{}",
        azure.vault.handed_out()
    );
    assert_eq!(azure.answers(401), 0);
}

/// The variable that leads to the vault's double is a spelling mistake to a release build.
#[cfg(not(debug_assertions))]
#[tokio::test(flavor = "multi_thread")]
async fn a_release_build_cannot_be_led_to_another_vault() {
    let azure = Azure::with_keys(&[KEY]).await;
    let stderr = ends(azure.with_vault(&["test"]), 2).await.stderr;
    assert!(stderr.contains("SOFTLABEL_TEST_VAULT_LOOPBACK"), "{stderr}");
    assert!(azure.vault.log().is_empty());
}
