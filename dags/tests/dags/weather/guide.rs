//! `docs/guides/weather.md`: its Rust stands word by word in the pipeline, its SQL runs in `pages`.

use orch_test_support::guide::{examples, guide, words};
use std::path::Path;

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
    let code = words(&sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/weather")));
    let examples = examples(&guide("weather"), "rust");
    assert!(examples.len() >= 4);
    for (_, example) in examples {
        assert!(code.contains(&words(&example)), "this is not what runs:\n{example}");
    }
}
