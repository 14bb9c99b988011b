//! Rules for files: a module comment, a maximum size, no `mod.rs`.

use crate::workspace::{assert_none, texts};

/// Maximum number of lines of a file. Longer files must be split.
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

/// Maximum length of a line in a template. Break longer lines where white space is not rendered, or where `{%-` and
/// `-%}` remove it.
const LONGEST_LINE: usize = 160;

/// Block elements, which start a line. Inline elements such as links and buttons stay in their line.
const BLOCKS: [&str; 33] = [
    "div", "section", "article", "header", "footer", "nav", "main", "form", "table", "thead", "tbody", "tr", "td",
    "th", "ul", "ol", "li", "dl", "dt", "dd", "p", "h1", "h2", "h3", "h4", "label", "fieldset", "details", "summary",
    "figure", "option", "select", "textarea",
];

#[test]
fn templates_have_one_element_a_line() {
    let crowded = template_lines().filter(|(_, line)| blocks_in(line) > 1);
    let offenders: Vec<_> = crowded.map(|(place, _)| place).collect();
    assert_none("lines of templates with several elements; begin each on its own line", &offenders);
}

#[test]
fn lines_of_templates_are_short() {
    let long = template_lines().filter(|(_, line)| line.chars().count() > LONGEST_LINE);
    let offenders: Vec<_> = long.map(|(place, _)| place).collect();
    assert_none("long lines of templates; break them between elements, attributes or sentences", &offenders);
}

/// Returns all lines of templates with their locations.
fn template_lines() -> impl Iterator<Item = (String, &'static str)> {
    let templates = texts().iter().filter(|file| file.name().starts_with("web/templates/"));
    templates.flat_map(|file| {
        file.content.lines().zip(1..).map(move |(line, number)| (format!("{}:{number}", file.name()), line))
    })
}

fn blocks_in(line: &str) -> usize {
    let names = line.split('<').skip(1).filter_map(|tag| tag.split(|c: char| !c.is_ascii_alphanumeric()).next());
    names.filter(|name| BLOCKS.contains(name)).count()
}

#[test]
fn elements_that_begin_in_a_line_are_counted() {
    assert_eq!(blocks_in("<tr{% if is_odd %} class=\"odd\"{% endif %}><td>a</td><td>b</td></tr>"), 3);
    assert_eq!(blocks_in("<td class=\"num\"><a href=\"/\">{{ rows }}</a> <small>rows</small></td>"), 1);
}

/// Functions that cannot return a boxed future: they take an argument with a lifetime by value, or `sqlx` futures are
/// not `Send` there. Generic functions are compiled by their callers anyway.
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
