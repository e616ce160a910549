//! HTTP triggers.

use reqwest::{Body, Client, Method, Response};
use serde_json::{Value, json};
use softlabel_doubles::functions_host::Host;

use super::harness::*;

fn http_function(app: &App, name: &str, trigger: Value) {
    let mut bound = json!({
        "type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "function",
    });
    for (name, value) in trigger.as_object().unwrap() {
        bound[name] = value.clone();
    }
    let out = json!({ "type": "http", "direction": "out", "name": "res" });
    app.function(name, json!([bound, out, queue_output("plans", "plans")]));
}

async fn call(host: &Host, method: Method, path: &str) -> Response {
    let url = format!("{}{path}", host.endpoint());
    let request = Client::new().request(method, url);
    request
        .header("x-functions-key", host.function_key())
        .send()
        .await
        .unwrap()
}

/// An app with one function, which answers so.
async fn app_that_answers(res: Value) -> (App, Host) {
    let app = App::new().await;
    http_function(
        &app,
        "runs",
        json!({ "route": "runs/{run?}/{action?}", "methods": ["get", "post"] }),
    );
    let script = json!({ "outputs": { "res": res, "plans": [{ "n": 1 }] } });
    let host = Host::start(app.options().setting("ON_RUNS", script.to_string()))
        .await
        .unwrap();
    (app, host)
}

#[tokio::test]
async fn a_request_comes_with_all_its_parts() {
    let (app, host) = app_that_answers(json!({ "statusCode": 200 })).await;
    let url = format!(
        "{}/api/runs/r%201/cancel?code={}&a=1&a=2",
        host.endpoint(),
        host.function_key()
    );
    let sent = Client::new()
        .post(&url)
        .header("X-Kind", "k")
        .body("{\"why\":1}")
        .send();
    assert_eq!(sent.await.unwrap().status(), 200);
    let received = app.received().remove(0);
    assert_eq!(
        (received.method.as_str(), received.uri.as_str()),
        ("POST", "/runs")
    );
    let request = &received.body["Data"]["req"];
    assert_eq!(request["Url"], url);
    assert_eq!(request["Method"], "POST");
    assert_eq!(request["Query"]["a"], "1,2");
    assert_eq!(request["Headers"]["X-Kind"], json!(["k"]));
    assert_eq!(
        request["Params"],
        json!({ "run": "r 1", "action": "cancel" })
    );
    assert_eq!(request["Identities"], json!([]));
    assert_eq!(request["Body"], "{\"why\":1}");
    assert_eq!(received.body["Metadata"]["run"], "\"r 1\"");
    assert_eq!(app.messages("plans").await, ["{\n  \"n\": 1\n}"]);
}

#[tokio::test]
async fn an_optional_parameter_that_is_absent_is_null() {
    let (app, host) = app_that_answers(json!({})).await;
    let url = format!("{}/api/runs/7", host.endpoint());
    let sent = Client::new()
        .get(url)
        .header("x-functions-key", host.function_key())
        .send();
    assert_eq!(sent.await.unwrap().status(), 200);
    let body = app.received().remove(0).body;
    let request = &body["Data"]["req"];
    assert_eq!(request["Params"], json!({ "run": "7", "action": null }));
    assert_eq!(body["Metadata"].get("action"), None);
}

#[tokio::test]
async fn a_body_in_chunks_is_lost() {
    let (app, host) = app_that_answers(json!({})).await;
    let body = Body::wrap(http_body_of_unknown_length("lost"));
    let url = format!("{}/api/runs", host.endpoint());
    let sent = Client::new()
        .post(url)
        .header("x-functions-key", host.function_key())
        .body(body)
        .send();
    assert_eq!(sent.await.unwrap().status(), 200);
    let request = app.received().remove(0).body["Data"]["req"].clone();
    assert_eq!(request["Headers"]["Transfer-Encoding"], json!(["chunked"]));
    assert_eq!(request["Body"], Value::Null);
}

fn http_body_of_unknown_length(
    text: &'static str,
) -> impl http_body::Body<Data = axum::body::Bytes, Error = axum::Error> {
    // Two frames; a body of one whose length is known would be sent with it.
    struct Frames(Vec<&'static str>);
    impl http_body::Body for Frames {
        type Data = axum::body::Bytes;
        type Error = axum::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            let next = self.0.pop();
            std::task::Poll::Ready(next.map(|text| Ok(http_body::Frame::data(text.into()))))
        }
    }
    Frames(vec![text, text])
}

#[tokio::test]
async fn a_function_decides_status_headers_and_body() {
    let res = json!({ "statusCode": 202, "headers": { "Location": "/x" }, "body": { "run": 7 } });
    let (_app, host) = app_that_answers(res).await;
    let response = call(&host, Method::GET, "/api/RUNS").await;
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["location"], "/x");
    assert_eq!(
        response.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "run": 7 }));

    let (_app, host) = app_that_answers(json!({ "statusCode": "409", "body": "taken" })).await;
    let response = call(&host, Method::GET, "/api/runs").await;
    assert_eq!(response.status(), 409);
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(response.text().await.unwrap(), "taken");
}

#[tokio::test]
async fn other_paths_and_methods_are_not_found_and_a_wrong_key_opens_nothing() {
    let (app, host) = app_that_answers(json!({})).await;
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/api/runs/1", 200),
        (Method::POST, "/api/runs/1/cancel", 200),
        (Method::DELETE, "/api/runs", 404),
        (Method::GET, "/api/runs/1/cancel/x", 404),
        (Method::GET, "/api/other", 404),
        (Method::GET, "/runs", 404),
    ] {
        let response = call(&host, method.clone(), path).await;
        assert_eq!(response.status(), status, "{method} {path}");
    }
    let before = app.received().len();
    for query in ["", "?code=wrong"] {
        let url = format!("{}/api/runs{query}", host.endpoint());
        assert_eq!(reqwest::get(url).await.unwrap().status(), 401);
    }
    let url = format!("{}/api/runs?code={}", host.endpoint(), host.function_key());
    let wrong = Client::new()
        .get(url)
        .header("x-functions-key", "wrong")
        .send()
        .await;
    assert_eq!(wrong.unwrap().status(), 401);
    assert_eq!(app.received().len(), before);
}

#[tokio::test]
async fn a_failure_is_500_and_sends_nothing() {
    let app = App::new().await;
    http_function(&app, "relabel", json!({ "authLevel": "anonymous" }));
    let script =
        json!({ "status": 400, "outputs": { "plans": [1], "res": { "statusCode": 400 } } });
    let host = Host::start(app.options().setting("ON_RELABEL", script.to_string()))
        .await
        .unwrap();
    // Without a route the function's name is it.
    let response = reqwest::get(format!("{}/api/relabel", host.endpoint()))
        .await
        .unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(response.text().await.unwrap(), "");
    assert!(!app.storage.queue("plans").exists().await.unwrap());
    assert!(failure(&host.invocations()[0]).contains("400"));
}

#[tokio::test]
async fn fixed_text_goes_before_names_and_the_prefix_can_be_changed() {
    let app = App::new().await;
    app.host_json(json!({ "extensions": { "http": { "routePrefix": "" } } }));
    http_function(&app, "any", json!({ "route": "a/{b}" }));
    http_function(&app, "one", json!({ "route": "a/one" }));
    let host = app.start().await;
    for path in ["/a/one", "/a/two"] {
        assert_eq!(call(&host, Method::GET, path).await.status(), 200);
    }
    let functions = host
        .invocations()
        .into_iter()
        .map(|invocation| invocation.function);
    assert_eq!(functions.collect::<Vec<_>>(), ["one", "any"]);
}

#[tokio::test]
async fn plain_http_functions_get_the_request_itself_where_the_app_wants_it() {
    let app = App::new().await;
    app.host_json(json!({ "customHandler": { "enableProxyingHttpRequest": true } }));
    let bindings = json!([
        { "type": "httpTrigger", "direction": "in", "name": "req", "route": "runs/{run?}" },
        { "type": "http", "direction": "out", "name": "res" },
    ]);
    app.function("plain", bindings);
    // One that sends messages, too, goes the usual way.
    http_function(&app, "mixed", json!({}));
    let script = json!({ "status": 404, "content_type": "text/x-run", "body": "no run" });
    let options = app.options().setting("ON_API_RUNS_7", script.to_string());
    let host = Host::start(options).await.unwrap();
    let url = format!("{}/api/runs/7?x=1", host.endpoint());
    let sent = Client::new()
        .put(url)
        .header("x-functions-key", host.function_key())
        .body("b")
        .send();
    let response = sent.await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["content-type"], "text/x-run");
    assert_eq!(response.text().await.unwrap(), "no run");
    let received = app.received().remove(0);
    assert_eq!(
        (received.method.as_str(), received.uri.as_str()),
        ("PUT", "/api/runs/7?x=1")
    );
    assert_eq!(received.text, "b");
    assert!(received.headers["x-azure-functions-invocationid"].is_string());

    call(&host, Method::GET, "/api/mixed").await;
    let received = app.received().remove(1);
    assert_eq!(
        (received.method.as_str(), received.uri.as_str()),
        ("POST", "/mixed")
    );
}
