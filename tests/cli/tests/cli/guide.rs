//! Runs the examples of `docs/guides/rest-api.md` in order.

use crate::remote::PASSWORD;
use crate::standalone::Standalone;
use orch_test_support::guide::{examples, guide};
use std::process::Command;

#[test]
fn the_examples_of_the_guide_to_the_api_do_what_they_say() {
    let examples = examples(&guide("rest-api"), "sh");
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
