//! Addresses and settings of services that do not fit.

use super::*;

fn openai(w: &World, url: &str) -> Softlabel {
    w.good()
        .args(["--api", "openai", "--model", "small"])
        .env("OPENAI_BASE_URL", url)
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "an unknown form of the API",
            2,
            &["--api", "bedrock"],
            "openai",
            |w| w.good().args(["--api", "bedrock"]),
        ),
        row(
            "no base URL",
            2,
            &["OPENAI_BASE_URL"],
            "http://localhost:8000/v1",
            |w| w.good().args(["--api", "openai"]),
        ),
        row(
            "a blank base URL",
            2,
            &["OPENAI_BASE_URL"],
            "http://localhost:8000/v1",
            |w| openai(w, " "),
        ),
        row(
            "a base URL that is none",
            2,
            &["OPENAI_BASE_URL"],
            "http://localhost:8000/v1",
            |w| openai(w, "gpu box"),
        ),
        row(
            "a base URL without its scheme",
            2,
            &["OPENAI_BASE_URL"],
            "http://localhost:8000/v1",
            |w| openai(w, "localhost:8000/v1"),
        ),
        row(
            "a base URL of another kind",
            2,
            &["OPENAI_BASE_URL"],
            "http://localhost:8000/v1",
            |w| openai(w, "ftp://127.0.0.1/v1"),
        ),
        row(
            "a base URL in the clear",
            2,
            &["OPENAI_BASE_URL"],
            "--allow-http",
            |w| openai(w, "http://gpu-box.example:8000/v1"),
        ),
        row(
            "a base URL with a password",
            2,
            &["OPENAI_BASE_URL"],
            "OPENAI_API_KEY",
            |w| openai(w, "https://me:hidden@example.com/v1"),
        ),
        row(
            "a base URL with a query",
            2,
            &["OPENAI_BASE_URL"],
            "OPENAI_API_KEY",
            |w| openai(w, "https://example.com/v1?key=hidden"),
        ),
        row(
            "a base URL and no API that wants it",
            2,
            &["OPENAI_BASE_URL"],
            "--api openai",
            |w| {
                w.good()
                    .without_env("AZURE_OPENAI_ENDPOINT")
                    .env("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
            },
        ),
        row(
            "Entra for another API",
            2,
            &["--auth entra"],
            "leave it out",
            |w| openai(w, "http://127.0.0.1:1/v1").args(["--auth", "entra"]),
        ),
        row(
            "auto without a quota",
            2,
            &["--concurrency auto"],
            "--tpm",
            |w| {
                openai(w, "http://127.0.0.1:1/v1")
                    .args(["--concurrency", "auto"])
                    .without_env("SOFTLABEL_TPM")
                    .without_env("SOFTLABEL_RPM")
            },
        ),
        row(
            "two deployments",
            2,
            &["AZURE_OPENAI_ENDPOINT", "\"one\"", "\"two\""],
            "only one",
            |w| {
                let endpoint = "https://x.openai.azure.com/openai/deployments/one/chat/completions";
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", endpoint)
                    .env("AZURE_OPENAI_DEPLOYMENT", "two")
            },
        ),
        row(
            "two API versions",
            2,
            &["AZURE_OPENAI_ENDPOINT", "2024-10-21"],
            "only one",
            |w| {
                let endpoint = "https://x.openai.azure.com/openai/deployments/one/chat/completions\
                            ?api-version=2024-10-21";
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", endpoint)
                    .env("AZURE_OPENAI_API_VERSION", "2025-01-01")
            },
        ),
        row(
            "a key in the endpoint",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "AZURE_OPENAI_API_KEY",
            |w| {
                w.good().env(
                    "AZURE_OPENAI_ENDPOINT",
                    "https://x.openai.azure.com/?api-key=hidden",
                )
            },
        ),
        row(
            "a cap without a price elsewhere",
            2,
            &["--max-cost", "small"],
            "--price-input",
            |w| openai(w, "http://127.0.0.1:1/v1").args(["--max-cost", "5"]),
        ),
        Row {
            asks: false,
            ..asking(
                "nobody at the base URL",
                &["http://127.0.0.1:1/v1"],
                "OPENAI_BASE_URL",
                |w| openai(w, "http://127.0.0.1:1/v1"),
            )
        },
        asking(
            "a base URL of another service",
            &["/v9/chat/completions"],
            "OPENAI_BASE_URL",
            |w| {
                let url = format!("{}/v9", w.service.endpoint());
                openai(w, &url)
            },
        ),
        row(
            "an API key that no header carries",
            1,
            &["OPENAI_API_KEY: ", "a header cannot carry"],
            "--keyvault-url",
            |w| openai(w, "http://127.0.0.1:1/v1").env("OPENAI_API_KEY", format!("{KEY}\nx")),
        ),
    ]
}
