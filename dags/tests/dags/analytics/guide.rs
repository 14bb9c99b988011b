//! `docs/guides/analytics.md`: its code is that of the pipeline, and its questions have answers.

use crate::world::World;
use orch_test_support::guide::{examples, guide, words};
use std::path::Path;

#[test]
fn the_code_of_the_guide_is_the_code_that_runs() {
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analytics")).unwrap();
    let code: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let (code, examples) = (words(&code), examples(&guide("analytics"), "rust"));
    assert!(examples.len() >= 2);
    for (_, example) in examples {
        assert!(code.contains(&words(&example)), "this does not stand in dags/src/analytics:\n{example}");
    }
}

/// Each is asked of tables that have rows.
#[track_caller]
pub(super) fn assert_questions_have_answers(world: &World) {
    let questions = examples(&guide("analytics"), "sql");
    assert!(questions.len() >= 2);
    for (_, question) in questions {
        let answer = world.run(&["sql", &question, "-o", "csv"]).done();
        assert!(answer.lines().count() > 2, "{question}\n{answer}");
    }
}
