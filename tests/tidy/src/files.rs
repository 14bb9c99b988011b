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
