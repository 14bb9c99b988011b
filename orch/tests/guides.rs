//! Code that `README.md` and guides show: it is compiled and run here, and it is what they show.

#[path = "guides/operators.rs"]
mod operators;
#[path = "guides/readme.rs"]
mod readme;
#[path = "guides/testing.rs"]
mod testing;

use orch_test_support::guide::{examples, guide, words};

#[test]
fn what_documents_show_is_what_runs() {
    // Each with its source, and how many pieces of code it shows at least.
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
