//! The shape of files: a header that says what the file owns, a size one can read, no `mod.rs`.

use crate::workspace::{assert_none, texts};

/// Past this a file has a noun or a verb to split by.
const LONGEST_FILE: usize = 600;

#[test]
fn no_file_is_longer_than_one_can_read() {
    let long = texts().iter().filter(|file| file.is_rust()).map(|file| (file.content.lines().count(), file));
    let offenders: Vec<_> = long
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .map(|(lines, file)| format!("{} has {lines} lines", file.name()))
        .collect();
    assert_none("files over 600 lines; split them by a noun or a verb", &offenders);
}

#[test]
fn every_file_says_what_it_owns() {
    let headless = texts()
        .iter()
        .filter(|file| file.is_rust() && !file.is_compile_fail_case() && !file.content.starts_with("//!"));
    assert_none("files that do not open with `//!`", &headless.map(crate::workspace::Text::name).collect::<Vec<_>>());
}

#[test]
fn modules_are_files_beside_their_folders() {
    let old = texts().iter().filter(|file| file.path.ends_with("mod.rs"));
    assert_none("`foo/mod.rs`; call it `foo.rs`", &old.map(crate::workspace::Text::name).collect::<Vec<_>>());
}

/// Past this a line of a template has several elements; a paragraph with its conditions may be as long.
const LONGEST_LINE: usize = 560;

#[test]
fn templates_have_one_element_a_line() {
    let templates = texts().iter().filter(|file| file.name().starts_with("web/templates/"));
    let lines =
        templates.flat_map(|file| file.content.lines().zip(1..).map(move |(line, number)| (file, line, number)));
    let long = lines.filter(|(_, line, _)| line.chars().count() > LONGEST_LINE);
    let offenders: Vec<_> = long.map(|(file, _, number)| format!("{}:{number}", file.name())).collect();
    assert_none("long lines of templates; write one element a line", &offenders);
}

/// These may not be: they take something with a lifetime of its own by value, or `sqlx` does not promise to be sent between
/// threads there. Generic functions are compiled by their callers in any case.
const UNBOXED: [&str; 6] = ["open", "create_output", "change_output", "delete_output", "fold_run", "reset"];

#[test]
fn what_the_store_does_is_compiled_once() {
    let mut offenders = Vec::new();
    for file in texts().iter().filter(|file| file.name().starts_with("store/src/")) {
        let lines: Vec<&str> = file.content.lines().map(str::trim_start).collect();
        for (number, pair) in lines.windows(2).enumerate() {
            let Some(rest) = pair[1].strip_prefix("pub async fn ") else { continue };
            let (name, rest) = rest.split_at(rest.find(['(', '<']).unwrap_or(rest.len()));
            let rest = [rest, &lines[number + 2..(number + 10).min(lines.len())].concat()].concat();
            let is_generic = rest.starts_with('<') || rest.split(") ->").next().is_some_and(|it| it.contains("impl "));
            if pair[0] != "#[boxed]" && !is_generic && !UNBOXED.contains(&name) {
                offenders.push(format!("{}:{}: {name}", file.name(), number + 2));
            }
        }
    }
    assert_none("an `async fn` that each crate compiles again; write `#[boxed]` above it", &offenders);
}
