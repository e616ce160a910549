//! The list of all runs, in pages.

use super::*;
use crate::run::list::Place;

/// `GET runs` with this query.
async fn list(world: &mut World, query: Value) -> (u64, Value) {
    let request = json!({
        "Url": "https://app.example/api/runs", "Method": "GET", "Query": query,
        "Params": {}, "Body": "", "Headers": {},
    });
    let answer = world.call("runs", "req", request).await;
    let (status, body) = answer.response("res").unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn names(shown: &Value) -> Vec<String> {
    let runs = shown["runs"].as_array().unwrap().iter();
    runs.map(|run| run["run"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_show_all_runs_the_newest_first() {
    let mut world = World::new(&["--max-cost=0"]).await;
    for number in 0..5 {
        let file = format!("v{}/train/b{number}.json", number % 2);
        world.put(&file, number, 1);
        world.event(&file).await;
        LATER.set(LATER.get() + 60);
    }
    world.until_quiet().await;
    let (mut seen, mut query) = (Vec::new(), json!({"limit": "2"}));
    for left in [true, true, false] {
        let (status, shown) = list(&mut world, query.clone()).await;
        assert_eq!(status, 200);
        seen.extend(names(&shown));
        query["continuation"] = shown["continuation"].clone();
        assert_eq!(query["continuation"].is_string(), left, "{shown}");
    }
    let mut runs = world.runs().await;
    runs.reverse();
    let expected = runs.iter().map(|run| run.run.clone()).collect::<Vec<_>>();
    assert_eq!(seen, expected);
    let (_, shown) = list(
        &mut world,
        json!({"dataset": "v1", "state": "awaiting_approval"}),
    )
    .await;
    assert_eq!(names(&shown), [expected[1].as_str(), &expected[3]]);
    let (_, shown) = list(&mut world, json!({"state": "complete"})).await;
    assert_eq!(names(&shown), [""; 0]);
}

#[tokio::test]
async fn what_asks_for_no_page_is_refused_with_a_sentence() {
    let mut world = World::new(&[]).await;
    for (query, says) in [
        (json!({"stat": "failed"}), "dataset, state, limit"),
        (json!({"limit": "0"}), "from 1 to 1000"),
        (json!({"limit": "1001"}), "from 1 to 1000"),
        (json!({"limit": "-1"}), "from 1 to 1000"),
        (json!({"limit": "ten"}), "from 1 to 1000"),
        (json!({"limit": "99999999999999999999"}), "from 1 to 1000"),
        (json!({"continuation": "x"}), "continuation"),
        (json!({"continuation": "../../runs/x"}), "continuation"),
        (
            json!({"continuation": "8199999999-1a2b3c4d-"}),
            "continuation",
        ),
        (json!({"state": "done"}), "awaiting_approval"),
    ] {
        let (status, shown) = list(&mut world, query.clone()).await;
        let said = shown["error"].as_str().unwrap_or_default();
        assert!(status == 400 && said.contains(says), "{query}: {shown}");
    }
    let (status, shown) = list(&mut world, json!({"limit": "", "state": ""})).await;
    assert_eq!((status, &shown["continuation"]), (200, &json!(null)));
}

#[tokio::test]
async fn runs_that_have_no_place_in_the_list_get_one_within_an_hour() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 4);
    world.event(FILE).await;
    world.until_quiet().await;
    fs::remove_dir_all(world.home.path().join("work/began")).unwrap();
    assert_eq!(names(&list(&mut world, json!({})).await.1), [""; 0]);
    world.reconcile_later(60).await;
    assert_eq!(names(&list(&mut world, json!({})).await.1).len(), 1);
}

#[tokio::test]
async fn ten_thousand_runs_are_listed_page_by_page() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 4);
    world.event(FILE).await;
    world.until_quiet().await;
    let one = world.only_run().await;
    let work = world.home.path().join("work");
    for number in 0..10_000_u32 {
        let mut record = one.clone();
        record.run = format!("{number:016x}");
        record.created = one.created - SignedDuration::from_secs(i64::from(number) + 1);
        let text = serde_json::to_string(&record).unwrap();
        fs::write(work.join(format!("runs/{}.json", record.run)), text).unwrap();
        fs::write(work.join(Place::of(&record).path()), "").unwrap();
    }
    let (mut pages, mut seen, mut query) = (0, 0, json!({"limit": "1000"}));
    loop {
        let (_, shown) = list(&mut world, query.clone()).await;
        pages += 1;
        seen += names(&shown).len();
        query["continuation"] = shown["continuation"].clone();
        if query["continuation"].is_null() {
            break;
        }
    }
    assert_eq!((pages, seen), (11, 10_001));
    // What is not there is not looked for without end.
    let (_, shown) = list(&mut world, json!({"state": "failed"})).await;
    assert!(names(&shown).is_empty() && shown["continuation"].is_string());
}

#[tokio::test]
async fn the_list_says_what_datasets_cost_and_a_run_by_itself_which_turns_failed() {
    let mut world = World::new(&["--max-cost=3"]).await;
    world.put("v4/train/short.json", 1, 2);
    world.event("v4/train/short.json").await;
    world.until_quiet().await;
    let (_, shown) = list(&mut world, json!({})).await;
    let quota = json!({"tokens_per_minute": 1e9, "requests_per_minute": 1e7});
    assert_eq!(shown["quota"], quota);
    let cost = &shown["datasets"]["v4"];
    assert_eq!(
        (&cost["max_cost_usd"], &cost["reserved_usd"]),
        (&json!(3.0), &json!(0.0))
    );
    assert!(
        cost["spent_usd"].as_f64() >= shown["runs"][0]["cost_usd"].as_f64(),
        "{shown}"
    );
    assert_eq!(shown.get("command"), None);
    let run = &shown["runs"][0];
    assert_eq!(run["state"], "complete", "{run}");
    assert!(run.get("failed_turns").is_none() && run["throttled"].is_null());
    let links = run["links"].as_object().unwrap();
    assert!(
        ["cancel", "approve", "relabel"]
            .iter()
            .all(|link| !links.contains_key(*link))
    );
    let path = format!(
        "https://app.example/api/runs/{}/report",
        run["run"].as_str().unwrap()
    );
    assert_eq!(links["report"], path);
    let status = path.trim_end_matches("/report");
    let one = world.call("runs", "req", json!({
        "Url": status, "Method": "GET", "Query": {}, "Params": {"run": run["run"]}, "Body": "", "Headers": {},
    })).await;
    let one = serde_json::from_str::<Value>(one.response("res").unwrap().1).unwrap();
    assert_eq!(
        (&one["failed_turns"], &one["throttled"]),
        (&json!([]), &json!(0))
    );
    for key in ["turns_done", "labeled", "soft_labels", "tokens", "cost_usd"] {
        assert_eq!(one[key], run[key], "{key}");
    }
}
