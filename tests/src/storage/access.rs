//! Shared access signatures.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The version of the service that the signature is written for.
const VERSION: &str = "2023-11-03";

/// Every permission there is for blobs and queues.
const PERMISSIONS: &str = "rwdlacup";

/// A signature that opens blobs and queues of one account, for a century.
#[derive(Debug)]
pub(super) struct Signature([(&'static str, String); 7]);

impl Signature {
    /// Signs with the account's key, in base64. What is no base64 signs wrongly, and the service says so.
    pub(super) fn for_account(account: &str, key: &str) -> Self {
        let (services, types, protocol) = ("bq", "sco", "https,http");
        let end = "2099-12-31T00:00:00Z";
        // Start, address range and encryption scope are left empty. The order and the line break at the
        // end are the service's.
        let text = [
            account,
            PERMISSIONS,
            services,
            types,
            "",
            end,
            "",
            protocol,
            VERSION,
            "",
            "",
        ]
        .join("\n");
        let key = BASE64_STANDARD.decode(key).unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        Self([
            ("sv", VERSION.to_owned()),
            ("ss", services.to_owned()),
            ("srt", types.to_owned()),
            ("sp", PERMISSIONS.to_owned()),
            ("se", end.to_owned()),
            ("spr", protocol.to_owned()),
            ("sig", signature),
        ])
    }

    /// The parts that go into a URL.
    pub(super) fn query(&self) -> &[(&'static str, String)] {
        &self.0
    }
}
