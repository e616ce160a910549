//! One request, one answer: the HTTP exchange itself.

use super::bill::{self, Bill, Ending};
use super::body;
use super::credential::{Credential, Header, RenewalError};
use super::disposition::{Disposition, dispose};
use super::endpoint::{Api, Endpoint};
use super::meter::Meter;
use super::pacing::RateLimitHeaders;
use super::stop::Stop;
use super::wire::{Answer, Messages, Request};
use crate::clock::Clock;
use crate::identity::cause;
use crate::text::Mask;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Time-outs of an exchange; every wait has a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// From sending until the last byte of the answer.
    pub call: Duration,
}

/// Sends requests to one deployment over pooled connections.
#[derive(Clone, Debug)]
pub struct Transport {
    http: reqwest::Client,
    endpoint: Endpoint,
    credential: Credential,
    meter: Arc<Meter>,
    clock: Clock,
    /// The first name of a model that needed no mask.
    model: Arc<OnceLock<String>>,
    /// The proxy that requests go through, if there is one.
    proxy: Option<String>,
}

/// What one attempt brought, and how to find it again in the service's logs.
#[derive(Debug)]
pub struct Exchange {
    /// The answer, or what to do without one.
    pub result: Result<Answer, Disposition>,
    /// What the answer says about its bill, even if the answer is unusable.
    pub bill: Bill,
    /// The answer's `model`, as it stands.
    pub model: Option<String>,
    /// What the service says of its quota; nothing where it did not answer.
    pub headers: RateLimitHeaders,
    /// From sending until the last byte.
    pub latency: Duration,
    /// `x-ms-client-request-id`, ours.
    pub client_request_id: Uuid,
    /// `apim-request-id`, the service's.
    pub service_request_id: Option<String>,
}

impl Transport {
    /// A transport that keeps up to `connections` idle connections.
    ///
    /// # Errors
    /// If TLS cannot be set up on this machine.
    pub fn new(
        endpoint: Endpoint,
        credential: Credential,
        timeouts: Timeouts,
        connections: usize,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("softlabel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.call)
            .pool_max_idle_per_host(connections)
            .tcp_nodelay(true)
            // One HTTP/2 connection would cap the calls in flight at the server's stream limit.
            .http1_only()
            // A redirect would carry the key to another host.
            .redirect(reqwest::redirect::Policy::none());
        if endpoint.is_loopback() {
            // The proxy is another machine, which would get the key in the clear.
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build()?,
            proxy: proxy_of(&endpoint),
            endpoint,
            credential,
            meter: Arc::new(Meter::default()),
            clock,
            model: Arc::default(),
        })
    }

    /// The deployment's address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The totals of everything sent.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Sends `request`, and once more where the credential was refused but can be renewed.
    pub async fn send(&self, request: &Request<'_>) -> Exchange {
        let header = self.credential.header().await;
        let exchange = self.send_once(request, &header).await;
        let Err(Disposition::Stop(Stop::Unauthorized(said))) = &exchange.result else {
            return exchange;
        };
        let said = match self.credential.renew(&header).await {
            Ok(header) => {
                let again = self.send_once(request, &header).await;
                match &again.result {
                    Err(Disposition::Stop(Stop::Unauthorized(said))) => {
                        let said = format!("{said}, also after it was renewed");
                        return self.unauthorized(again, &said);
                    }
                    _ => return again,
                }
            }
            Err(RenewalError::NotRenewable) => said.clone(),
            Err(error @ RenewalError::Failed(_)) => format!("{said}, and {error}"),
        };
        self.unauthorized(exchange, &said)
    }

    /// `exchange` as a refusal for the reason `said`, with what to check about the credential.
    fn unauthorized(&self, exchange: Exchange, said: &str) -> Exchange {
        let text = format!("{said}; {}", self.credential.advice());
        Exchange {
            result: Err(Disposition::Stop(Stop::Unauthorized(text))),
            ..exchange
        }
    }

    /// Sends `request` once.
    async fn send_once(&self, request: &Request<'_>, header: &Header) -> Exchange {
        let client_request_id = Uuid::new_v4();
        let started = Instant::now();
        self.meter.sent();
        let mut service_request_id = None;
        let mut rate_limit = RateLimitHeaders::default();
        let ending;
        let result = match self.exchange(request, header, client_request_id).await {
            Err(fault) => {
                ending = match fault.sent {
                    true => Ending::Broken,
                    false => Ending::NotSent,
                };
                let through = self
                    .proxy
                    .as_ref()
                    .map(|proxy| format!(", through the proxy {proxy}"));
                Err(Disposition::Retry {
                    reason: fault.reason + &through.unwrap_or_default(),
                    status: None,
                    after: None,
                })
            }
            Ok((status, headers, body)) => {
                rate_limit = RateLimitHeaders::read(&headers);
                let secret = header.value.to_str().unwrap_or_default();
                let Messages { system, user, .. } = request.messages;
                let mask = Mask {
                    secrets: &[secret.trim_start_matches("Bearer ")],
                    texts: &[user],
                    instructions: &[system],
                };
                let (_, service_id) = request_ids(self.endpoint.api());
                let id = headers.get(service_id);
                let id = id.and_then(|value| value.to_str().ok());
                service_request_id = id.map(|id| mask.name(id));
                let disposed = dispose(status, &headers, &body, self.clock.now(), mask);
                let longest = u64::from(request.answer_tokens());
                let usage = disposed
                    .usage
                    .filter(|usage| bill::believed(usage, request.text_bytes(), longest));
                ending = disposed.ending(usage);
                self.read(disposed.result, mask)
            }
        };
        let bill = Bill::of(ending);
        match &result {
            Err(Disposition::Retry { .. }) => self.meter.retried(),
            Err(Disposition::Throttled { .. }) => self.meter.throttled(),
            _ => {}
        }
        Exchange {
            model: result.as_ref().ok().and_then(|answer| answer.model.clone()),
            result,
            bill,
            headers: rate_limit,
            latency: started.elapsed(),
            client_request_id,
            service_request_id,
        }
    }

    /// The same, where it stops a run with what was tried.
    fn read(
        &self,
        result: Result<Answer, Disposition>,
        mask: Mask<'_>,
    ) -> Result<Answer, Disposition> {
        result
            .map(|answer| Answer {
                model: answer.model.map(|model| self.model(model, mask)),
                ..answer
            })
            .map_err(|disposition| match disposition {
                Disposition::Refused { stop, error } => Disposition::Refused {
                    stop: stop.tried(&self.endpoint.tried()),
                    error,
                },
                Disposition::Stop(stop) => Disposition::Stop(stop.tried(&self.endpoint.tried())),
                other => other,
            })
    }

    /// A model's name as it may be shown. One that was shown as it is holds nothing of what was asked, and a
    /// message may well ask about it.
    fn model(&self, name: String, mask: Mask<'_>) -> String {
        if self.model.get() == Some(&name) {
            return name;
        }
        let shown = mask.name(&name);
        if shown == name {
            let _ = self.model.set(name);
        }
        shown
    }

    async fn exchange(
        &self,
        request: &Request<'_>,
        proof: &Header,
        id: Uuid,
    ) -> Result<(u16, HeaderMap, Vec<u8>), Fault> {
        let broken = |error: reqwest::Error| Fault {
            reason: cause(&error),
            sent: !error.is_connect(),
        };
        let text_bytes = usize::try_from(request.text_bytes()).unwrap_or_default();
        // Room for escapes and parameters, so that it need not grow.
        let mut body = Vec::with_capacity(text_bytes + text_bytes / 8 + 512);
        serde_json::to_writer(&mut body, request).map_err(|error| Fault {
            reason: format!("the request cannot be written: {error}"),
            sent: false,
        })?;
        let (client_id, _) = request_ids(self.endpoint.api());
        let mut request = self
            .http
            .post(self.endpoint.url().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            // Without it any encoding would do.
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .header(HeaderName::from_static(client_id), id.to_string());
        if !proof.value.is_empty() {
            request = request.header(proof.name.clone(), proof.value.clone());
        }
        let mut response = request.body(body).send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(broken)? {
            if bytes.len() + part.len() > body::LARGEST {
                return Err(Fault {
                    reason: "the answer has no end".into(),
                    sent: true,
                });
            }
            bytes.extend_from_slice(&part);
        }
        Ok((status, headers, bytes))
    }
}

/// The headers that carry a request's ids: ours, and the service's.
fn request_ids(api: Api) -> (&'static str, &'static str) {
    match api {
        Api::Azure => ("x-ms-client-request-id", "apim-request-id"),
        Api::OpenAi => ("x-client-request-id", "x-request-id"),
    }
}

/// The proxy that the environment names for `endpoint`, without its password.
fn proxy_of(endpoint: &Endpoint) -> Option<String> {
    let url = endpoint.url().as_str().parse().ok()?;
    let proxy = Matcher::from_system()
        .intercept(&url)
        .filter(|_| !endpoint.is_loopback())?;
    Some(format!(
        "{}://{}",
        proxy.uri().scheme_str()?,
        proxy.uri().authority()?
    ))
}

/// Why no answer came.
struct Fault {
    reason: String,
    /// The request may have reached the service.
    sent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::credential::Proof;

    #[test]
    fn a_message_may_name_the_model_that_answers() {
        let timeout = Duration::from_secs(1);
        let transport = Transport::new(
            Endpoint::new("http://localhost:1", "labels", None).unwrap(),
            Credential::fixed(Proof::none(), ""),
            Timeouts {
                connect: timeout,
                call: timeout,
            },
            1,
            Clock::system(),
        );
        let transport = transport.unwrap();
        let shown = |name: &str, text: &str| {
            let mask = Mask {
                texts: &[text],
                ..Mask::default()
            };
            transport.model(name.to_owned(), mask)
        };
        let (model, about) = ("gpt-5.2-2025-12-11", "is it gpt-5.2-2025-12-11?");
        assert_eq!(shown(model, about), "[…]");
        assert_eq!(shown(model, "why is it slow?"), model);
        assert_eq!(shown(model, about), model);
        assert_eq!(shown(about, about), "[…]");
    }
}
