//! `docs/guides/taxi.md`: its code is that of the pipeline, and its questions have answers.

use crate::world::World;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What stands between fences of a language.
fn examples(language: &str) -> Vec<String> {
    let guide = std::fs::read_to_string(root().join("docs/guides/taxi.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks = guide.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Without what a formatter may change.
fn words(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn the_code_of_the_guide_is_the_code_that_runs() {
    let files = std::fs::read_dir(root().join("dags/src/taxi")).unwrap();
    let code: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let (code, examples) = (words(&code), examples("rust"));
    assert!(examples.len() >= 6);
    for example in examples {
        assert!(code.contains(&words(&example)), "this does not stand in dags/src/taxi:\n{example}");
    }
}

/// Each is asked of tables that have rows.
#[track_caller]
pub(super) fn assert_questions_have_answers(world: &World) {
    let questions = examples("sql");
    assert!(questions.len() >= 3);
    for question in questions {
        let answer = world.run(&["sql", &question, "-o", "csv"]).done();
        assert!(answer.lines().count() > 2, "{question}\n{answer}");
    }
}
