//! Guides of pipelines: their code is that of the pipeline, and their questions have answers.

use crate::world::World;
use orch_test_support::guide::{examples, guide, words};
use std::path::Path;

/// Each guide with the folders of its code, and how many pieces of it it shows at least.
const GUIDES: [(&str, &[&str], usize); 4] = [
    ("analytics", &["src/analytics", "src/common/nyc"], 2),
    ("forecast", &["src/taxi/forecast", "../forecast/src"], 1),
    ("taxi", &["src/taxi", "src/common/nyc"], 6),
    ("weather", &["src/weather", "src/common/nyc"], 4),
];

fn sources(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(end) if end == "rs" => std::fs::read_to_string(path).unwrap(),
            _ => String::new(),
        })
        .collect()
}

#[test]
fn the_code_of_a_guide_is_the_code_that_runs() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, folders, least) in GUIDES {
        let code: String = folders.iter().map(|folder| words(&sources(&here.join(folder)))).collect();
        let examples = examples(&guide(name), "rust");
        assert!(examples.len() >= least, "docs/guides/{name}.md shows {} pieces of code", examples.len());
        for (line, example) in examples {
            assert!(
                code.contains(&words(&example)),
                "docs/guides/{name}.md:{line} is not in dags/src/{name}:\n{example}"
            );
        }
    }
}

/// At least so many, each asked of tables that have rows.
#[track_caller]
pub(crate) fn assert_questions_have_answers(world: &World, name: &str, least: usize) {
    let questions = examples(&guide(name), "sql");
    assert!(questions.len() >= least, "docs/guides/{name}.md asks {} questions", questions.len());
    for (_, question) in questions {
        let answer = world.run(&["sql", &question, "-o", "csv"]).done();
        assert!(answer.lines().count() > 2, "{question}\n{answer}");
    }
}
