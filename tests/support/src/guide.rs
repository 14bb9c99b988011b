//! Reads guides, for tests that compare them with the code.

use std::path::Path;

/// Returns the content of `docs/guides/NAME.md`.
pub fn guide(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides").join(name).with_extension("md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// Returns the fenced code blocks of a language, with the line where each one starts.
pub fn examples(text: &str, language: &str) -> Vec<(usize, String)> {
    let fence = format!("```{language}");
    let (mut found, mut open): (Vec<(usize, String)>, _) = (Vec::new(), false);
    for (place, line) in text.lines().enumerate() {
        match line {
            _ if line == fence => {
                found.push((place + 2, String::new()));
                open = true;
            }
            "```" => open = false,
            line if open => {
                let (_, example) = found.last_mut().expect("one is open");
                example.push_str(line);
                example.push('\n');
            }
            _ => {}
        }
    }
    found
}

/// Removes the white space, which a formatter may change.
pub fn words(text: &str) -> String {
    text.split_whitespace().collect()
}
