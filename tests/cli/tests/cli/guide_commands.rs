//! The binary accepts the arguments of every command in the guides and in `README.md`.

use crate::binary::{CommandOutput, command};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Returns the `orch` commands of the blocks `bash`, `sh` and `console` of a guide, as a shell would split them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = |language: &str| {
        let fence = format!("```{language}\n");
        let blocks = text.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next());
        blocks.flat_map(str::lines).collect::<Vec<_>>()
    };
    let lines = blocks("bash").into_iter().chain(blocks("sh")).chain(typed(text));
    lines.filter_map(|line| line.strip_prefix("orch ")).map(words).collect()
}

/// Returns what a document shows at a prompt: `$ make build && orch …`.
fn typed(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).flat_map(|line| line.split(" && "))
}

/// Spaces within quotes are part of a word. What begins with a pipe, a redirection, `&` or `#` is for the shell alone.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars().chain([' ']) {
        match quote {
            Some(open) if open == c => quote = None,
            None if matches!(c, '|' | '<' | '>' | '&') || c == '#' && word.is_empty() => break,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c.is_whitespace() => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            _ => word.push(c),
        }
    }
    words
}

#[test]
fn commands_of_the_guides_parse() {
    let mut seen = 0;
    for (path, text) in guides() {
        for words in commands(&text) {
            assert_parses(&path, words);
            seen += 1;
        }
    }
    assert!(seen >= 150, "{seen} commands");
}

/// Returns the path and the text of each guide.
fn guides() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let paths = std::fs::read_dir(folder).unwrap().map(|guide| guide.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// `orch db backup` refuses a file that exists, so a guide that names one file twice cannot be followed.
#[test]
fn backups_of_a_guide_have_different_files() {
    let mut seen = 0;
    for (path, text) in guides() {
        let mut files = BTreeSet::new();
        for words in commands(&text).into_iter().filter(|words| words.starts_with(&["db".into(), "backup".into()])) {
            assert!(files.insert(words[2].clone()), "{}: orch {words:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} backups");
}

#[test]
fn commands_of_the_readme_parse() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let commands: Vec<&str> = typed(&text).filter_map(|line| line.strip_prefix("orch ")).collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for line in commands {
        assert_parses(&path, words(line));
    }
}

/// Help is shown once the words before it are understood.
#[track_caller]
fn assert_parses(path: &Path, mut words: Vec<String>) {
    let home = tempfile::tempdir().expect("a folder");
    words.push("--help".into());
    let ended = command(home.path()).args(&words).output().expect("the binary starts");
    let ended = CommandOutput::of(&ended);
    assert!(ended.code == 0 && ended.out.contains("Usage: "), "{}: orch {words:?}: {ended:?}", path.display());
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
    assert!(half.contains("`ssl_cert` from --ssl-cert is set, but `ssl_key` is not"), "{half}");
}
