//! Tasks that are sent to the app, and runs that ask them.

use super::*;
use crate::labeling::task::{BUILT_IN, Task};

const ANGRY: &str = "name = \"angry\"\nquestion = \"Is the user angry?\"\n\
                     [label.0]\nmeaning = \"the user is calm\"\ndescription = \"calm\"\n\
                     [label.1]\nmeaning = \"the user is angry\"\ndescription = \"angry\"\n";

impl World {
    async fn send_task(&mut self, name: &str, text: &str) -> (u64, Value) {
        let request = json!({
            "Url": format!("https://app.example/api/tasks/{name}"), "Method": "PUT", "Query": {},
            "Params": {"name": name}, "Body": text, "Headers": {"Content-Type": ["application/toml"]},
        });
        let answer = self.call("tasks", "req", request).await;
        let (status, body) = answer.response("res").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }
}

#[tokio::test]
async fn a_task_is_checked_kept_and_pinned_with_its_content() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let (status, said) = world
        .send_task("angry", &ANGRY.replace("question", "quesion"))
        .await;
    assert_eq!(status, 400);
    let said = said["error"].as_str().unwrap().to_owned();
    assert!(
        said.starts_with("angry.toml:2: ") && said.contains("`question`"),
        "{said}"
    );
    assert_eq!(world.send_task("../angry", ANGRY).await.0, 400);
    let relabel = json!({"dataset": "v4", "task": "angry"});
    let (status, said) = world.http("relabel", "POST", "relabel", &relabel).await;
    assert_eq!(status, 404);
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .contains("PUT /api/tasks/angry"),
        "{said}"
    );
    let wrong = json!({"dataset": "v4", "task": "../angry"});
    assert_eq!(
        world.http("relabel", "POST", "relabel", &wrong).await.0,
        400
    );

    let (status, kept) = world.send_task("angry", ANGRY).await;
    assert_eq!(
        (status, &kept["labels"]["1"]),
        (200, &json!("the user is angry"))
    );
    let (status, began) = world.http("relabel", "POST", "relabel", &relabel).await;
    assert_eq!(status, 202, "{began}");
    let same = world.http("relabel", "POST", "relabel", &relabel).await.1;
    assert_eq!(same["runs"][0]["run"], began["runs"][0]["run"]);
    // A later edit changes no run under way.
    let edited = ANGRY.replace("angry?", "very angry?");
    let version = world.send_task("angry", &edited).await.1["prompt_version"].clone();
    assert_ne!(version, kept["prompt_version"]);
    world.until_quiet().await;
    assert_eq!(world.asked(), 2 * turns);
    let metadata = world.metadata();
    assert_eq!(metadata["task_name"], "angry");
    assert_eq!(metadata["prompt_version"], kept["prompt_version"]);
    assert_eq!(metadata["task"]["question"], "Is the user angry?");
    // It means another run, though.
    let other = world.http("relabel", "POST", "relabel", &relabel).await.1;
    assert_ne!(other["runs"][0]["run"], began["runs"][0]["run"]);
    world.until_quiet().await;
    assert_eq!(world.metadata()["prompt_version"], version);
    // Uploads are labelled as the dataset is; the built-in task needs no blob.
    let back = json!({"dataset": "v4", "task": "reasoning"});
    assert_eq!(world.http("relabel", "POST", "relabel", &back).await.0, 202);
    world.until_quiet().await;
    assert_eq!(
        world.metadata()["prompt_version"],
        Task::built_in().version()
    );
    assert_eq!(world.send_task("own", BUILT_IN).await.0, 200);
}

#[tokio::test]
async fn the_app_asks_the_task_that_its_settings_name() {
    let mut world = World::new(&["--task-name=angry"]).await;
    world.put(FILE, 1, 3);
    let without = world.app.dataset_settings("v4").await.unwrap_err();
    let without = without.to_string();
    assert!(
        without.contains("SOFTLABEL_TASK_NAME") && without.contains("PUT /api/tasks/angry"),
        "{without}"
    );
    assert_eq!(world.send_task("angry", ANGRY).await.0, 200);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(
        (run.state, run.settings.task.name.as_str()),
        (State::Complete, "angry")
    );
}
