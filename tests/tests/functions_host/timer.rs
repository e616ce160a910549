//! Timer triggers.

use std::time::Duration;

use serde_json::{Value, json};
use softlabel_doubles::functions_host::{Host, Options};

use super::harness::*;

async fn app_with(schedule: &str) -> App {
    let app = App::new().await;
    let trigger = json!({
        "type": "timerTrigger", "direction": "in", "name": "timer", "schedule": schedule,
    });
    app.function("tick", json!([trigger]));
    app
}

fn often(app: &App) -> Options {
    Options {
        timer_periods: [("tick".to_owned(), Duration::from_millis(100))].into(),
        ..app.options()
    }
}

/// The timer's values in the order in which the worker got them.
fn ticks(app: &App) -> Vec<Value> {
    let bodies = app.received().into_iter().map(|received| received.body);
    bodies.map(|body| body["Data"]["timer"].clone()).collect()
}

#[tokio::test]
async fn a_timer_says_when_it_ran_and_when_it_will() {
    let app = app_with("0 * * * * *").await;
    let host = Host::start(often(&app)).await.unwrap();
    let invocations = ended(&host, 3).await;
    assert!(
        invocations
            .iter()
            .all(|invocation| invocation.function == "tick")
    );
    let ticks = ticks(&app);
    assert_eq!(
        ticks[0]["ScheduleStatus"]["Last"],
        "0001-01-01T00:00:00+00:00"
    );
    for tick in &ticks {
        assert_eq!(tick["IsPastDue"], false);
        assert_eq!(tick["Schedule"], json!({ "AdjustForDST": true }));
        for name in ["Last", "Next", "LastUpdated"] {
            assert!(
                tick["ScheduleStatus"][name]
                    .as_str()
                    .unwrap()
                    .ends_with("+00:00")
            );
        }
    }
    let (first, second) = (&ticks[0]["ScheduleStatus"], &ticks[1]["ScheduleStatus"]);
    assert!(
        second["Last"].as_str() >= first["Next"].as_str(),
        "{ticks:#?}"
    );
    assert!(
        second["Next"].as_str() > second["Last"].as_str(),
        "{ticks:#?}"
    );
}

#[tokio::test]
async fn a_run_that_was_missed_is_made_up_for() {
    let app = app_with("0 * * * * *").await;
    let host = Host::start(often(&app)).await.unwrap();
    ended(&host, 1).await;
    host.stop().await;
    let before = ticks(&app).len();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let host = Host::start(often(&app)).await.unwrap();
    ended(&host, 2).await;
    let ticks = ticks(&app);
    assert_eq!(ticks[before]["IsPastDue"], true);
    assert_eq!(ticks[before + 1]["IsPastDue"], false);
}

#[tokio::test]
async fn a_schedule_is_kept_and_one_below_a_minute_is_not_monitored() {
    let app = app_with("* * * * * *").await;
    let host = app.start().await;
    ended(&host, 2).await;
    for tick in ticks(&app) {
        assert_eq!(tick["ScheduleStatus"], Value::Null);
    }
}

#[tokio::test]
async fn one_of_several_hosts_has_the_timer_and_another_takes_over_from_a_crashed_one() {
    let app = app_with("0 * * * * *").await;
    let options = Options {
        singleton_lease: Duration::from_millis(600),
        ..often(&app)
    };
    let (one, other) = (
        Host::start(options.clone()).await.unwrap(),
        Host::start(options).await.unwrap(),
    );
    let both = async || Ok(one.invocations().len() + other.invocations().len() >= 5);
    softlabel_doubles::until(HANG, "the timer ran", both)
        .await
        .unwrap();
    let (owner, idle) = match one.invocations().is_empty() {
        true => (other, one),
        false => (one, other),
    };
    assert_eq!(idle.invocations(), []);
    owner.crash().await;
    ended(&idle, 2).await;
}
