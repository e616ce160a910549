//! A vault on this machine, for tests. Only debug builds have this file: in a release build no setting
//! can send a vault's requests elsewhere.

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use std::sync::Arc;

/// Names the `http://127.0.0.1:PORT` that stands in for every vault.
pub const VAULT_LOOPBACK: &str = "SOFTLABEL_TEST_VAULT_LOOPBACK";

/// Sends what is meant for a vault to [`VAULT_LOOPBACK`], if that is set.
pub(super) fn rewrite(http: Arc<dyn HttpClient>) -> Arc<dyn HttpClient> {
    match std::env::var(VAULT_LOOPBACK) {
        Ok(instead) if !instead.is_empty() => Arc::new(Loopback { http, instead }),
        _ => http,
    }
}

/// The SDK sends credentials over https only. To it the request stays one; the last step below it
/// changes scheme and host.
#[derive(Debug)]
struct Loopback {
    http: Arc<dyn HttpClient>,
    instead: String,
}

#[async_trait]
impl HttpClient for Loopback {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut request = request.clone();
        let mut url = self.instead.parse::<reqwest::Url>()?;
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        *request.url_mut() = url;
        self.http.execute_request(&request).await
    }
}
