//! The sample files next to the example DAGs, and the files in the guide, are valid DAGs that run as described.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use orch::testing::TestRun;
use orch::{Dag, TaskState, dags_of_file};
use orch_test_support::guide::{examples, guide};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn dags(name: &str, text: &str) -> Vec<Dag> {
    let folder = here("files").to_string_lossy().into_owned();
    dags_of_file(name, &folder, text.as_bytes()).unwrap_or_else(|problems| {
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}\n{text}", words.join("\n"))
    })
}

fn sample(name: &str) -> Dag {
    dags(name, &std::fs::read_to_string(here("files").join(name)).unwrap()).remove(0)
}

fn states<'a>(run: &TestRun, tasks: impl IntoIterator<Item = &'a str>) -> Vec<TaskState> {
    tasks.into_iter().map(|task| run.state(task)).collect()
}

#[test]
fn every_sample_is_a_dag_and_names_the_schema() {
    let mut found = 0;
    for entry in std::fs::read_dir(here("files")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let schema = text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema="));
        assert!(path.parent().unwrap().join(schema.expect("a line for editors")).is_file(), "{}", path.display());
        for dag in dags(&path.to_string_lossy(), &text) {
            dag.check().unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 4);
}

#[tokio::test]
async fn templates_reach_the_command_by_its_environment() {
    let run = sample("hello.yaml").test().params(json!({ "name": "$(id) `id` \"; id" })).run().await;
    assert_eq!(run.output::<String>("greet").as_deref(), Some("hello $(id) `id` \"; id"), "{run:?}");
}

#[tokio::test]
async fn lists_are_mapped_over_and_joined() {
    let run = sample("orders.yaml").test().params(json!({ "regions": ["ab", "abcd"], "least": 5 })).run().await;
    assert_eq!(run.output::<Value>("total"), Some(json!({ "regions": 2, "orders": 50 })), "{run:?}");
}

#[tokio::test]
async fn branches_short_circuits_and_teardowns() {
    use TaskState::{Skipped, Success};
    let tasks = ["quick", "cluster.create", "cluster.work", "cluster.remove", "tell", "nothing_to_do", "report"];
    let run = sample("choose.yaml").test().run().await;
    assert_eq!(states(&run, tasks), [Success, Skipped, Skipped, Skipped, Skipped, Skipped, Success], "{run:?}");
    let run = sample("choose.yaml").test().params(json!({ "size": "large" })).run().await;
    assert_eq!(states(&run, tasks), [Skipped, Success, Success, Success, Skipped, Skipped, Success], "{run:?}");
}

#[tokio::test]
async fn sensors_wait_for_what_their_templates_say() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/a.csv"), "1\n").unwrap();
    let dag = sample("waiting.yaml");
    let params = json!({ "folder": folder.path() });
    let run = dag.test().params(params).with("orders", json!({})).met("orders_are_there", json!([])).run().await;
    assert_eq!(run.output::<Value>("count"), Some(json!(1)), "{run:?}");
    assert!(folder.path().join("out/a.csv").is_file());
}

#[tokio::test]
async fn the_files_of_the_guide_are_dags_and_end_well() {
    let examples = examples(&guide("dag-files"), "yaml");
    assert!(examples.len() >= 6, "{}", examples.len());
    for (line, text) in &examples {
        for dag in dags(&format!("dag-files.md from line {line}.yaml"), text) {
            // Skips DAGs that need other machines or users; they are only parsed.
            let asks = [
                "sql",
                "http",
                "container",
                "spark",
                "spark_sql",
                "trigger_dag",
                "wait",
                "wait_for_dag",
                "copy_files",
                "approval",
                "input",
            ];
            if dag.tasks().iter().any(|task| asks.contains(&task.kind.as_str())) {
                continue;
            }
            let host = orch::MemoryHost::new().with_variable("region", "eu").with_variable("db_password", "s3cret");
            let run = dag.test().host(&host).run().await;
            assert!(run.errors.is_empty(), "the example of line {line}: {:?}", run.errors);
        }
    }
}
