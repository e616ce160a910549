//! The cap on what a dataset costs.

use super::*;
use crate::money::Usd;
use crate::run::budget::{Budget, Holding, Reservation, Share};
use crate::run::funds::MonthlyCap;
use crate::run::month::{Account, Month};
use softlabel_doubles::azure_openai::Latency;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_costs_more_than_the_cap_waits_until_somebody_approves_it() {
    let mut world = World::new(&["--max-cost=0.01"]).await;
    let turns = world.put(FILE, 1, 12);
    let others = world.put("v4/test/long.json", 2, 12);
    world.event(FILE).await;
    world.event("v4/test/long.json").await;
    world.until_quiet().await;
    for run in world.runs().await {
        assert_eq!(run.state, State::AwaitingApproval);
        assert!(run.reason.unwrap().contains("estimated to cost 0.0"));
    }
    assert_eq!(world.asked(), 0);
    // However long it takes.
    world.reconcile_later(100_000).await;
    world.until_quiet().await;
    assert_eq!(world.asked(), 0);
    let run = world.runs().await[0].run.clone();
    let wrong = json!({"max_cost": 1});
    assert_eq!(world.act(&run, "approve", &wrong).await.0, 400);
    // Enough for one of the two.
    let estimate = world.runs().await[0].estimated_usd.unwrap();
    let some = json!({"max_cost_usd": estimate.times(12, 10)});
    let (status, shown) = world.act(&run, "approve", &some).await;
    assert_eq!((status, &shown["estimated_usd"]), (202, &json!(estimate)));
    world.until_quiet().await;
    let states = world.states().await;
    assert!(states.contains(&State::Complete) && states.contains(&State::AwaitingApproval));
    let left = world
        .runs()
        .await
        .iter()
        .find(|run| !run.state.is_over())
        .unwrap()
        .run
        .clone();
    assert_eq!(
        world.act(&left, "approve", &json!({"all": true})).await.0,
        202
    );
    world.until_quiet().await;
    assert_eq!(world.asked(), turns + others);
    assert_eq!(world.metadata()["status"], "complete");
    assert_eq!(
        world.act(&left, "approve", &json!({"all": true})).await.0,
        409
    );
}

#[tokio::test]
async fn a_run_that_ended_has_taken_what_it_cost_and_no_more() {
    let mut world = World::new(&["--max-cost=5"]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    world.reconcile_later(60).await;
    let cost = world.cost(&run.run).await;
    let settled = json!({"promised_usd": 0.0, "spent_usd": cost, "chunks": {}, "ended": true});
    assert_eq!(world.budget()["runs"][&run.run], settled);
    assert_ne!(json!(run.estimated_usd), json!(cost));
    assert_eq!(world.metadata()["cost_usd"], json!(cost));
    assert_eq!(world.metadata()["totals"]["tokens"]["usd"], json!(cost));
}

#[tokio::test]
async fn a_run_that_is_to_be_published_keeps_no_money_and_needs_none() {
    let mut world = World::new(&["--max-cost=5"]).await;
    world.put(FILE, 1, 3);
    world.event(FILE).await;
    while !matches!(world.queue.front(), Some(("publish-bucket", ..))) {
        assert!(world.step().await);
    }
    // Its output cannot be written now.
    let output = world.path("LABELED_v4");
    let _ = fs::remove_dir_all(&output);
    fs::write(&output, "").unwrap();
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::Waiting);
    let share = world.budget()["runs"][&run.run].clone();
    assert_eq!(
        (&share["promised_usd"], &share["chunks"]),
        (&json!(0.0), &json!({}))
    );
    // Late word of its planning finds nothing to pay.
    fs::remove_file(&output).unwrap();
    LATER.set(LATER.get() + 7200);
    world
        .call("plan-bucket", "plan", json!({"run": run.run}))
        .await;
    world.until_settled().await;
    let run = world.only_run().await;
    assert_eq!((run.state, run.settled), (State::Complete, true));
}

#[tokio::test]
async fn a_finished_chunk_has_nothing_reserved_and_has_spent_what_its_line_says() {
    let mut world = World::new(&["--max-cost=5"]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let run = world.only_run().await.run;
    let cost = world.cost(&run).await;
    let share = world.budget()["runs"][&run].clone();
    assert_eq!(
        (&share["spent_usd"], &share["chunks"]),
        (&json!(cost), &json!({}))
    );
    assert!(cost > 0.0);
}

#[tokio::test]
async fn a_run_that_costs_more_than_it_was_to_waits_before_it_passes_the_cap() {
    let mut world = World::new(&["--max-cost=0.2", "--concurrency=2"]).await;
    let bills = |factor: f64| move |config: &mut Config| config.billed_prompt_factor = factor;
    world.service.update(bills(4.0)).unwrap();
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    let reason = run.reason.unwrap();
    assert!(
        reason.starts_with("what it may spend is used up: it is estimated to cost"),
        "{reason}"
    );
    let estimate = run.estimated_usd.unwrap();
    assert!(estimate > usd("0.2"), "{estimate}");
    let asked = world.asked();
    assert!(asked > 0 && asked < turns, "{asked} of {turns}");
    // Nothing lets it go on but an approval, and no late word of a chunk.
    for _ in 0..3 {
        world.reconcile_later(10_000).await;
        world
            .queue
            .push_back(("label-chunk", "chunk", json!({"run": run.run, "chunk": 0})));
        world.until_quiet().await;
    }
    assert_eq!(world.asked(), asked);
    let enough = json!({"max_cost_usd": estimate.times(10, 1)});
    assert_eq!(world.act(&run.run, "approve", &enough).await.0, 202);
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
    assert!(world.cost(&run.run).await > 0.2);
}

#[tokio::test]
async fn a_cap_that_is_raised_lets_a_run_go_on_by_itself() {
    let mut world = World::new(&["--max-cost=0.2", "--concurrency=2"]).await;
    world
        .service
        .update(|config| config.billed_prompt_factor = 4.0)
        .unwrap();
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::AwaitingApproval);
    world.app.settings.max_cost = Some(usd("10"));
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
}

#[tokio::test]
async fn a_chunk_that_ends_late_does_not_stop_a_run_that_was_let_go_on() {
    let mut world = World::new(&["--max-cost=5"]).await;
    world.put(FILE, 1, 6);
    world.event(FILE).await;
    let before = world.only_run().await;
    world.queue.clear();
    assert!(world.app.outgrown(&before, usd("1")).await.unwrap());
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    assert!(run.estimated_usd.unwrap() >= usd("1"));
    LATER.set(LATER.get() + 1);
    world.reconcile_later(0).await;
    assert!(world.step().await);
    let on = world.only_run().await;
    assert!(!world.app.outgrown(&before, usd("1")).await.unwrap());
    assert_eq!(world.only_run().await, on);
}

#[tokio::test]
async fn an_unknown_price_is_not_taken_for_nothing() {
    let mut world = World::new(&["--model=gpt-5.9"]).await;
    let turns = world.put(FILE, 1, 3);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    assert!(run.reason.unwrap().contains("no price is known"));
    let (_, shown) = world.act(&run.run, "approve", &json!({"all": true})).await;
    assert_eq!(shown["estimated_usd"], "unknown");
    world.until_quiet().await;
    assert_eq!(world.asked(), turns);
}

/// From now on another model answers than the deployment is called after.
fn deploy_another_model(world: &World) {
    let deployed = |config: &mut Config| {
        let (name, model) = ("gpt-5.2".to_owned(), "gpt-5.9".to_owned());
        config.deployments.insert(name, model);
    };
    world.service.update(deployed).unwrap();
}

#[tokio::test]
async fn the_price_is_that_of_the_model_that_answers() {
    let mut world = World::new(&[]).await;
    deploy_another_model(&world);
    world.put(FILE, 1, 3);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!((run.state, world.asked()), (State::AwaitingApproval, 0));
    let reason = run.reason.unwrap();
    assert!(reason.contains("no price is known for gpt-5.9"), "{reason}");
}

#[tokio::test]
async fn a_run_waits_once_a_model_answers_whose_price_is_not_known() {
    let mut world = World::new(&["--max-cost=5", "--concurrency=2"]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    deploy_another_model(&world);
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    let reason = run.reason.unwrap();
    assert!(reason.contains("no price is known for gpt-5.9"), "{reason}");
    assert!((1..turns).contains(&world.asked()), "{}", world.asked());
    let all = json!({"all": true});
    assert_eq!(world.act(&run.run, "approve", &all).await.0, 202);
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
    assert_eq!(world.metadata()["cost_usd"], "unknown");
    assert_eq!(world.metadata()["totals"]["tokens"]["unpriced"], turns);
}

#[tokio::test]
async fn a_run_whose_price_is_not_known_any_more_waits_until_it_is() {
    let prices = ["--model=gpt-5.9", "--price-input=2", "--price-output=8"];
    let mut world = World::new(&prices).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    assert!(world.only_run().await.estimated_usd.is_some());
    let price = world.app.settings.price.take();
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!((run.state, world.asked()), (State::AwaitingApproval, 0));
    assert!(run.reason.unwrap().contains("no price is known"));
    world.app.settings.price = price;
    world.reconcile_later(60).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!((run.state, world.asked()), (State::Complete, turns));
    assert!(run.estimated_usd.is_some());
}

#[tokio::test]
async fn a_run_goes_on_by_itself_once_another_run_has_given_back_what_it_reserved() {
    let mut world = World::new(&["--max-cost=0.2", "--concurrency=2"]).await;
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    let run = world.only_run().await;
    // Another run has been promised nothing, and keeps all but a few calls.
    let most = usd("0.2").saturating_sub(run.estimated_usd.unwrap().times(1, 20));
    let elsewhere = |usd: Usd| {
        move |budget: &mut Budget| {
            let state = Holding::Idle;
            let share = budget.runs.entry("elsewhere".to_owned()).or_default();
            share.chunks.insert(0, Reservation { usd, state });
            for share in budget.runs.values_mut() {
                share.promised_usd = Usd::ZERO;
            }
        }
    };
    let runs = world.app.runs.clone();
    runs.change_budget("v4", elsewhere(most)).await.unwrap();
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::AwaitingApproval);
    assert!(world.asked() < turns);
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::AwaitingApproval);
    runs.change_budget("v4", elsewhere(Usd::ZERO))
        .await
        .unwrap();
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.asked(), world.lines(LABELED).len()), (turns, turns));
}

/// The service bills the first calls of a killed execution, and nobody records it.
#[tokio::test]
async fn what_was_in_flight_when_a_process_was_killed_counts_as_spent() {
    let mut world = World::new(&["--max-cost=5"]).await;
    let turns = world.put(FILE, 1, 3);
    world.event(FILE).await;
    let run = world.only_run().await.run;
    let credit = "{\"credit\":0.5}\n";
    let part = world
        .home
        .path()
        .join(format!("work/work/{run}/parts/000000.jsonl"));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, credit).unwrap();
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
    world.reconcile_later(60).await;
    let cost = world.cost(&run).await;
    assert!(cost > 0.5, "{cost}");
    assert_eq!(world.budget()["runs"][&run]["spent_usd"], json!(cost));
    assert_eq!(world.metadata()["cost_usd"], json!(cost));
    assert_eq!(world.metadata()["totals"]["tokens"]["estimated"], 1);
}

#[tokio::test]
async fn a_run_that_spends_to_its_cap_makes_every_call_that_fits() {
    let mut world = World::new(&["--max-cost=0.01", "--concurrency=2"]).await;
    world.app.settings.asks_first = false;
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    let shares = world.budget()["runs"].clone();
    let shares = serde_json::from_value::<BTreeMap<String, Share>>(shares).unwrap();
    // With what it cost to settle the request parameters.
    let spent = shares.values().map(Share::committed).sum::<Usd>();
    assert!(spent <= usd("0.01"), "{shares:?}");
    let next = run.next_usd;
    assert!(spent + next > usd("0.01"), "{shares:?} and {next}");
    let asked = world.asked();
    assert!(asked > 0 && asked < turns);
    world.app.settings.max_cost = Some(usd("10"));
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
    let share = world.budget()["runs"][&run.run].clone();
    assert_eq!(share["chunks"], json!({}));
    assert_eq!(share["spent_usd"], json!(world.cost(&run.run).await));
}

#[tokio::test]
async fn a_sum_is_no_approval_of_a_run_whose_price_is_not_known() {
    let mut world = World::new(&["--model=gpt-5.9"]).await;
    world.put(FILE, 1, 4);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    let sum = json!({"max_cost_usd": 5});
    assert_eq!(world.act(&run.run, "approve", &sum).await.0, 409);
    world.until_quiet().await;
    assert_eq!(world.asked(), 0);
}

/// A run of each of two datasets. Gives how many calls they take, with the probe of the second.
async fn two_datasets(world: &mut World) -> usize {
    let other = "w5/train/short_3_to_5_turns.json";
    let turns = world.put(FILE, 1, 24) + world.put(other, 2, 24);
    world.event(FILE).await;
    world.event(other).await;
    turns + 1
}

/// What the month that it is takes, as GET runs shows it.
async fn month(world: &mut World) -> (String, f64, f64) {
    let (status, shown) = world.http("runs", "GET", "runs", &json!("")).await;
    assert_eq!(status, 200);
    let usd = |name: &str| shown["month"][name].as_f64().unwrap();
    let month = shown["month"]["month"].as_str().unwrap().to_owned();
    (month, usd("spent_usd"), usd("reserved_usd"))
}

/// Leaves the last day of a month, since what the test does takes hours that belong to one month.
fn away_from_the_end_of_a_month() {
    let day = SignedDuration::from_hours(24);
    if Month::of(now() + day) != Month::of(now()) {
        LATER.set(LATER.get() + 2 * day.as_secs());
    }
}

/// Goes on at the beginning of the next month.
async fn until_next_month(world: &mut World) {
    let end = Month::of(now()).end();
    let left = end.duration_since(now()).as_secs() + 2;
    world.reconcile_later(left).await;
    world.until_quiet().await;
}

async fn costs(world: &mut World) -> f64 {
    let (_, shown) = world.http("runs", "GET", "runs", &json!("")).await;
    let runs = shown["runs"].as_array().unwrap().iter();
    runs.map(|run| run["cost_usd"].as_f64().unwrap()).sum()
}

#[tokio::test]
async fn all_datasets_together_keep_the_cap_of_a_month_and_go_on_in_the_next() {
    away_from_the_end_of_a_month();
    let mut world = World::new(&["--max-cost-per-month=0.05", "--concurrency=2"]).await;
    let turns = two_datasets(&mut world).await;
    world.until_quiet().await;
    for run in world.runs().await {
        assert_eq!(run.state, State::Waiting);
        let reason = run.reason.unwrap();
        assert!(reason.contains("SOFTLABEL_MAX_COST_PER_MONTH"), "{reason}");
        assert_eq!(run.not_before, Some(Month::of(now()).end()));
    }
    let asked = world.asked();
    assert!(asked > 0 && asked < turns, "{asked} of {turns}");
    let (first, spent, reserved) = month(&mut world).await;
    assert!(spent > 0.04 && spent <= 0.05, "{spent}");
    assert_eq!(reserved, 0.0);
    // However often somebody looks, and no approval lifts it.
    for _ in 0..3 {
        world.reconcile_later(3600).await;
        world.until_quiet().await;
    }
    let run = world.runs().await[0].run.clone();
    assert_eq!(
        world.act(&run, "approve", &json!({"all": true})).await.0,
        409
    );
    assert_eq!(world.asked(), asked);
    until_next_month(&mut world).await;
    let more = world.asked();
    assert!(more > asked && more < turns, "{more} of {turns}");
    let (second, spent, _) = month(&mut world).await;
    assert!(
        second > first && spent > 0.04 && spent <= 0.05,
        "{second} {spent}"
    );
    // A higher setting.
    world.app.settings.max_cost_per_month = MonthlyCap::Limited(usd("9"));
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.states().await, [State::Complete; 2]);
    assert_eq!(world.asked(), turns);
    let (_, spent, reserved) = month(&mut world).await;
    assert_eq!(reserved, 0.0);
    let earlier = world
        .app
        .runs
        .account(Month::of(now() - SignedDuration::from_hours(24 * 20)));
    let earlier = earlier.await.unwrap().taken().as_f64();
    let all = costs(&mut world).await + 2.0 * world.probe_cost().await;
    assert!(
        (spent + earlier - all).abs() < 1e-6,
        "{spent} + {earlier} and {all}"
    );
}

#[tokio::test]
async fn what_a_month_costs_is_counted_without_a_cap() {
    let mut world = World::new(&[]).await;
    two_datasets(&mut world).await;
    world.until_quiet().await;
    let (_, spent, reserved) = month(&mut world).await;
    let all = costs(&mut world).await + 2.0 * world.probe_cost().await;
    assert!((spent - all).abs() < 1e-6, "{spent} and {all}");
    assert_eq!(reserved, 0.0);
    // From now on there is one, which is used up.
    world.app.settings.max_cost_per_month = MonthlyCap::Limited(usd("0.01"));
    let asked = world.service.log().len();
    world.put("x6/train/short_3_to_5_turns.json", 3, 4);
    world.event("x6/train/short_3_to_5_turns.json").await;
    world.until_quiet().await;
    assert!(world.states().await.contains(&State::Waiting));
    // Not even the request parameters are settled.
    assert_eq!(world.service.log().len(), asked);
}

#[tokio::test]
async fn what_settling_request_parameters_may_cost_counts_until_its_bill_is_known() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 4);
    let slow = |ms| move |config: &mut Config| config.latency = Latency::Fixed { ms };
    world.service.update(slow(3_600_000.0)).unwrap();
    let answers = async |world: &World| {
        while world.service.stats().requests == 0 {
            tokio::task::yield_now().await;
        }
    };
    let dataset = |world: &World| {
        let shares = world.budget()["runs"].clone();
        let shares = shares.as_object().unwrap().values();
        shares
            .map(|share| share["spent_usd"].as_f64().unwrap())
            .sum::<f64>()
    };
    // An instance dies while it is answered.
    let body = json!({"Data": {"event": world.written(FILE, "v")}, "Metadata": {}});
    let invocation = Invocation::decode("bucket-uploaded", "i", body.to_string().as_bytes());
    tokio::select! {
        _ = world.app.invoke(invocation.unwrap()) => panic!("the service has not answered"),
        () = answers(&world) => {}
    }
    let (_, most, _) = month(&mut world).await;
    assert!(most > 0.001 && most == dataset(&world), "{most}");
    // One that is refused has cost nothing.
    let refuse = |config: &mut Config| config.access.api_keys = vec!["another".into()];
    world.service.update(refuse).unwrap();
    world.service.update(slow(0.0)).unwrap();
    world.event(FILE).await;
    assert_eq!(world.only_run().await.state, State::Waiting);
    let (_, spent, _) = month(&mut world).await;
    assert_eq!((spent, dataset(&world)), (0.0, 0.0));
    world
        .service
        .update(|config| config.access = Default::default())
        .unwrap();
    world.reconcile_later(600).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    let (_, spent, _) = month(&mut world).await;
    let probe = world.probe_cost().await;
    let all = costs(&mut world).await + probe;
    assert!((spent - all).abs() < 1e-6, "{spent} and {all}");
    assert!(0.0 < probe && probe < most, "{probe} of {most}");
}

/// Several files are planned at a time, by two instances: each instance settles them once.
#[tokio::test]
async fn what_settling_request_parameters_cost_is_counted_as_often_as_it_is_billed() {
    let prices = ["--price-input=1.75", "--price-output=14"];
    let mut world = World::new(&prices).await;
    let slow = |config: &mut Config| {
        config.prompt_cache = false;
        config.latency = Latency::Fixed { ms: 300.0 };
    };
    world.service.update(slow).unwrap();
    let another = world.another_instance();
    let events = ["v4/train/a.json", "v4/train/b.json", "v4/test/c.json"].map(|file| {
        world.put(file, 1, 2);
        let body = json!({"Data": {"event": world.written(file, "v")}, "Metadata": {}});
        Invocation::decode("bucket-uploaded", "i", body.to_string().as_bytes()).unwrap()
    });
    let [a, b, c] = events;
    let planned = futures::join!(world.app.invoke(a), world.app.invoke(b), another.invoke(c));
    for planned in <[_; 3]>::from(planned) {
        planned.unwrap();
    }
    let billed = world.service.stats();
    assert!(billed.requests <= 2, "{}", billed.requests);
    let billed = billed.prompt_tokens as f64 * 1.75 + billed.completion_tokens as f64 * 14.0;
    let (_, spent, _) = month(&mut world).await;
    assert!((spent - billed / 1e6).abs() < 1e-6, "{spent} and {billed}");
}

#[tokio::test]
async fn what_a_killed_instance_had_reserved_of_a_month_counts_until_its_chunk_is_taken_up() {
    away_from_the_end_of_a_month();
    let mut world = World::new(&["--max-cost-per-month=0.2", "--concurrency=2"]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    let run = world.only_run().await.run;
    // An instance claimed nearly all of the month for the first chunk, and was killed.
    let runs = world.app.runs.clone();
    let claim = |account: &mut Account| {
        let amounts = (usd("0.01"), usd("0.198"));
        account.claim((&run, 0), "killed", Usd::ZERO, amounts, Some(usd("0.2")))
    };
    let claimed = runs.change_account(Month::of(now()), claim).await;
    assert!(claimed.unwrap().unwrap() > usd("0.19"));
    let (_, _, reserved) = month(&mut world).await;
    assert!(reserved > 0.19, "{reserved}");
    // Its message comes again after those of the other chunks, for which there is too little.
    let first = world.queue.pop_front().unwrap();
    assert!(world.step().await);
    assert_eq!(world.only_run().await.state, State::Waiting);
    let asked = world.asked();
    assert!(asked < 16, "{asked}");
    world.until_quiet().await;
    assert_eq!(world.asked(), asked);
    drop(first);
    // The setting lets the run go on, so that somebody takes up the chunk.
    world.app.settings.max_cost_per_month = MonthlyCap::Limited(usd("0.25"));
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
    let (_, spent, reserved) = month(&mut world).await;
    let cost = world.cost(&run).await + world.probe_cost().await;
    assert!(
        (spent - cost).abs() < 1e-6 && reserved == 0.0,
        "{spent} and {cost}"
    );
}

#[tokio::test]
async fn a_run_that_was_cancelled_keeps_nothing_of_a_month_but_what_it_cost() {
    away_from_the_end_of_a_month();
    let mut world = World::new(&["--max-cost-per-month=0.02", "--concurrency=2"]).await;
    world.put(FILE, 1, 24);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await.run;
    assert_eq!(world.act(&run, "cancel", &json!("")).await.0, 200);
    world.reconcile_later(600).await;
    let account = world.app.runs.account(Month::of(now())).await.unwrap();
    assert!(account.claims.is_empty(), "{account:?}");
    let budget = world.budget()["runs"][&run]["spent_usd"].clone();
    assert_eq!(budget, json!(account.spent_usd));
}

#[tokio::test]
async fn no_approval_lets_a_run_without_a_price_pass_the_cap_of_a_month() {
    let mut world = World::new(&["--model=gpt-5.9", "--max-cost-per-month=5"]).await;
    world.put(FILE, 1, 3);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    let (status, refused) = world.act(&run.run, "approve", &json!({"all": true})).await;
    assert_eq!(status, 409);
    let said = refused["error"].as_str().unwrap();
    assert!(said.contains("SOFTLABEL_MAX_COST_PER_MONTH"), "{said}");
    world.until_quiet().await;
    assert_eq!(world.asked(), 0);
}
