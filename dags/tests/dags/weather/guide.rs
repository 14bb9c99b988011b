//! `docs/guides/weather.md`: its Rust stands word by word in the pipeline, its SQL runs in `pages`.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between fences of a language.
pub(super) fn examples(language: &str) -> Vec<String> {
    let guide = std::fs::read_to_string(root().join("docs/guides/weather.md")).unwrap();
    let fence = format!("```{language}\n");
    guide.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Without what a formatter may change.
fn words(text: &str) -> String {
    text.split_whitespace().collect()
}

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
fn the_code_of_the_guide_is_that_of_the_pipeline() {
    let code = words(&sources(&root().join("dags/src/weather")));
    let examples = examples("rust");
    assert!(examples.len() >= 4);
    for example in examples {
        assert!(code.contains(&words(&example)), "this is not what runs:\n{example}");
    }
}
