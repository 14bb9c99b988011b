//! DAG files from the folder to finished runs, with the real binary: added, edited, broken, deleted, and with the
//! worker killed during a run.

use crate::world::World;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The promise is two seconds on an idle machine; tests share theirs.
const LIVE_WITHIN: Duration = Duration::from_secs(6);

/// Starts a worker that watches a folder, and a scheduler.
async fn watching() -> (World, PathBuf, u32) {
    let mut world = World::new().await;
    let folder = world.path().join("dag-files");
    fs::create_dir(&folder).unwrap();
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
    world.set("ORCH_VAR_DB_PASSWORD", "hunter2-very-secret");
    let worker = start_worker(&mut world);
    world.start(&["scheduler"]);
    (world, folder, worker)
}

fn start_worker(world: &mut World) -> u32 {
    world.start(&["worker", "--lease", "2s", "--paused-at-creation=false"])
}

fn put(folder: &Path, name: &str, text: &str) -> Instant {
    fs::write(folder.join(name), text).unwrap();
    Instant::now()
}

fn saying(word: &str) -> String {
    format!("dag_id: said\ntasks:\n  say: {{bash: echo {word}}}\n")
}

#[tokio::test]
async fn a_file_is_live_soon_and_its_last_good_version_stays() {
    let (world, folder, _) = watching().await;
    put(&folder, "said.yaml", &saying("first"));
    world.wait_for(&["dags", "export", "said"], |ended| ended.code == 0);
    assert_eq!(world.run(&["dags", "trigger", "said", "--wait"]).code, 0);

    let changed = put(&folder, "said.yaml", &saying("second"));
    world.wait_for(&["dags", "export", "said"], |ended| ended.out.contains("echo second"));
    eprintln!("a change was live after {:?}", changed.elapsed());
    assert!(changed.elapsed() < LIVE_WITHIN, "{:?}", changed.elapsed());
    // Back to the first content: the file decides, not the number of the version.
    put(&folder, "said.yaml", &saying("first"));
    world.wait_for(&["dags", "export", "said"], |ended| ended.out.contains("echo first"));
    put(&folder, "said.yaml", &saying("second"));
    world.wait_for(&["dags", "export", "said"], |ended| ended.out.contains("echo second"));

    assert_eq!(world.run(&["dags", "list-import-errors"]).code, 0);
    put(&folder, "said.yaml", "dag_id: said\ntasks:\n  say: {bsh: echo third}\n");
    put(&folder, "other.yaml", "dag_id: other\ntasks:\n  say: {bash: echo other}\n");
    let told = world.wait_for(&["dags", "list-import-errors", "-o", "json"], |ended| ended.code == 1);
    assert!(told.out.contains("said.yaml:3:") && told.out.contains("did you mean `bash`?"), "{told:?}");
    world.wait_for(&["dags", "export", "other"], |ended| ended.code == 0);
    assert_eq!(world.run(&["dags", "trigger", "other", "--wait"]).code, 0);
    let last = world.run(&["dags", "trigger", "said", "--run-id", "still", "--wait"]);
    assert_eq!(last.code, 0, "{last:?}");
    let said = world.run(&["tasks", "logs", "said", "say", "still"]);
    assert!(said.out.contains("second"), "{said:?}");
    let local = world.run(&["dags", "list-import-errors", "--local"]);
    assert!(local.code == 1 && local.out.contains("said.yaml:3:"), "{local:?}");
    let report = world.run(&["dags", "report", "-o", "json"]);
    assert!(report.out.contains("other.yaml") && report.out.contains("\"dag_num\":"), "{report:?}");

    let of_rust = world.run(&["dags", "export", "example_chain"]).refused();
    assert!(of_rust.contains("is a function of Rust"), "{of_rust}");
    let named = world.run(&["config", "get-value", "core", "dags_folder"]).done();
    assert_eq!(named.trim(), folder.to_str().unwrap());
    let again = world.run(&["dags", "reserialize", "-B", "dags-folder"]);
    assert!(again.code == 1 && again.err.contains("`dags-folder`: 1 dag"), "{again:?}");

    put(&folder, "said.yaml", &saying("third"));
    world.wait_for(&["dags", "list-import-errors"], |ended| ended.code == 0);
    fs::remove_file(folder.join("said.yaml")).unwrap();
    let is_listed = |ended: &crate::binary::CommandOutput| ended.out.lines().any(|line| line.starts_with("said "));
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.code == 0 && !is_listed(ended));
    assert!(is_listed(&world.run(&["dags", "list", "--where", "exclude_stale=false", "-o", "plain"])));
    put(&folder, "said.yaml", &saying("third"));
    world.wait_for(&["dags", "trigger", "said", "--wait"], |ended| ended.code == 0);
}

#[tokio::test]
async fn a_deleted_dag_returns_while_its_file_exists() {
    let (mut world, folder, _) = watching().await;
    // The second worker also claims tasks of the version that the first one registers.
    start_worker(&mut world);
    put(&folder, "said.yaml", &saying("first"));
    world.wait_for(&["dags", "export", "said"], |ended| ended.code == 0);
    assert_eq!(world.run(&["dags", "trigger", "said", "--wait"]).code, 0);
    world.run(&["dags", "delete", "said", "--yes"]).done();
    world.wait_for(&["dags", "export", "said"], |ended| ended.code == 0);
    let runs = world.run(&["dags", "list-runs", "said", "-o", "json"]).done();
    assert_eq!(runs.trim(), "[]", "its history is deleted");
    assert_eq!(world.run(&["dags", "trigger", "said", "--wait"]).code, 0);
}

#[tokio::test]
async fn a_failed_run_names_all_failed_tasks_up_to_twenty() {
    let (world, folder, _) = watching().await;
    let task = |number| format!("  t{number:02}: {{bash: 'exit {number}'}}\n");
    let tasks = (1..=22).map(task).collect::<String>();
    put(&folder, "many.yaml", &format!("dag_id: many\ntasks:\n{tasks}"));
    world.wait_for(&["dags", "export", "many"], |ended| ended.code == 0);
    let ended = world.run(&["dags", "trigger", "many", "--run-id", "bad", "--wait"]).failed();
    let named: Vec<&str> = ended.err.lines().filter(|line| line.starts_with("task `t")).collect();
    assert_eq!(named.len(), 20, "{}", ended.err);
    assert!(named.iter().all(|line| line.contains("` failed: ")), "{named:?}");
    assert!(ended.err.contains("\n2 more failed\nsee its tasks with "), "{}", ended.err);
}

#[tokio::test]
async fn a_dashboard_that_is_dropped_into_the_folder_is_there_and_its_last_good_version_stays() {
    const FILE: &str = "orders.dashboard.yaml";
    let (world, folder, _) = watching().await;
    let shop = |title: &str| format!("title: {title}\npanels:\n  - {{title: All, type: figure, sql: select 1}}\n");
    // Dashboards are registered before errors are reported: once the other file is registered, the dashboard is too.
    let titles = async || {
        let told = "select coalesce(string_agg(name || ' ' || (spec->>'title'), ',' order by name), '') from dashboard";
        sqlx::query_scalar::<_, String>(told).fetch_one(&mut world.db().await).await.unwrap()
    };
    let broken = |name: &str| {
        put(&folder, name, "title: Twice\nname: orders\npanels: []\n");
        world.wait_for(&["dags", "list-import-errors", "-o", "json"], |ended| ended.out.contains(name)).out
    };
    put(&folder, FILE, &shop("First"));
    let told = broken("b.dashboard.yaml");
    assert!(told.contains("b.dashboard.yaml:3:") && told.contains("0 panels"), "{told}");
    assert_eq!(titles().await, "orders First");
    put(&folder, FILE, "title: Second\npanels:\n  - {title: All, type: pie, sql: select 1}\n");
    let told = world.wait_for(&["dags", "list-import-errors", "-o", "json"], |ended| ended.out.contains(FILE)).out;
    assert!(told.contains("orders.dashboard.yaml:3:") && told.contains("`figure`"), "{told}");
    assert_eq!(titles().await, "orders First");
    put(&folder, FILE, &shop("Third"));
    fs::write(folder.join("b.dashboard.yaml"), shop("Twice").replace("panels", "name: orders\npanels")).unwrap();
    let told = |ended: &crate::binary::CommandOutput| ended.out.contains("there is a dashboard `orders` already");
    world.wait_for(&["dags", "list-import-errors", "-o", "json"], told);
    // If two files have the same name, the first one by path wins.
    assert_eq!(titles().await, "orders Twice");
    fs::remove_file(folder.join("b.dashboard.yaml")).unwrap();
    world.wait_for(&["dags", "list-import-errors"], |ended| ended.code == 0);
    assert_eq!(titles().await, "orders Third");
}

#[tokio::test]
async fn a_run_keeps_its_version_through_changes_and_deaths() {
    let (mut world, folder, worker) = watching().await;
    let gate = world.path().join("gate");
    let text = |word: &str| {
        let waits = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
        format!(
            "dag_id: slow\ntasks:\n  wait: {{bash: 'echo begun; {waits}', timeout: 1m}}\n  say: {{bash: echo {word}, after: wait}}\n"
        )
    };
    put(&folder, "slow.yaml", &text("old"));
    world.wait_for(&["dags", "trigger", "slow", "--run-id", "one"], |ended| ended.code == 0);
    world.wait_for(&["tasks", "logs", "slow", "wait", "one"], |ended| ended.out.contains("begun"));
    put(&folder, "slow.yaml", &text("new"));
    world.wait_for(&["dags", "export", "slow"], |ended| ended.out.contains("echo new"));
    world.kill(worker);
    // The next worker has never read the old file.
    start_worker(&mut world);
    fs::write(&gate, "").unwrap();
    let ended = world.run(&["runs", "wait", "slow", "one"]);
    assert_eq!(ended.code, 0, "{ended:?}\n{}", world.said());
    let said = world.run(&["tasks", "logs", "slow", "say", "one"]);
    assert!(said.out.contains("old") && !said.out.contains("new"), "{said:?}");
}

#[tokio::test]
async fn a_secret_reaches_the_program_and_nobody_else() {
    let (world, folder, _) = watching().await;
    put(
        &folder,
        "secret.yaml",
        r#"
dag_id: secret
params: {word: none}
tasks:
  use:
    isolation: process
    bash:
      command: |
        echo "arguments: $(tr '\0' ' ' < /proc/$$/cmdline)"
        echo "the secret has ${#PASSWORD} letters and is $PASSWORD; $1"
      args: ["{{ params.word }}"]
      env: {PASSWORD: "{{ var.db_password }}"}
"#,
    );
    let conf = r#"{"word": "$(touch pwned); `id`"}"#;
    world.wait_for(&["dags", "trigger", "secret", "--run-id", "r", "--conf", conf, "--wait"], |ended| ended.code == 0);
    let said = world.run(&["tasks", "logs", "secret", "use", "r"]);
    assert!(said.out.contains("has 19 letters and is ***; $(touch pwned); `id`"), "{said:?}");
    assert!(!said.out.contains("hunter2") && said.out.contains("arguments: bash -c"), "{said:?}");
    let refused = folder.join("leak.yaml");
    fs::write(refused, "dag_id: leak\ntasks:\n  t: {bash: {command: x, args: ['{{ var.db_password }}']}}\n").unwrap();
    let told = world.wait_for(&["dags", "list-import-errors"], |ended| ended.code == 1);
    assert!(told.out.contains("the secret variable `db_password` is in an argument"), "{told:?}");
}

#[tokio::test]
async fn a_map_over_an_object_has_its_pairs_and_a_branch_may_return_a_group() {
    let (world, folder, _) = watching().await;
    put(
        &folder,
        "pairs.yaml",
        r#"
dag_id: pairs
tasks:
  sizes: {value: {us: 2, eu: 1}}
  each: {map: "{{ upstream.sizes.output }}", bash: {command: 'echo "$1 has $2"', args: ["{{ element[0] }}", "{{ element[1] }}"]}}
  all: {bash: {command: 'echo "all: $1"', args: ["{{ upstream.sizes.output | json }}"]}, after: each}
  choose: {branch: {bash: "echo '\"north\"'"}}
  north: {tasks: {a: {bash: echo went north, after: choose}}}
  south: {tasks: {b: {bash: echo went south, after: choose}}}
"#,
    );
    world.wait_for(&["dags", "trigger", "pairs", "--run-id", "r", "--wait"], |ended| ended.code == 0);
    for (task, index, words) in [("each", "0", "eu has 1"), ("each", "1", "us has 2")] {
        let said = world.run(&["tasks", "logs", "pairs", task, "r", "--map-index", index]);
        assert!(said.out.contains(words), "{said:?}");
    }
    for (task, words) in [("all", r#"all: {"eu":1,"us":2}"#), ("north.a", "went north")] {
        let said = world.run(&["tasks", "logs", "pairs", task, "r"]);
        assert!(said.out.contains(words), "{said:?}");
    }
    let states = world.run(&["tasks", "states-for-dag-run", "pairs", "r", "-o", "plain"]);
    assert!(states.out.lines().any(|line| line.contains("south.b") && line.contains("skipped")), "{states:?}");
}

#[tokio::test]
async fn two_thousand_files_are_there_within_seconds() {
    const FILES: usize = 2_000;
    let mut world = World::new().await;
    let folder = world.path().join("dag-files");
    fs::create_dir(&folder).unwrap();
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
    for number in 0..FILES {
        let text = format!(
            "dag_id: many_{number}\nschedule: '@daily'\nstart: 2099-01-01\ntasks:\n  a: {{bash: echo a}}\n  b: {{bash: echo b, after: a}}\n  \
             c: {{value: '{{{{ upstream.b.output }}}}'}}\n"
        );
        put(&folder, &format!("many_{number}.yaml"), &text);
    }
    let began = Instant::now();
    let read = world.run(&["dags", "list-import-errors", "--local"]);
    assert_eq!(read.code, 0, "{read:?}");
    eprintln!("{FILES} files were read in {:?}", began.elapsed());
    let began = Instant::now();
    start_worker(&mut world);
    let last = format!("many_{}", FILES - 1);
    world.wait_for(&["dags", "export", &last], |ended| ended.code == 0);
    eprintln!("{FILES} files were registered in {:?}", began.elapsed());
    // Unoptimized build, and other tests run at the same time; the promise is five seconds.
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    let changed = put(&folder, "many_7.yaml", "dag_id: many_7\ntasks:\n  a: {bash: echo changed}\n");
    world.wait_for(&["dags", "export", "many_7"], |ended| ended.out.contains("changed"));
    eprintln!("among them a change was live after {:?}", changed.elapsed());
    assert!(changed.elapsed() < LIVE_WITHIN, "{:?}", changed.elapsed());
}
