//! Commands that need no server.

use crate::binary::{CommandOutput, command, plain, run};
use orch_test_support::guide::{examples, guide};
use std::path::Path;

fn orch(arguments: &[&str]) -> crate::binary::CommandOutput {
    run(Path::new("/nonexistent"), arguments)
}

#[test]
fn help_is_printed_and_no_failure_but_a_missing_command_is_one() {
    let help = orch(&["--help"]).done();
    assert!(help.contains("orch dags trigger example_chain --wait"), "{help}");
    let nothing = orch(&[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (2, ""), "{nothing:?}");
    assert_eq!(orch(&["version"]).done(), format!("{}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands = [
        "standalone",
        "scheduler",
        "worker",
        "web",
        "doctor",
        "info",
        "version",
        "completion",
        "db migrate",
        "db check",
        "db reset",
        "dags list",
        "dags show",
        "dags details",
        "dags trigger",
        "dags pause",
        "dags unpause",
        "dags list-runs",
        "dags next-execution",
        "dags state",
        "dags test",
        "dags delete",
        "tasks list",
        "tasks state",
        "tasks states-for-dag-run",
        "tasks clear",
        "tasks test",
        "tasks logs",
        "tasks why",
        "tasks failed-deps",
        "pools list",
        "pools get",
        "pools set",
        "pools delete",
        "pools export",
        "pools import",
        "topics list",
        "topics show",
        "topics create",
        "topics set",
        "topics delete",
        "topics produce",
        "topics tail",
        "topics readers",
        "topics seek",
        "topics forget",
        "streams list",
        "streams show",
        "streams pause",
        "streams resume",
        "streams restart",
        "streams reset",
        "streams skip",
        "streams delete",
        "runs list",
        "runs wait",
        "runs cancel",
        "runs move",
        "assets list",
        "assets details",
        "assets materialize",
        "assets events",
        "assets emit",
        "assets checks",
        "assets quality",
        "dags show-dependencies",
        "dags list-import-errors",
        "dags report",
        "dags reserialize",
        "dags export",
        "dags schema",
        "connections add",
        "connections list",
        "connections get",
        "connections delete",
        "connections export",
        "connections import",
        "variables set",
        "variables list",
        "variables get",
        "variables delete",
        "variables export",
        "variables import",
        "secrets generate-key",
        "secrets rotate",
        "cron next",
        "config list",
        "config get-value",
    ];
    for command in commands {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = orch(&words).done();
        assert!(help.contains(&format!("\n  orch {command}")), "{command}: {help}");
    }
}

#[test]
fn the_dags_of_the_binary_are_listed_without_a_server() {
    let listed =
        orch(&["dags", "list", "--local", "--tags", "test", "--columns", "dag_id,aliases", "-o", "plain"]).done();
    assert_eq!(
        listed,
        "dag_id              aliases\ntest_children       -\ntest_committing     -\ntest_counting       -\ntest_failing        broken\n\
        test_lingering      -\ntest_patient        -\ntest_patient_child  -\ntest_planted        -\ntest_relaying       -\n\
        test_scheduled      -\ntest_second_try     -\ntest_shouting       -\ntest_talking        -\n"
    );
    let shown = orch(&["dags", "show", "broken", "--local"]).done();
    assert_eq!(shown, "test_failing  (only by hand)\n  fail\n    say  ← fail\n");
    let refused = orch(&["dags", "show", "test_faling", "--local"]).refused();
    assert_eq!(
        refused,
        "error: this binary has no dag `test_faling`\nhint: did you mean `test_failing`? list all with `orch dags list --local`\n"
    );
}

#[test]
fn a_cron_expression_is_followed_through_the_change_of_clocks() {
    let next = ["cron", "next", "30 2 * * *", "--tz", "Europe/Berlin", "--after", "2026-03-28T00:00:00Z", "-n", "3"];
    assert_eq!(orch(&next).done(), "2026-03-28T02:30:00+01:00\n2026-03-29T03:30:00+02:00\n2026-03-30T02:30:00+02:00\n");
    let utc: Vec<&str> = next.into_iter().chain(["--utc"]).collect();
    assert!(orch(&utc).done().starts_with("2026-03-28T01:30:00+00:00\n"));
    let never = orch(&["cron", "next", "0 0 30 2 *"]).failed();
    assert_eq!(never.err, "`0 0 30 2 *` never fires: it names no date\n");
}

#[test]
fn the_body_of_one_task_runs_alone() {
    let alone = orch(&["tasks", "test", "test_failing", "say", "--input", "word=\"milk\""]);
    assert_eq!((alone.code, alone.out.as_str()), (0, "\"milk\"\n"), "{alone:?}");
    assert!(alone.err.contains("INFO    the word is milk"), "{alone:?}");
    let failed = orch(&["tasks", "test", "test_failing", "fail"]).failed();
    assert!(failed.err.ends_with("failed: the source is empty\n"), "{failed:?}");
    let refused = orch(&["tasks", "test", "test_failing", "say"]).refused();
    assert!(refused.starts_with("error: `word` (String) comes from another task\nhint: say what it is"), "{refused}");
}

#[test]
fn a_dag_runs_on_a_database_that_is_thrown_away() {
    let home = tempfile::tempdir().unwrap();
    let ended = run(home.path(), ["dags", "test", "example_diamond", "-o", "plain"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(plain(&ended.out).contains("report   -          success  1 "), "{ended:?}");
    assert!(ended.err.contains(" ended: success after "), "{ended:?}");
    let ended = run(home.path(), ["dags", "test", "broken"]).failed();
    assert!(ended.out.contains("upstream_failed"), "{ended:?}");
    assert!(ended.err.contains("fail | try 1 failed (retryable): the source is empty\n"), "{ended:?}");
    assert!(!home.path().join("data").exists(), "nothing is left behind");
}

#[test]
fn a_file_that_does_not_exist_is_told_as_a_file() {
    for file in ["nothere.yaml", "./nothere.yaml", "../nothere.json"] {
        let refused = orch(&["dags", "test", file]).refused();
        let expected = format!("error: there is no file `{file}`\nhint: correct the path, which starts in `");
        assert!(refused.starts_with(&expected), "{refused}");
    }
}

#[test]
fn the_first_file_of_the_guide_runs_by_its_path() {
    let home = tempfile::tempdir().unwrap();
    let files = examples(&guide("dag-files"), "yaml");
    let (_, hello) = &files[0];
    std::fs::write(home.path().join("hello.yaml"), hello).unwrap();
    let mut test = command(home.path());
    test.current_dir(home.path()).args(["dags", "test", "./hello.yaml", "-o", "plain"]);
    let ended = CommandOutput::of(&test.output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("HELLO WORLD"), "{ended:?}");
}

#[test]
fn a_graph_is_saved_as_a_picture() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("graph.svg");
    let path = file.to_str().unwrap();
    let saved = orch(&["dags", "show", "example_diamond", "--local", "--save", path]);
    assert_eq!((saved.code, saved.out.as_str()), (0, ""), "{saved:?}");
    let drawn = std::fs::read_to_string(&file).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.contains("<title>example_diamond</title>"), "{drawn}");
    assert_eq!(orch(&["dags", "show", "example_diamond", "--local", "--format", "svg"]).done(), drawn);
    assert_eq!(
        orch(&["dags", "show", "example_diamond", "--local", "--save", "graph.png"]).refused(),
        "error: `graph.png` does not end in .svg, .txt, .dot or .mmd\nhint: save `graph.svg`; other images are made from it or \
         from `graph.dot`: `dot -Tpng graph.dot -o graph.png`\n"
    );
    assert_eq!(
        orch(&["dags", "show", "example_diamond", "--local", "--imgcat"]).refused(),
        "error: `--imgcat` is not supported\nhint: save the picture with `orch dags show example_diamond --save graph.svg`\n"
    );
}
