//! Where the program takes its credential from, and how it keeps it valid while it runs.
//!
//! Vault, managed identity and service are doubles. The vault can be reached in debug builds only.

mod choice;
mod entra;
mod vault;

use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Access, Config, Double, Latency};
use softlabel_doubles::key_vault::KeyVault;
use softlabel_doubles::managed_identity::{self, ManagedIdentity};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const VAULT: &str = "https://double.vault.azure.net/";
const SECRET: &str = "azure-openai-api-key";
const SCOPE: &str = "https://cognitiveservices.azure.com";

/// Odd, so that they can be searched for.
const KEY: &str = "k3y-of-the-vault-5501";
const NEXT_KEY: &str = "k3y-of-the-vault-after-rotation-5502";
const OWN_KEY: &str = "k3y-of-the-environment-5503";

const CLIENT_ID: &str = "11111111-2222-3333-4444-555555555555";

/// Longer than any run here takes, even on a busy machine.
const HANG: Duration = Duration::from_secs(120);

/// Enough for something to happen in the middle.
const TURNS: usize = 60;

/// Everything of Azure that the program can meet, and a folder for its files.
struct Azure {
    model: Double,
    vault: KeyVault,
    identity: ManagedIdentity,
    home: TempDir,
}

/// How a run ended.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Azure {
    /// A service that accepts what `access` says, and a vault with [`KEY`].
    async fn start(access: Access) -> Self {
        let latency = Latency::Fixed { ms: 30.0 };
        let model = Double::start(Config {
            access,
            latency,
            ..Config::default()
        })
        .await
        .unwrap();
        let vault = KeyVault::start().await.unwrap();
        vault.set_secret(SECRET, KEY);
        let identity = ManagedIdentity::start(CLIENT_ID).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("bin")).unwrap();
        Self {
            model,
            vault,
            identity,
            home,
        }
    }

    /// A service that accepts these keys.
    async fn with_keys(keys: &[&str]) -> Self {
        let api_keys = keys.iter().map(|key| key.to_string()).collect();
        Self::start(Access {
            api_keys,
            ..Access::default()
        })
        .await
    }

    /// A service that accepts these tokens and no key.
    async fn with_tokens(numbers: &[u32]) -> Self {
        let bearer_tokens = numbers.iter().map(|&number| token(number)).collect();
        let api_keys = vec!["no key is right".to_owned()];
        Self::start(Access {
            api_keys,
            bearer_tokens,
            ..Access::default()
        })
        .await
    }

    /// The program in an environment without any credential, and without `az` and `azd`.
    fn softlabel(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_softlabel"));
        command
            .args(args)
            .env_clear()
            .env("PATH", self.home.path().join("bin"))
            .env("AZURE_OPENAI_ENDPOINT", self.model.endpoint())
            .env("SOFTLABEL_FIRST_BACKOFF", "2ms")
            .env("SOFTLABEL_CREDENTIAL_TIMEOUT", "20s")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command
    }

    /// The same with a managed identity.
    fn with_identity(&self, args: &[&str]) -> Command {
        let mut command = self.softlabel(args);
        command
            .env("IDENTITY_ENDPOINT", self.identity.endpoint())
            .env("IDENTITY_HEADER", managed_identity::HEADER);
        command
    }

    /// The same with a vault.
    fn with_vault(&self, args: &[&str]) -> Command {
        let mut command = self.with_identity(args);
        command
            .env("SOFTLABEL_KEYVAULT_URL", VAULT)
            .env("SOFTLABEL_TEST_VAULT_LOOPBACK", self.vault.endpoint());
        command
    }

    /// Writes a dataset's file, for `label --input in.json --output out.jsonl`.
    fn write_input(&self) {
        let turns = (0..TURNS).map(|i| {
            let text = format!("what about module {i}?");
            json!({"turnIndex": i, "messageId": format!("m{i}"), "userMessage": text})
        });
        let turns = turns.collect::<Vec<_>>();
        let file = json!([{"conversationId": "c", "turnsArray": turns}]);
        std::fs::write(self.home.path().join("in.json"), file.to_string()).unwrap();
    }

    /// Waits until the service has answered `count` requests of a run.
    async fn until_answered(&self, count: usize) {
        let answered = || {
            self.model
                .log()
                .iter()
                .filter(|record| record.status.is_some())
                .count()
        };
        let enough = async {
            while answered() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(HANG, enough).await.unwrap();
    }

    /// How many answers of the service had this status.
    fn answers(&self, status: u16) -> usize {
        self.model
            .log()
            .iter()
            .filter(|record| record.status == Some(status))
            .count()
    }

    fn assert_all_labelled(&self) {
        let text = std::fs::read_to_string(self.home.path().join("out.jsonl")).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let labelled = lines.filter(|line| line["soft_label"].is_f64()).count();
        assert_eq!(labelled, TURNS, "{text}");
    }
}

const LABEL: [&str; 8] = [
    "label",
    "--input",
    "in.json",
    "--output",
    "out.jsonl",
    "--no-rationales",
    "--concurrency",
    "4",
];

/// The token for the model that the managed identity hands out as its `number`th.
fn token(number: u32) -> String {
    format!("token-{number}-for-{SCOPE}")
}

async fn outcome(child: Child) -> Outcome {
    let output = tokio::time::timeout(HANG, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    for secret in [
        KEY,
        NEXT_KEY,
        OWN_KEY,
        managed_identity::HEADER,
        "token-1",
        "token-2",
    ] {
        assert!(
            !stdout.contains(secret) && !stderr.contains(secret),
            "{secret}: {stdout}{stderr}"
        );
    }
    Outcome {
        code: output.status.code(),
        stdout,
        stderr,
    }
}

async fn run(mut command: Command) -> Outcome {
    outcome(command.spawn().unwrap()).await
}

async fn ends(command: Command, code: i32) -> Outcome {
    let outcome = run(command).await;
    assert_eq!(
        outcome.code,
        Some(code),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    outcome
}
