//! The examples of `docs/guides/rest-api.md`, run one after the other as they stand there.

use crate::remote::PASSWORD;
use crate::standalone::Standalone;
use std::path::Path;
use std::process::Command;

/// What stands between fences of `sh`, with the line where each begins.
fn examples(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut open): (Vec<(usize, String)>, _) = (Vec::new(), false);
    for (place, line) in text.lines().enumerate() {
        match line {
            "```sh" => {
                found.push((place + 1, String::new()));
                open = true;
            }
            "```" => open = false,
            line if open => {
                let (_, example) = found.last_mut().unwrap();
                example.push_str(line);
                example.push('\n');
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_examples_of_the_guide_to_the_api_do_what_they_say() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/rest-api.md");
    let examples = examples(&std::fs::read_to_string(guide).unwrap());
    assert!(examples.len() > 8, "{examples:?}");
    let say = |(line, example): &(usize, String)| format!("echo 'the example of line {line}'\n{example}");
    let script = format!("set -eu\n{}", examples.iter().map(say).collect::<String>());
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env("ORCH", &standalone.url).env("ORCH_PASSWORD", PASSWORD);
    let ended = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "after this it went wrong:\n{out}\n{err}");
}
