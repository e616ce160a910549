//! The double of Azure OpenAI, over real HTTP.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{
    AlwaysFail, Auth, Config, Double, Fault, Form, Kind, Latency, LimitChange, Limits, Record,
    Stats,
};

/// A double and somebody who calls it.
struct Call {
    double: Double,
    client: Client,
}

impl Call {
    async fn with(config: Config) -> Self {
        let double = Double::start(config).await.unwrap();
        // A pool would retry a reset connection on its own and hide what happened.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { double, client }
    }

    async fn v1(&self, body: &Value) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/openai/v1/chat/completions", self.double.endpoint());
        self.client
            .post(url)
            .header("api-key", "k")
            .json(body)
            .send()
            .await
    }

    async fn dated(&self, deployment: &str, body: &Value) -> reqwest::Response {
        let path = format!("openai/deployments/{deployment}/chat/completions");
        let url = format!("{}/{path}?api-version=2024-10-21", self.double.endpoint());
        self.client
            .post(url)
            .bearer_auth("t")
            .json(body)
            .send()
            .await
            .unwrap()
    }

    async fn control(&self, method: Method, path: &str, body: &str) -> String {
        let url = format!("{}/_double/{path}", self.double.endpoint());
        let sent = self
            .client
            .request(method, url)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        sent.text().await.unwrap()
    }

    /// The log once every request has ended: a caller that leaves is noticed a moment later.
    async fn ended(&self) -> Vec<Record> {
        while self.double.stats().in_flight > 0 {
            tokio::task::yield_now().await;
        }
        self.double.log()
    }
}

const SYSTEM: &str = "Answer with one digit.\n0 = reasoning is needed\n1 = no reasoning is needed";
const SWAPPED: &str = "Answer with one digit.\n1 = reasoning is needed\n0 = no reasoning is needed";

fn classification(system: &str, user: &str) -> Value {
    json!({
        "model": "gpt-5.2", "reasoning_effort": "none", "max_completion_tokens": 16,
        "logprobs": true, "top_logprobs": 5,
        "messages": [{ "role": "system", "content": system }, { "role": "user", "content": user }],
    })
}

fn naive(user: &str) -> Value {
    json!({
        "model": "gpt-4o", "max_tokens": 1, "temperature": 1.0, "logprobs": true, "top_logprobs": 5,
        "logit_bias": { "15": 5, "16": 5 }, "messages": [{ "role": "user", "content": user }],
    })
}

async fn json(response: reqwest::Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
    )
}

/// ln P("1")/P("0") as listed.
fn log_odds(body: &Value) -> f64 {
    let listed = body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        .as_array()
        .unwrap();
    let of = |token: &str| {
        let entry = listed.iter().find(|entry| entry["token"] == token).unwrap();
        entry["logprob"].as_f64().unwrap()
    };
    of("1") - of("0")
}

#[tokio::test]
async fn both_url_forms_and_credentials_work_and_are_recorded() {
    let call = Call::with(Config::default()).await;
    let (status, body) = json(call.v1(&naive("hello")).await.unwrap()).await;
    assert_eq!(status, 200, "{body}");
    let token = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(["0", "1"].contains(&token));
    let (status, dated) = json(call.dated("gpt-4o", &naive("hello")).await).await;
    assert_eq!(status, 200);
    assert!((log_odds(&body) - log_odds(&dated)).abs() < 1e-9);

    let log = call.ended().await;
    assert_eq!((log[0].form, log[0].auth), (Form::V1, Auth::Key));
    assert_eq!((log[1].form, log[1].auth), (Form::Dated, Auth::Bearer));
    assert_eq!(log[0].key, log[1].key);
    assert!(
        log.iter()
            .all(|record| record.fully_sent && record.status == Some(200))
    );
    let asked = call.double.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].kind, asked[0].requests, asked[0].answered),
        (Kind::Classification, 2, 2)
    );
}

#[tokio::test]
async fn the_naive_request_fails_on_gpt_5_2() {
    let call = Call::with(Config::default()).await;
    let mut body = naive("hello");
    body["model"] = "gpt-5.2".into();
    let (status, error) = json(call.v1(&body).await.unwrap()).await;
    assert_eq!(status, 400);
    assert_eq!(error["error"]["code"], "unsupported_parameter");
    assert_eq!(error["error"]["param"], "max_tokens");
    assert_eq!(call.double.asked()[0].attempts, 0);
}

#[tokio::test]
async fn wrong_addresses_and_credentials_are_told_apart() {
    let mut config = Config::default();
    config.access.api_keys = vec!["other".to_owned()];
    config.access.expired_tokens = vec!["t".to_owned()];
    let call = Call::with(config).await;
    let (status, error) = json(call.v1(&naive("x")).await.unwrap()).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["code"]),
        (401, &json!("401"))
    );
    let (status, error) = json(call.dated("gpt-4o", &naive("x")).await).await;
    assert_eq!((status.as_u16(), &error["statusCode"]), (401, &json!(401)));

    call.double
        .update(|config| config.access = Default::default())
        .unwrap();
    let (status, error) = json(call.dated("nowhere", &naive("x")).await).await;
    assert_eq!(
        (status.as_u16(), &error["error"]["code"]),
        (404, &json!("DeploymentNotFound"))
    );
    let endpoint = call.double.endpoint();
    for path in [
        "openai/chat/completions",
        "openai/deployments/gpt-4o/chat/completions",
    ] {
        let sent = call
            .client
            .post(format!("{endpoint}/{path}"))
            .json(&naive("x"))
            .send()
            .await;
        let (status, error) = json(sent.unwrap()).await;
        assert_eq!(status, 404);
        assert_eq!(
            error,
            json!({ "error": { "code": "404", "message": "Resource not found" } })
        );
    }
    assert_eq!(call.double.stats().unrouted, 2);
}

#[tokio::test]
async fn swapped_meanings_cancel_the_token_bias() {
    let call = Call::with(Config {
        token_bias: 0.8,
        ..Config::default()
    })
    .await;
    for message in ["why is the sky blue?", "thanks", "a walk in the park"] {
        let marked = |mark: &str| format!("[{mark}]\n{message}\n[/{mark}]");
        let a = classification(SYSTEM, &marked("a81b3f0c9d22e7f1"));
        let b = classification(SWAPPED, &marked("77aa01b2c3d4e5f6"));
        let a = log_odds(&json(call.v1(&a).await.unwrap()).await.1);
        let b = log_odds(&json(call.v1(&b).await.unwrap()).await.1);
        assert!(((a + b) / 2.0 - 0.8).abs() < 1e-9, "{a} {b}");
        assert!((a - b).abs() > 0.0);
    }
    let log = call.ended().await;
    assert_eq!(log[0].key, log[1].key);
    assert!(!log[0].swapped && log[1].swapped);
}

#[tokio::test]
async fn free_texts_end_at_their_limit() {
    let call = Call::with(Config {
        overlong_text_rate: 1.0,
        ..Config::default()
    })
    .await;
    let mut body = classification(SYSTEM, "why?");
    body["logprobs"] = false.into();
    body["top_logprobs"] = Value::Null;
    body["max_completion_tokens"] = 90.into();
    let (status, body) = json(call.v1(&body).await.unwrap()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["usage"]["completion_tokens"], 90);
    assert_eq!(call.ended().await[0].kind, Kind::Text);
}

#[tokio::test]
async fn quota_throttles_and_comes_back() {
    let limits = Limits {
        rpm: Some(600),
        tpm: Some(100_000),
        ..Limits::default()
    };
    let call = Call::with(Config {
        limits,
        ..Config::default()
    })
    .await;
    let mut statuses = Vec::new();
    for i in 0..11 {
        let response = call.v1(&naive(&format!("message {i}"))).await.unwrap();
        statuses.push(response.status().as_u16());
        let headers = response.headers().clone();
        let header = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        if response.status() == 429 {
            let ms: u64 = header("retry-after-ms").unwrap().parse().unwrap();
            assert!((1..=1_000).contains(&ms));
            assert_eq!(header("retry-after").as_deref(), Some("1"));
            let error = json(response).await.1;
            let message = error["error"]["message"].as_str().unwrap();
            assert!(
                message.contains("have exceeded call rate limit"),
                "{message}"
            );
        } else {
            assert_eq!(header("x-ratelimit-limit-requests").as_deref(), Some("600"));
            assert_eq!(
                header("x-ratelimit-limit-tokens").as_deref(),
                Some("100000")
            );
        }
    }
    // A machine too slow to send eleven requests within a second cannot show the throttling.
    if call.double.stats().service_s < 1.0 {
        assert_eq!(statuses.last(), Some(&429));
    }

    call.double.set_limits(Limits {
        no_quota: true,
        ..Limits::default()
    });
    let response = call.v1(&naive("again")).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "86400");
    call.double.set_limits(Limits::default());
    assert_eq!(call.v1(&naive("again")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn quota_changes_by_plan() {
    let tpm = |tpm| Limits {
        tpm: Some(tpm),
        ..Limits::default()
    };
    let limit_changes = vec![LimitChange {
        at_s: 0.0,
        limits: tpm(1),
    }];
    let call = Call::with(Config {
        limits: tpm(1_000_000),
        limit_changes,
        ..Config::default()
    })
    .await;
    let (status, error) = json(call.v1(&naive("x")).await.unwrap()).await;
    assert_eq!(status, 429);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("have exceeded token rate limit"),
        "{message}"
    );
    assert_eq!(call.double.stats().throttled_tokens, 1);
}

#[tokio::test]
async fn time_can_be_compressed() {
    let limits = Limits {
        tpm: Some(1),
        ..Limits::default()
    };
    let latency = Latency::Fixed { ms: 60_000.0 };
    let call = Call::with(Config {
        speed: 60_000.0,
        latency,
        ..Config::default()
    })
    .await;
    assert_eq!(call.v1(&naive("x")).await.unwrap().status(), 200);
    assert!(call.double.stats().service_s >= 60.0);
    call.double.set_limits(limits);
    let response = call.v1(&naive("x")).await.unwrap();
    let ms: u64 = response.headers()["retry-after-ms"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(ms <= 1, "{ms}");
}

async fn always(fault: Fault) -> Call {
    let mut config = Config::default();
    let contains = "poison".to_owned();
    config.faults.always_fail.push(AlwaysFail {
        contains,
        fault,
        code: None,
    });
    config.faults.slow_body_ms = 50;
    Call::with(config).await
}

#[tokio::test]
async fn a_reset_comes_before_any_answer() {
    let call = always(Fault::Reset).await;
    let error = call.v1(&naive("poison")).await.unwrap_err();
    assert!(error.is_request() && !error.is_connect(), "{error:?}");
    let causes = format!("{error:?}");
    assert!(
        causes.contains("ConnectionReset") || causes.contains("reset"),
        "{causes}"
    );
    assert_eq!(call.v1(&naive("cake")).await.unwrap().status(), 200);
    let log = call.ended().await;
    assert_eq!(
        (log[0].status, log[0].fault, log[0].fully_sent),
        (None, Some(Fault::Reset), false)
    );
}

#[tokio::test]
async fn a_half_body_has_a_head_and_no_end() {
    let call = always(Fault::HalfBody).await;
    let response = call.v1(&naive("poison")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.content_length().unwrap() > 100);
    assert!(response.bytes().await.is_err());
    let log = call.ended().await;
    assert_eq!((log[0].status, log[0].fully_sent), (Some(200), false));
    assert_eq!(call.double.asked()[0].answered, 0);
}

#[tokio::test]
async fn a_slow_body_arrives_in_the_end() {
    let call = always(Fault::SlowBody).await;
    let (status, body) = json(call.v1(&naive("poison")).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(body["usage"].is_object());
    assert!(call.ended().await[0].fully_sent);
}

#[tokio::test]
async fn what_a_gateway_replaces_is_billed_and_so_is_what_says_no_usage() {
    let call = always(Fault::Billed(504)).await;
    let (status, body) = json(call.v1(&naive("poison")).await.unwrap()).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (504, &json!(504))
    );
    let stats = call.double.stats();
    assert!(stats.prompt_tokens > 0 && stats.completion_tokens == 1);

    let call = always(Fault::NoUsage).await;
    let (status, body) = json(call.v1(&naive("poison")).await.unwrap()).await;
    assert_eq!((status.as_u16(), body.get("usage")), (200, None));
    assert!(body["choices"][0]["logprobs"].is_object());
    let tokens = |stats: &Stats| (stats.prompt_tokens, stats.completion_tokens);
    assert_eq!(tokens(&call.double.stats()), tokens(&stats));
    assert_eq!(call.ended().await[0].fault, Some(Fault::NoUsage));
}

#[tokio::test]
async fn a_hang_lasts_until_the_caller_leaves_and_does_not_hinder_a_stop() {
    let call = always(Fault::Hang).await;
    let send = || {
        let url = format!("{}/openai/v1/chat/completions", call.double.endpoint());
        let request = call.client.post(url).header("api-key", "k");
        tokio::spawn(request.json(&naive("poison")).send())
    };
    let arrived = async || {
        while call.double.stats().in_flight == 0 {
            tokio::task::yield_now().await;
        }
    };
    let impatient = send();
    arrived().await;
    impatient.abort();
    let log = call.ended().await;
    assert_eq!((log[0].status, log[0].fault), (None, Some(Fault::Hang)));

    let patient = send();
    arrived().await;
    call.double.stop().await;
    assert!(patient.await.unwrap().is_err());
}

#[tokio::test]
async fn faults_spare_a_patient_caller() {
    let mut config = Config {
        seed: 3,
        ..Config::default()
    };
    config.faults.rates = [(Fault::Status(500), 0.5), (Fault::Status(408), 0.5)].into();
    let call = Call::with(config).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(call.v1(&naive("x")).await.unwrap().status().as_u16());
    }
    assert!(
        statuses[..2].iter().all(|s| [500, 408].contains(s)),
        "{statuses:?}"
    );
    assert_eq!(statuses[2], 200);
    assert_eq!(
        call.ended()
            .await
            .iter()
            .map(|r| r.attempt)
            .collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2)]
    );
}

#[tokio::test]
async fn the_content_filter_objects_to_prompts_and_completions() {
    let mut config = Config::default();
    config.content_filter.prompt_contains = vec!["bomb".to_owned()];
    config.content_filter.completion_contains = vec!["fight".to_owned()];
    config.context_limit_tokens = Some(200);
    let call = Call::with(config).await;
    let (status, error) = json(call.v1(&naive("a bomb")).await.unwrap()).await;
    assert_eq!(status, 400);
    assert_eq!(error["error"]["code"], "content_filter");
    assert!(error["error"]["innererror"]["content_filter_result"].is_object());
    let (status, body) = json(call.v1(&naive("a fight")).await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(body["choices"][0]["finish_reason"], "content_filter");
    let (status, error) = json(call.v1(&naive(&"long ".repeat(300))).await.unwrap()).await;
    assert_eq!(status, 400);
    assert_eq!(error["error"]["code"], "context_length_exceeded");
}

#[tokio::test]
async fn long_prefixes_are_reported_as_cached() {
    let call = Call::with(Config::default()).await;
    let system = "Consider the following rules with care. ".repeat(150);
    let cached = async |user: &str| {
        let (_, body) = json(call.v1(&classification(&system, user)).await.unwrap()).await;
        body["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(cached("one").await, 0);
    assert!(cached("two").await >= 1_024);
}

#[tokio::test]
async fn a_double_can_be_driven_from_outside() {
    let call = Call::with(Config {
        keep_bodies: true,
        ..Config::default()
    })
    .await;
    call.v1(&naive("hello")).await.unwrap();
    call.ended().await;
    assert!(
        call.control(Method::GET, "", "")
            .await
            .contains("/_double/log")
    );
    let log = call.control(Method::GET, "log", "").await;
    let record: Record = serde_json::from_str(log.trim_end()).unwrap();
    assert_eq!(record, call.double.log()[0]);
    assert_eq!(record.user_text.as_deref(), Some("hello"));
    assert!(record.body.unwrap().contains("logit_bias"));
    assert_eq!(call.control(Method::GET, "log?since=1", "").await, "");
    assert_eq!(
        call.control(Method::GET, "asked", "").await.lines().count(),
        1
    );

    call.control(Method::PATCH, "config", r#"{"limits":{"rpm":60}}"#)
        .await;
    assert_eq!(call.double.config().limits.rpm, Some(60));
    assert!(call.double.config().keep_bodies);
    let refusal = call
        .control(Method::PATCH, "config", r#"{"limits":{"rpn":60}}"#)
        .await;
    assert!(refusal.contains("rpn"), "{refusal}");
    call.control(Method::PUT, "config", r#"{"seed":9}"#).await;
    assert_eq!(
        call.double.config(),
        Config {
            seed: 9,
            ..Config::default()
        }
    );

    call.control(Method::DELETE, "log", "").await;
    let stats: Value = serde_json::from_str(&call.control(Method::GET, "stats", "").await).unwrap();
    assert_eq!(stats["requests"], 0);
    assert!(call.double.asked().is_empty());
}

#[tokio::test]
async fn what_makes_no_sense_does_not_start() {
    for (config, setting) in [
        (
            Config {
                speed: 0.0,
                ..Config::default()
            },
            "speed",
        ),
        (
            Config {
                overlong_text_rate: 2.0,
                ..Config::default()
            },
            "overlong_text_rate",
        ),
        (
            Config {
                deployments: [("d".to_owned(), "claude".to_owned())].into(),
                ..Config::default()
            },
            "deployments",
        ),
    ] {
        let reason = Double::start(config).await.unwrap_err().to_string();
        assert!(reason.contains(setting), "{reason}");
    }
}

#[tokio::test]
async fn the_log_file_holds_a_line_for_each_request() {
    let path = std::env::temp_dir().join(format!("azure-openai-double-{}", std::process::id()));
    let config = Config {
        log_file: Some(path.clone()),
        ..Config::default()
    };
    let call = Call::with(config).await;
    call.v1(&naive("one")).await.unwrap();
    call.v1(&naive("two")).await.unwrap();
    call.control(Method::PUT, "config", "{}").await;
    assert_eq!(call.double.config().log_file.as_ref(), Some(&path));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let records: Vec<Record> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records, call.double.log());
}
