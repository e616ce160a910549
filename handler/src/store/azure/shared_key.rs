//! Signs requests to a storage emulator, which the SDK does not do: it knows only identities.
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use crate::clock::Clock;
use crate::identity::Secret;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, HeaderValue};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, Url};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Headers whose values are signed as they are, in this order.
const STANDARD: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

pub(super) struct SharedKey {
    account: String,
    key: hmac::Key,
    clock: Clock,
}

impl SharedKey {
    /// Takes the account's key, in base64.
    pub(super) fn new(account: &str, key: &Secret, clock: Clock) -> azure_core::Result<Self> {
        let key = BASE64_STANDARD.decode(key.expose()).map_err(|_| {
            let message = "the account key is not base64";
            azure_core::Error::with_message(ErrorKind::Credential, message)
        })?;
        Ok(Self {
            account: account.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            clock,
        })
    }

    fn sign(&self, request: &mut Request) {
        let now = self.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        request.insert_header("x-ms-date", now.to_string());
        let text = string_to_sign(&self.account, request);
        let signature = BASE64_STANDARD.encode(hmac::sign(&self.key, text.as_bytes()));
        let header = format!("SharedKey {}:{signature}", self.account);
        request.insert_header("authorization", HeaderValue::from(header));
    }
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedKey({})", self.account)
    }
}

#[async_trait]
impl Policy for SharedKey {
    async fn send(
        &self,
        ctx: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        self.sign(request);
        match next.split_first() {
            Some((first, rest)) => first.send(ctx, request, rest).await,
            None => Err(azure_core::Error::with_message(
                ErrorKind::Other,
                "nothing sends the request",
            )),
        }
    }
}

fn string_to_sign(account: &str, request: &Request) -> String {
    let mut text = request.method().as_str().to_owned();
    text.push('\n');
    for name in STANDARD {
        let value = match name {
            // The HTTP client sends it for every body, whether the SDK has set it or not.
            "content-length" => match request.body().len() {
                Some(0) | None => String::new(),
                Some(length) => length.to_string(),
            },
            name => {
                let value = request.headers().get_optional_str(&HeaderName::from(name));
                value.unwrap_or_default().to_owned()
            }
        };
        text.push_str(&value);
        text.push('\n');
    }
    let of_storage = request
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect::<BTreeMap<_, _>>();
    for (name, value) in of_storage {
        text.push_str(&format!("{name}:{}\n", value.trim()));
    }
    text.push_str(&resource(account, request.url()));
    text
}

/// What is asked for: the path as it is sent, and the query decoded.
fn resource(account: &str, url: &Url) -> String {
    let mut query = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in url.query_pairs() {
        let values = query.entry(name.to_lowercase()).or_default();
        values.push(value.into_owned());
    }
    let mut text = format!("/{account}{}", url.path());
    for (name, mut values) in query {
        values.sort();
        text.push_str(&format!("\n{name}:{}", values.join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::Method;

    #[test]
    fn the_string_is_the_documented_one() {
        let url = "http://127.0.0.1:10000/acct/data/a%2Fb%20c.json?comp=block&blockid=QQ%3D%3D";
        let mut request = Request::new(url.parse().unwrap(), Method::Put);
        request.insert_header("x-ms-version", "2024-11-04");
        request.insert_header("x-ms-date", "Tue, 24 Nov 2026 13:00:00 GMT");
        request.insert_header("content-type", "application/octet-stream");
        request.insert_header("if-none-match", "*");
        request.set_body("[1]");
        assert_eq!(
            string_to_sign("acct", &request),
            "PUT\n\n\n3\n\napplication/octet-stream\n\n\n\n*\n\n\n\
             x-ms-date:Tue, 24 Nov 2026 13:00:00 GMT\nx-ms-version:2024-11-04\n\
             /acct/acct/data/a%2Fb%20c.json\nblockid:QQ==\ncomp:block"
        );
    }

    #[test]
    fn a_key_is_in_no_debug_output_and_must_be_base64() {
        let clock = Clock::from_fn(|| "2026-11-24T13:00:00Z".parse().unwrap());
        let signer = SharedKey::new("acct", &Secret::new("c2VjcmV0"), clock).unwrap();
        assert_eq!(format!("{signer:?}"), "SharedKey(acct)");
        let mut request = Request::new("http://127.0.0.1/acct/data".parse().unwrap(), Method::Get);
        signer.sign(&mut request);
        let date = request.headers().get_optional_str(&"x-ms-date".into());
        assert_eq!(date, Some("Tue, 24 Nov 2026 13:00:00 GMT"));
        assert!(SharedKey::new("acct", &Secret::new("not base64!"), clock).is_err());
    }
}
