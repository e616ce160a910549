//! Takes the host's requests on loopback: `GET /` is its ping, `POST /<function>` an invocation.
//!
//! Invariant: whatever happens in one invocation, a panic included, is that invocation's failure.

use super::answer::{Answer, Failure};
use super::invocation::Invocation;
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Buf, Bytes};
use futures::StreamExt;
use std::io::{self, BufReader};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};

/// More than any message or request of ours holds.
const LARGEST_BODY: usize = 32 << 20;

/// Blocks of a body that wait to be read.
const BLOCKS_AHEAD: usize = 4;

/// The functions that the host can call.
#[async_trait]
pub trait Functions: Send + Sync + 'static {
    /// Their names, as the host calls them; a call of any other is refused.
    fn names(&self) -> Vec<&'static str>;

    /// Whether a function reads what its bindings hold. Where it does not, that may be of any size.
    fn reads_data(&self, _function: &str) -> bool {
        true
    }

    /// Does what one invocation asks for.
    ///
    /// # Errors
    /// Why not; the host then hands the same message over again.
    async fn invoke(&self, invocation: Invocation) -> Result<Answer, Failure>;
}

#[derive(Clone)]
struct Server {
    functions: Arc<dyn Functions>,
    stop: CancellationToken,
    invocations: TaskTracker,
}

/// Serves `functions` on `listener` until `stop` is cancelled. After that it accepts no invocation, and
/// returns once those under way are answered.
pub async fn serve(
    listener: TcpListener,
    functions: Arc<dyn Functions>,
    stop: CancellationToken,
) -> io::Result<()> {
    let server = Server {
        functions,
        stop: stop.clone(),
        invocations: TaskTracker::new(),
    };
    let invocations = server.invocations.clone();
    let router = Router::new()
        .route("/", get(ready))
        .route("/{function}", post(invoke))
        .with_state(server);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    invocations.close();
    invocations.wait().await;
    Ok(())
}

/// Any answer means that the handler is there.
async fn ready() -> &'static str {
    "softlabel is ready\n"
}

async fn invoke(
    State(server): State<Server>,
    Path(function): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let known = server.functions.names();
    if !known.contains(&function.as_str()) {
        let message = format!(
            "there is no function {function:?}; known are {}",
            known.join(", ")
        );
        return failed(
            StatusCode::NOT_FOUND,
            &Failure::new("UnknownFunction", message),
        );
    }
    if let Err(reason) = from_the_host(&headers) {
        return failed(StatusCode::FORBIDDEN, &Failure::new("NotTheHost", reason));
    }
    if server.stop.is_cancelled() {
        let failure = Failure::new("Stopping", "this instance stops and takes no work any more");
        return failed(StatusCode::SERVICE_UNAVAILABLE, &failure);
    }
    let id = headers.get("x-azure-functions-invocationid");
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let span = info_span!("invocation", function, invocation_id = id);
    let invocation = match decode(
        &function,
        id,
        request,
        server.functions.reads_data(&function),
    )
    .await
    {
        Ok(invocation) => invocation,
        Err(failure) => {
            span.in_scope(|| tracing::error!(error = %failure, "the invocation cannot be read"));
            return failed(StatusCode::BAD_REQUEST, &failure);
        }
    };
    let functions = Arc::clone(&server.functions);
    let work = async move { functions.invoke(invocation).await };
    // A task of its own: a panic ends there, and so does nothing that the host hangs up on.
    let ended = server
        .invocations
        .spawn(work.instrument(span.clone()))
        .await;
    let result = ended.unwrap_or_else(|error| {
        let failure = match error.try_into_panic() {
            Ok(panic) => Failure::new("Panic", format!("the function panicked: {}", said(&*panic))),
            Err(error) => Failure::new("Aborted", error.to_string()),
        };
        Err(failure)
    });
    match result {
        Ok(answer) => answered(StatusCode::OK, answer.into_body()),
        Err(failure) => {
            span.in_scope(|| {
                tracing::error!(kind = failure.kind, error = %failure, "the invocation failed");
            });
            failed(StatusCode::INTERNAL_SERVER_ERROR, &failure)
        }
    }
}

/// Lets what the Functions host sends pass, and nothing that a web page can make a browser on this machine
/// send: that has an `Origin`, or the name of the page's host, which may lead to loopback, or no JSON.
fn from_the_host(headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key(header::ORIGIN) {
        return Err("an invocation has no Origin: this is a web page's request");
    }
    let host = text(header::HOST).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if host != "127.0.0.1" && !host.eq_ignore_ascii_case("localhost") {
        return Err("an invocation is sent to 127.0.0.1 or localhost, and its Host says so");
    }
    match is_json(text(header::CONTENT_TYPE).unwrap_or_default()) {
        true => Ok(()),
        false => Err("an invocation is JSON, and its Content-Type says so"),
    }
}

/// Whether a `Content-Type` is that of JSON.
pub fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

async fn decode(
    function: &str,
    id: &str,
    request: Request,
    reads_data: bool,
) -> Result<Invocation, Failure> {
    let refused = |error: String| Failure::new("Invocation", error);
    if !reads_data {
        let named = (function.to_owned(), id.to_owned());
        let (blocks, received) = mpsc::channel(BLOCKS_AHEAD);
        let decoding = tokio::task::spawn_blocking(move || {
            let body = Blocks {
                received,
                block: Bytes::new(),
            };
            Invocation::without_data(&named.0, &named.1, BufReader::new(body))
        });
        let mut body = request.into_body().into_data_stream();
        // A body that breaks off is none.
        while let Some(Ok(block)) = body.next().await {
            if blocks.send(block).await.is_err() {
                break;
            }
        }
        drop(blocks);
        let decoded = decoding.await;
        let decoded = decoded.map_err(|error| refused(error.to_string()))?;
        return decoded.map_err(|error| refused(error.to_string()));
    }
    let body = to_bytes(request.into_body(), LARGEST_BODY)
        .await
        .map_err(|error| Failure::new("Body", format!("the body cannot be taken: {error}")))?;
    Invocation::decode(function, id, &body).map_err(|error| refused(error.to_string()))
}

/// A body as it comes, to be read on a thread that may wait.
struct Blocks {
    received: mpsc::Receiver<Bytes>,
    block: Bytes,
}

impl io::Read for Blocks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() {
            match self.received.blocking_recv() {
                Some(block) => self.block = block,
                None => return Ok(0),
            }
        }
        let length = self.block.len().min(into.len());
        self.block
            .split_to(length)
            .copy_to_slice(into.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

fn failed(status: StatusCode, failure: &Failure) -> Response {
    let body = serde_json::to_vec(failure).unwrap_or_default();
    answered(status, body)
}

fn answered(status: StatusCode, body: Vec<u8>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (status, json, Body::from(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    struct Three;

    #[async_trait]
    impl Functions for Three {
        fn names(&self) -> Vec<&'static str> {
            vec!["well", "badly", "panics", "large"]
        }

        fn reads_data(&self, function: &str) -> bool {
            function != "large"
        }

        async fn invoke(&self, invocation: Invocation) -> Result<Answer, Failure> {
            match invocation.function.as_str() {
                "large" => {
                    let kept = invocation.metadata("kept");
                    Ok(Answer::done().send("out", [json!({ "kept": kept })]))
                }
                "well" => Ok(Answer::done().send("out", [json!({"id": invocation.id})])),
                "badly" => Err(Failure::new("Bad", "it went badly")),
                _ => panic!("mid-air"),
            }
        }
    }

    async fn start() -> (
        String,
        CancellationToken,
        tokio::task::JoinHandle<io::Result<()>>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Arc::new(Three), stop.clone()));
        (url, stop, serving)
    }

    async fn call(url: &str, function: &str, body: &'static str) -> (u16, String, String) {
        call_with(url, function, body, &[JSON]).await
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    async fn call_with(
        url: &str,
        function: &str,
        body: &'static str,
        headers: &[(&str, &str)],
    ) -> (u16, String, String) {
        let request = reqwest::Client::new()
            .post(format!("{url}/{function}"))
            .header("X-Azure-Functions-InvocationId", "i-1")
            .body(body);
        let headers = headers.iter();
        let request = headers.fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let sent = request.send();
        let answer = sent.await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        (status, kind, answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn what_a_function_does_not_read_may_be_of_any_size() {
        let (url, stop, serving) = start().await;
        let blob = "x".repeat(LARGEST_BODY);
        for data in [json!({"blob": blob}), json!({"a": {"b": [1, null]}})] {
            let body = json!({"Data": data, "Metadata": {"kept": "v4"}}).to_string();
            let (status, _, body) = call(&url, "large", body.leak()).await;
            assert_eq!((status, body.contains("v4")), (200, true));
        }
        let (status, _, _) = call(&url, "large", "{\"Data\": {\"blob\": \"cut").await;
        assert_eq!(status, 400);
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn every_invocation_gets_its_own_answer() {
        let (url, stop, serving) = start().await;
        let ready = reqwest::get(&url).await.unwrap();
        assert!(ready.status().is_success());
        let (status, kind, body) = call(&url, "well", "{}").await;
        assert_eq!(status, 200);
        assert!(kind.starts_with("application/json"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["Outputs"]["out"], json!([{"id": "i-1"}]));
        let (status, _, body) = call(&url, "badly", "{}").await;
        assert_eq!((status, body.contains("it went badly")), (500, true));
        let (status, _, body) = call(&url, "panics", "{}").await;
        assert_eq!((status, body.contains("mid-air")), (500, true));
        let (status, _, body) = call(&url, "unheard-of", "{}").await;
        assert_eq!(
            (status, body.contains("well, badly, panics, large")),
            (404, true)
        );
        let (status, _, _) = call(&url, "well", "no JSON").await;
        assert_eq!(status, 400);
        let invalid: [&[(&str, &str)]; 4] = [
            &[],
            &[("content-type", "text/plain")],
            &[JSON, ("origin", "http://127.0.0.1:7071")],
            &[JSON, ("host", "rebound.example:80")],
        ];
        for headers in invalid {
            let (status, _, _) = call_with(&url, "well", "{}", headers).await;
            assert_eq!(status, 403, "{headers:?}");
        }
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), serving).await;
        ended.unwrap().unwrap().unwrap();
    }
}
