//! Tasks in separate processes.

use crate::binary::plain;
use crate::world::World;

#[tokio::test]
async fn a_child_speaks_and_one_that_takes_too_much_memory_is_ended() {
    let world = World::at_work().await;
    assert_eq!(world.run(&["dags", "trigger", "example_process", "--run-id", "small", "--wait"]).code, 0);
    let said = |ended: &crate::binary::CommandOutput| ended.out.contains("are filled");
    let log = world.wait_for(&["tasks", "logs", "example_process", "fill", "small"], said);
    assert!(log.out.contains("what a child prints is its log"), "{log:?}");

    let large = ["dags", "trigger", "example_process", "--run-id", "large", "--conf", "{\"megabytes\": 300}", "--wait"];
    assert_eq!(world.run(&large).code, 1);
    let why = plain(&world.run(&["tasks", "logs", "example_process", "fill", "large"]).err);
    assert!(why.starts_with("try 1 failed (memory): its processes had "), "{why}");
    assert!(why.ends_with(" MB in memory, more than its `memory_mb` of 200\n"), "{why}");
}

#[tokio::test]
async fn a_worker_runs_few_children_at_a_time_and_others_run_beside_them() {
    let mut world = World::new().await;
    world.start(&["worker", "--process-slots", "2", "--paused-at-creation=false"]);
    world.start(&["scheduler"]);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_children"));
    assert_eq!(world.run(&["dags", "trigger", "test_children", "--run-id", "many"]).code, 0);
    assert_eq!(world.run(&["dags", "trigger", "example_chain", "--run-id", "beside", "--wait"]).code, 0);
    let children = ["tasks", "states-for-dag-run", "test_children", "many", "-o", "json"];
    let unfinished = world.run(&children).json();
    assert!(unfinished.as_array().unwrap().iter().any(|row| row["state"] != "success"), "{unfinished}");
    assert_eq!(world.run(&["runs", "wait", "many", "--timeout", "60s"]).code, 0);

    let rows = world.run(&children).json();
    // All times are in UTC and in one format, so they sort as text.
    let at = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_string();
    let times: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (at(row, "start_date"), at(row, "end_date"))).collect();
    assert_eq!(times.len(), 7);
    for (start, _) in &times {
        let together = times.iter().filter(|(from, to)| from <= start && start < to).count();
        assert!(together <= 2, "{together} ran at once: {times:?}");
    }
}

#[tokio::test]
async fn a_step_cannot_leave_the_process_of_its_task() {
    let world = World::at_work().await;
    let run = ["dags", "trigger", "test_committing", "--run-id", "child", "--wait"];
    assert_eq!(world.run(&run).code, 1);
    let why = plain(&world.run(&["tasks", "logs", "test_committing", "commit_in_child", "child"]).err);
    let words = "a step of `ctx.commit` cannot leave the process of its task: only the worker records how it ended";
    assert!(why.contains(words) && why.contains("hint: let the task run in the worker"), "{why}");
}
