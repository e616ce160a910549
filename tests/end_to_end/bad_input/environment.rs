//! Variables that are missing or unusable.

use super::*;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "no endpoint",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "set AZURE_OPENAI_ENDPOINT to https://",
            |w| w.good().without_env("AZURE_OPENAI_ENDPOINT"),
        ),
        row(
            "an empty endpoint",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://NAME.openai.azure.com",
            |w| w.good().env("AZURE_OPENAI_ENDPOINT", ""),
        ),
        row(
            "an endpoint that is no URL",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://NAME.openai.azure.com",
            |w| w.good().env("AZURE_OPENAI_ENDPOINT", "my-resource"),
        ),
        row(
            "an endpoint in the clear",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://",
            |w| {
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", "http://name.openai.azure.com")
            },
        ),
        row(
            "an endpoint of another kind",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://",
            |w| w.good().env("AZURE_OPENAI_ENDPOINT", "ftp://127.0.0.1"),
        ),
        row(
            "no key",
            1,
            &["AZURE_OPENAI_API_KEY: ", "not set"],
            "--keyvault-url",
            |w| w.good().without_env("AZURE_OPENAI_API_KEY"),
        ),
        row(
            "a blank key",
            1,
            &["AZURE_OPENAI_API_KEY: ", "not set"],
            "--keyvault-url",
            |w| w.good().env("AZURE_OPENAI_API_KEY", " \t"),
        ),
        row(
            "a key with a line break",
            1,
            &["AZURE_OPENAI_API_KEY: ", "a header cannot carry"],
            "--keyvault-url",
            |w| {
                w.good()
                    .env("AZURE_OPENAI_API_KEY", format!("{KEY}\nexport X=1"))
            },
        ),
        row(
            "a key that is not UTF-8",
            2,
            &["AZURE_OPENAI_API_KEY"],
            "comes from the variable",
            |w| {
                w.good().env(
                    "AZURE_OPENAI_API_KEY",
                    OsString::from_vec([KEY.as_bytes(), b"\xff"].concat()),
                )
            },
        ),
        row(
            "a variable that is no setting",
            2,
            &["SOFTLABEL_CONCURENCY"],
            "--help",
            |w| w.good().env("SOFTLABEL_CONCURENCY", "4"),
        ),
        row(
            "a variable with an unusable number",
            2,
            &["SOFTLABEL_CONCURRENCY", "many"],
            "--help",
            |w| w.good().env("SOFTLABEL_CONCURRENCY", "many"),
        ),
        row(
            "a variable with an unusable time",
            2,
            &["SOFTLABEL_OUTAGE_AFTER"],
            "10s",
            |w| w.good().env("SOFTLABEL_OUTAGE_AFTER", "5"),
        ),
        row(
            "a variable with an unusable yes or no",
            2,
            &["SOFTLABEL_SALVAGE", "maybe"],
            "--help",
            |w| w.good().env("SOFTLABEL_SALVAGE", "maybe"),
        ),
        row(
            "a variable with an unknown strategy",
            2,
            &["SOFTLABEL_STRATEGY", "guess"],
            "user_message_only",
            |w| w.good().env("SOFTLABEL_STRATEGY", "guess"),
        ),
        row(
            "a variable that is not UTF-8",
            2,
            &["SOFTLABEL_MODEL", "UTF-8"],
            "--help",
            |w| {
                w.good()
                    .env("SOFTLABEL_MODEL", OsString::from_vec(vec![b'g', 0xff]))
            },
        ),
        row(
            "a variable with an unusable log filter",
            2,
            &["SOFTLABEL_LOG"],
            "try info",
            |w| w.good().env("SOFTLABEL_LOG", "softlabel=loudly"),
        ),
    ]
}
