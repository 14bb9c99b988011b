//! Every command of the guides is one that the binary understands.

use crate::binary::{CommandOutput, command};
use std::path::Path;

/// The `orch` commands of a guide, as a shell would split them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("```bash\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("orch "));
    lines.map(words).collect()
}

/// Spaces within quotes are part of a word. What a pipe or a redirection begins is for the shell alone.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars().chain([' ']) {
        match quote {
            Some(open) if open == c => quote = None,
            None if matches!(c, '|' | '<' | '>') => break,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c.is_whitespace() => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            _ => word.push(c),
        }
    }
    words
}

#[test]
fn commands_of_the_guides_parse() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let home = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for guide in std::fs::read_dir(guides).unwrap() {
        let path = guide.unwrap().path();
        for mut words in commands(&std::fs::read_to_string(&path).unwrap()) {
            // Help is shown once the words before it are understood.
            words.push("--help".into());
            let ended = CommandOutput::of(&command(home.path()).args(&words).output().unwrap());
            assert!(ended.code == 0 && ended.out.contains("Usage: "), "{}: orch {words:?}: {ended:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 12, "{seen} commands");
}

#[test]
fn plain_http_beyond_this_machine_is_refused_with_the_ways_out() {
    let home = tempfile::tempdir().unwrap();
    for command_name in ["web", "standalone"] {
        let arguments = [command_name, "--host", "0.0.0.0", "--port", "0"];
        let refused = CommandOutput::of(&command(home.path()).args(arguments).output().unwrap()).refused();
        assert!(refused.starts_with("error: plain http at `0.0.0.0` would send passwords"), "{refused}");
        for way in ["--ssl-cert", "--trusted-proxies", "--insecure-http"] {
            assert!(refused.contains(way), "{refused}");
        }
    }
    let half =
        CommandOutput::of(&command(home.path()).args(["web", "--ssl-cert", "a.pem"]).output().unwrap()).refused();
    assert!(half.contains("`ssl_cert` and `ssl_key` are not both named"), "{half}");
}
