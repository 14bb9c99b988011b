//! Compiles and runs the code in `README.md` and the guides, and checks that they show this code.

#[path = "guides/operators.rs"]
mod operators;
#[path = "guides/readme.rs"]
mod readme;
#[path = "guides/testing.rs"]
mod testing;

use orch_test_support::guide::{examples, guide, words};

#[test]
fn what_documents_show_is_what_runs() {
    // Each document with its source and the minimum number of examples in it.
    let documents = [
        ("README.md", include_str!("../../README.md").to_string(), include_str!("guides/readme.rs"), 1),
        ("docs/guides/operators.md", guide("operators"), include_str!("guides/operators.rs"), 3),
        ("docs/guides/testing.md", guide("testing"), include_str!("guides/testing.rs"), 5),
    ];
    for (name, text, source, least) in documents {
        let shown = examples(&text, "rust");
        assert!(shown.len() >= least, "{name} shows {} pieces of code", shown.len());
        for (line, example) in shown {
            assert!(words(source).contains(&words(&example)), "{name}:{line} is not in its source:\n{example}");
        }
    }
}
