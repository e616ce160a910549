//! Services that speak plain OpenAI.

use crate::harness::*;
use serde_json::Value;
use softlabel_doubles::openai_compatible::{Asked, Habits, OpenAiCompatible, Words};
use std::collections::BTreeMap;
use std::path::Path;

struct Server(Option<OpenAiCompatible>);

impl Server {
    fn start(habits: Habits) -> Self {
        Self(Some(
            runtime().block_on(OpenAiCompatible::start(habits)).unwrap(),
        ))
    }

    fn base_url(&self) -> String {
        self.0.as_ref().unwrap().base_url()
    }

    fn asked(&self) -> Vec<Asked> {
        self.0.as_ref().unwrap().asked()
    }

    /// Those that asked for token probabilities.
    fn labels(&self) -> Vec<Asked> {
        let asked = self.asked().into_iter();
        asked
            .filter(|asked| asked.body["logprobs"] == true)
            .collect()
    }

    fn label(&self, input: &Path, output: &Path) -> Softlabel {
        let label = Softlabel::new(["label", "--input"])
            .arg(input)
            .arg("--output")
            .arg(output);
        label
            .args(["--api", "openai", "--model", "small"])
            .env("OPENAI_BASE_URL", self.base_url())
            .env("SOFTLABEL_FIRST_BACKOFF", "2ms")
            .env("SOFTLABEL_LONGEST_BACKOFF", "10ms")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _in_runtime = runtime().enter();
        self.0.take();
    }
}

fn without(parameters: &[(&'static str, Words)]) -> Habits {
    Habits {
        without: parameters.iter().copied().collect(),
        ..Habits::default()
    }
}

/// P("1") as the log probabilities of an answer's token with this number say.
fn said(asked: &Asked, number: usize) -> f64 {
    let first = &asked.answer["choices"][0]["logprobs"]["content"][number];
    let mut sums = BTreeMap::<String, f64>::new();
    for token in first["top_logprobs"].as_array().unwrap() {
        let text = token["token"].as_str().unwrap();
        let text = text.trim_matches(['▁', 'Ġ', ' ']).to_owned();
        *sums.entry(text).or_default() += token["logprob"].as_f64().unwrap().exp();
    }
    sums["1"] / (sums["0"] + sums["1"])
}

fn user(asked: &Asked) -> String {
    let messages = asked.body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_server_of_ones_own_gives_labels_that_its_probabilities_say() {
    for blank in ["", "▁", "Ġ", " "] {
        let habits = Habits {
            blank,
            before_labels: 7,
            ..Habits::default()
        };
        let (server, home) = (Server::start(habits), Home::new());
        let messages = distinct(12);
        let input = home.messages(&borrowed(&messages));
        let output = home.path("out.jsonl");
        let outcome = server.label(&input, &output).ends(0);
        assert!(
            outcome.stderr.contains("the model \"small\" is unknown"),
            "{outcome}"
        );
        assert!(outcome.stderr.contains("estimated"), "{outcome}");
        let lines = lines(&output);
        assert_eq!(lines.len(), messages.len());
        for (line, message) in lines.iter().zip(&messages) {
            let asked = server.labels();
            let asked = asked
                .iter()
                .find(|asked| user(asked).contains(message.as_str()));
            let expected = said(asked.unwrap(), 0);
            let soft = line["soft_label"].as_f64().unwrap();
            assert!((soft - expected).abs() < 2e-6, "{soft} for {expected}");
            assert!(
                line["rationale"]
                    .as_str()
                    .unwrap()
                    .contains("because it says so")
            );
        }
        for asked in server.asked() {
            assert_eq!(asked.path, "/v1/chat/completions");
            assert_eq!(asked.authorization, None);
            assert_eq!(asked.body["model"], "small");
            assert!(asked.headers.contains_key("x-client-request-id"));
            assert!(!asked.headers.contains_key("api-key"));
        }
        let first = &server.labels()[0].body;
        assert_eq!(first["top_logprobs"], 20);
        for unknown in ["logit_bias", "reasoning_effort", "max_completion_tokens"] {
            assert_eq!(first.get(unknown), None, "{first}");
        }
        let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
        assert_eq!(metadata["api"], "openai");
        assert_eq!(metadata["base_url"], server.base_url().as_str());
        assert_eq!(metadata["encoding"], "estimate");
        assert_eq!(metadata["cost_usd"], "unknown");
    }
}

#[test]
fn a_label_is_read_behind_white_space_that_is_a_token_of_its_own() {
    for begins_with in ["▁", "Ġ", " ", "\n", "Ċ"] {
        let habits = Habits {
            begins_with,
            ..Habits::default()
        };
        let (server, home) = (Server::start(habits), Home::new());
        let messages = distinct(6);
        let input = home.messages(&borrowed(&messages));
        let output = home.path("out.jsonl");
        server.label(&input, &output).ends(0);
        let mut others = 0;
        for (line, message) in lines(&output).iter().zip(&messages) {
            let asked = server.labels();
            let asked = asked
                .iter()
                .find(|asked| user(asked).contains(message.as_str()));
            let asked = asked.unwrap();
            let first = &asked.answer["choices"][0]["logprobs"]["content"][0];
            assert_eq!(first["token"], begins_with);
            let (expected, before) = (said(asked, 1), said(asked, 0));
            others += usize::from((expected - before).abs() > 1e-3);
            let soft = line["soft_label"].as_f64().unwrap();
            assert!(
                (soft - expected).abs() < 2e-6,
                "{begins_with:?}: {soft} for {expected}"
            );
            assert_eq!(line["hard_label"], u8::from(expected > 0.5));
        }
        assert!(others > 0, "the first tokens say the same");
        assert!(
            server
                .labels()
                .iter()
                .all(|asked| asked.body["max_tokens"] == 2)
        );
    }
    // What OpenAI's models say is asked for and read as it stands.
    let habits = Habits {
        model: "gpt-4.1".into(),
        begins_with: " ",
        ..Habits::default()
    };
    let (server, home) = (Server::start(habits), Home::new());
    let (input, output) = (home.messages(&["one"]), home.path("out.jsonl"));
    Softlabel::new(["label", "--api", "openai", "--model", "gpt-4.1", "--input"])
        .arg(&input)
        .arg("--output")
        .arg(&output)
        .env("OPENAI_BASE_URL", server.base_url())
        .env("OPENAI_API_KEY", "sk-4711-secret")
        .ends(0);
    let asked = server.labels();
    assert!(asked.iter().all(|asked| asked.body["max_tokens"] == 1));
    let soft = lines(&output)[0]["soft_label"].as_f64().unwrap();
    let expected = said(asked.last().unwrap(), 0);
    assert!((soft - expected).abs() < 2e-6, "{soft} for {expected}");
}

#[test]
fn what_a_server_does_not_take_is_left_out_for_the_whole_run() {
    let parameter = |name: &'static str, words| (name, words);
    for (refused, instead) in [
        (
            parameter("max_tokens", Words::OpenAi),
            "max_completion_tokens",
        ),
        (
            parameter("max_tokens", Words::Pydantic),
            "max_completion_tokens",
        ),
        (
            parameter("max_tokens", Words::Vllm),
            "max_completion_tokens",
        ),
        (parameter("temperature", Words::Pydantic), "max_tokens"),
        (parameter("temperature", Words::Vllm), "max_tokens"),
        (parameter("logit_bias", Words::Pydantic), "max_tokens"),
        (parameter("logit_bias", Words::Ignored), "max_tokens"),
        (
            parameter("max_completion_tokens", Words::Pydantic),
            "max_tokens",
        ),
    ] {
        let (server, home) = (Server::start(without(&[refused])), Home::new());
        let input = home.messages(&["one", "two"]);
        let outcome = server.label(&input, &home.path("out.jsonl")).run();
        assert_eq!(outcome.code, Some(0), "{refused:?} {outcome}");
        let settled = server.asked();
        let settled = settled.iter().filter(|asked| asked.status == 200);
        for asked in settled {
            assert!(
                asked.body.get(instead).is_some(),
                "{refused:?} {}",
                asked.body
            );
        }
    }
    let habits = Habits {
        most: 5,
        before_labels: 1,
        ..Habits::default()
    };
    let (server, home) = (Server::start(habits), Home::new());
    let input = home.messages(&["one"]);
    let outcome = server.label(&input, &home.path("out.jsonl")).ends(0);
    assert!(outcome.stderr.contains("top_logprobs is 5"), "{outcome}");
}

#[test]
fn a_model_without_a_system_role_reads_the_instructions_before_the_question() {
    let habits = Habits {
        system_role: false,
        ..Habits::default()
    };
    let (server, home) = (Server::start(habits), Home::new());
    let (input, output) = (home.messages(&["one", "two"]), home.path("out.jsonl"));
    let outcome = server.label(&input, &output).ends(0);
    assert!(outcome.stderr.contains("no system role"), "{outcome}");
    assert!(
        lines(&output)
            .iter()
            .all(|line| line["soft_label"].is_f64())
    );
    let asked = server.asked();
    let (refused, answered) = asked.split_first().unwrap();
    let instructions = &refused.body["messages"][0]["content"];
    assert_eq!(refused.status, 400);
    for asked in answered {
        assert_eq!(asked.status, 200, "{}", asked.body);
        assert_eq!(asked.body["messages"].as_array().unwrap().len(), 1);
    }
    let labels = answered
        .iter()
        .filter(|asked| asked.body["logprobs"] == true);
    for asked in labels {
        let said = user(asked);
        assert!(said.starts_with(instructions.as_str().unwrap()), "{said}");
    }
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["api_profile"]["no_system_role"], true);
}

#[test]
fn a_model_of_openai_behind_a_gateway_is_asked_as_what_it_is() {
    let habits = Habits {
        model: "gpt-4.1".into(),
        key: Some("sk-4711-secret".into()),
        ..without(&[("logit_bias", Words::Pydantic)])
    };
    let (server, home) = (Server::start(habits), Home::new());
    let input = home.messages(&["one"]);
    let label = || {
        server
            .label(&input, &home.path("out.jsonl"))
            .args(["--no-rationales"])
            .env("SOFTLABEL_MODEL", "gpt-4.1")
    };
    let refused = Softlabel::new(["label", "--input"])
        .arg(&input)
        .arg("--output")
        .arg(home.path("other.jsonl"))
        .args(["--api", "openai", "--model", "gpt-4.1"])
        .env("OPENAI_BASE_URL", server.base_url())
        // The key of another service is not shown to this one.
        .env("AZURE_OPENAI_API_KEY", KEY)
        .ends(1);
    assert!(refused.error().contains("set OPENAI_API_KEY"), "{refused}");
    let _ = label;
    let outcome = Softlabel::new(["label", "--no-rationales", "--input"])
        .arg(&input)
        .arg("--output")
        .arg(home.path("out.jsonl"))
        .args(["--api", "openai", "--model", "gpt-4.1"])
        .env("OPENAI_BASE_URL", server.base_url())
        .env("OPENAI_API_KEY", "sk-4711-secret")
        .ends(0);
    assert!(!outcome.to_string().contains("4711"), "{outcome}");
    let asked = server.asked();
    assert!(!format!("{asked:?}").contains(KEY));
    let refused = asked.iter().find(|asked| asked.status == 422).unwrap();
    assert_eq!(refused.body["logit_bias"]["15"], 5, "its tokens are known");
    let last = asked.last().unwrap();
    assert_eq!(last.authorization.as_deref(), Some("Bearer sk-4711-secret"));
    assert_eq!(last.body.get("logit_bias"), None);
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["encoding"], "o200k_base");
    assert!(metadata["cost_usd"].is_number(), "its price is known");
}

#[test]
fn a_service_without_log_probabilities_is_refused_before_a_turn_is_asked() {
    for refused in [
        without(&[("logprobs", Words::Ignored)]),
        without(&[("logprobs", Words::OpenAi)]),
        without(&[("logprobs", Words::Vllm)]),
        without(&[("logprobs", Words::Pydantic)]),
    ] {
        let (server, home) = (Server::start(refused.clone()), Home::new());
        let input = home.messages(&["my own question"]);
        let outcome = server.label(&input, &home.path("out.jsonl")).ends(1);
        let error = outcome.error();
        assert!(
            error.contains("gives no log probabilities"),
            "{refused:?} {error}"
        );
        let about_it = server.asked();
        let about_it = about_it
            .iter()
            .filter(|asked| user(asked).contains("my own question"));
        assert_eq!(about_it.count(), 0);
    }
}

#[test]
fn who_is_asked_is_pinned_with_a_run() {
    let (server, home) = (Server::start(Habits::default()), Home::new());
    let other = Server::start(Habits::default());
    let input = home.messages(&["one"]);
    let output = home.path("out.jsonl");
    server.label(&input, &output).ends(0);
    let refused = other.label(&input, &output).ends(1);
    assert!(refused.error().contains("base_url: "), "{refused}");
    assert_eq!(other.asked().len(), 0);
    let azure = Service::well();
    let refused = Softlabel::label(&azure, &input, &output)
        .args(["--model", "small"])
        .ends(1);
    assert!(
        refused
            .error()
            .contains("api: \"openai\" there, \"azure\" here"),
        "{refused}"
    );
    // A slash more is the same address.
    server
        .label(&input, &output)
        .env("OPENAI_BASE_URL", format!("{}/", server.base_url()))
        .ends(0);
    let dry = server.label(&input, &output).arg("--dry-run").ends(0);
    assert!(dry.row("tokens").starts_with("estimates"), "{dry}");
    assert!(dry.row("quota").contains("only --concurrency"), "{dry}");
    let info = Softlabel::new(["info", "--json", "--api", "openai", "--model", "small"])
        .env("OPENAI_BASE_URL", server.base_url())
        .ends(0);
    let info: Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!(info["service"]["api"], "openai");
    assert_eq!(info["tokens"]["id_of_0"], "unknown");
    assert_eq!(info["limits"]["tokens_a_minute"], "no limit");
    assert_eq!(info["limits"]["top_logprobs"], 20);
}

#[test]
fn azure_is_found_by_what_its_portal_shows() {
    let (service, home) = (Service::well(), Home::new());
    let input = home.messages(&["one"]);
    for (number, (path, model, asked)) in [
        (
            "/openai/v1/chat/completions",
            "gpt-5.2",
            "/openai/v1/chat/completions",
        ),
        ("/openai/v1/", "gpt-5.2", "/openai/v1/chat/completions"),
        (
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            "gpt-4o",
            "/openai/deployments/gpt-4o/chat/completions",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("{}{path}", service.endpoint());
        Softlabel::label(&service, &input, &home.path(&format!("{number}.jsonl")))
            .env("AZURE_OPENAI_ENDPOINT", target)
            .args(["--model", model, "--no-rationales"])
            .ends(0);
        let last = service.log().into_iter().next_back().unwrap();
        assert!(format!("{last:?}").contains(model), "{asked} {last:?}");
    }
}
