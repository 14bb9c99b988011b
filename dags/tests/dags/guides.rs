//! Guides of pipelines: their code is in the source of the pipeline, and their queries return rows.

use crate::world::World;
use orch::Schedule;
use orch_dags::retail::tables::{GOLD, SILVER};
use orch_test_support::guide::{examples, guide, words};
use std::collections::BTreeSet;
use std::path::Path;

/// Each guide with the folders of its code, and the minimum number of code examples in it.
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

/// Asserts that a guide has at least `least` queries, and that each of them returns rows.
#[track_caller]
pub(crate) fn assert_questions_have_answers(world: &World, name: &str, least: usize) {
    let questions = examples(&guide(name), "sql");
    assert!(questions.len() >= least, "docs/guides/{name}.md asks {} questions", questions.len());
    for (_, question) in questions {
        let answer = world.run(&["sql", &question, "-o", "csv"]).done();
        assert!(answer.lines().count() > 2, "{question}\n{answer}");
    }
}

/// Returns the name and the text of each guide.
fn guides() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: &Path| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
    };
    files.map(|path| read(&path)).collect()
}

/// Returns the names behind `retail.` in a text, apart from names of files and patterns such as `retail.sales_by_*`.
fn tables_of_the_shop(text: &str) -> Vec<&str> {
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let mut found = Vec::new();
    for (at, prefix) in text.match_indices("retail.") {
        let rest = &text[at + prefix.len()..];
        let name = &rest[..rest.find(|letter: char| !is_of_name(letter)).unwrap_or(rest.len())];
        let is_word = text[..at].chars().next_back().is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
        let is_file = ["md", "webp"].contains(&name) || rest[name.len()..].starts_with(".yaml");
        if is_word && !is_file && !name.is_empty() && !rest[name.len()..].starts_with('*') {
            found.push(name);
        }
    }
    found
}

/// Queries and commands of guides must work after `retail_medallion` has run.
#[test]
fn guides_name_tables_of_the_shop_that_the_pipeline_makes() {
    let models = SILVER.iter().chain(GOLD.iter()).map(|model| model.table.name);
    // Adds the quarantine of `orders_fact`, and its view in Postgres.
    let made: BTreeSet<&str> = models.chain(["orders_fact_quarantine", "order_fact"]).collect();
    let guides = guides();
    let named: Vec<(&str, &str)> = guides
        .iter()
        .flat_map(|(guide, text)| tables_of_the_shop(text).into_iter().map(move |name| (guide.as_str(), name)))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|(_, name)| !made.contains(name)).collect();
    assert!(unknown.is_empty(), "no pipeline makes these tables in `retail`: {unknown:?}");
    assert_eq!(tables_of_the_shop("retail.a_b retail.md `retail.c\"` retail.sales_by_* retail.x.yaml"), ["a_b", "c"]);
}

/// `--date` without a time means every run of the day, so a DAG that runs several times a day needs the time.
#[test]
fn dates_of_backfills_in_guides_are_single_runs() {
    let dags = orch_dags::dags();
    let mut seen = 0;
    for (guide, text) in guides() {
        for line in text.lines().filter(|line| line.starts_with("orch backfill create ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let values =
                |flag: &str| words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect::<Vec<_>>();
            let Some(dag) = dags.iter().find(|dag| values("--dag-id").contains(&dag.spec().dag_id.as_str())) else {
                continue;
            };
            let Schedule::Cron { expression, .. } = &dag.spec().schedule else { continue };
            // The second field of an expression is the hour: a number, or several hours.
            if expression.split(' ').nth(1).is_some_and(|hour| hour.parse::<u8>().is_ok()) {
                continue;
            }
            for date in values("--date") {
                seen += 1;
                assert!(date.contains('T'), "{guide}: `{date}` means every run of that day: {line}");
            }
        }
    }
    assert!(seen >= 4, "{seen} dates");
}
