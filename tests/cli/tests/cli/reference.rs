//! The references of commands and settings in `docs/` are generated from the code; these tests check that they are up
//! to date.

use clap::Command;
use orch_binary::config::Config;
use std::fmt::Write as _;
use std::path::Path;

/// Usual width of a terminal.
const COLUMNS: usize = 110;

/// Fails with the command that updates the file, if it differs from the text.
fn is_written(file: &str, text: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    if std::fs::read_to_string(docs.join(file)).unwrap_or_default() != text {
        let anew = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(&anew, text).unwrap();
        panic!("docs/{file} is not as the code is; write it anew: cp {} docs/{file}", anew.display());
    }
}

#[test]
fn the_reference_of_settings_is_as_the_code() {
    let mut text = String::from(
        "# Settings\n\nA setting is a flag of the command, a variable of the environment, or a key of the file that `--config` or \
        `ORCH_CONFIG` names, in TOML. The first of\nthese that is set counts. `orch config list` shows the values that count and where \
        each comes from. Every command warns of a variable with nearly the name\nof a setting, because such a variable has no \
        effect.\n\nDurations are written as `500ms`, `15s`, `10m`, `2h` or `90d`. A test writes this page from \
        the code.\n",
    );
    let mut group = "";
    for field in Config::FIELDS {
        if field.group != group {
            group = field.group;
            let title = group.trim().trim_end_matches('.').split(": ").next().unwrap_or_default();
            write!(text, "\n## {title}\n\n| Key | Variable | Default | |\n|---|---|---|---|\n").unwrap();
        }
        let default = if field.default.is_empty() { String::new() } else { format!("`{}`", field.default) };
        let about = field.about.trim().replace('|', "\\|");
        writeln!(text, "| `{}` | `{}` | {default} | {about} |", field.key, field.env).unwrap();
    }
    is_written("settings.md", &text);
}

#[test]
fn the_reference_of_commands_is_as_the_code() {
    let mut text = String::from(
        "# Commands\n\nWhat `orch … -h` says of each command, without the options that all have: `--database-url`, `--task-role`, \
        `--api-url`, `--api-token`, `--data-dir`,\n`--database-wait`, `--config`, `--log` and `--log-format`, which are among the \
        [settings](settings.md). A test writes this page from the code.\n",
    );
    describe(&orch_cli::command_line(), "orch", &mut text);
    is_written("commands.md", &text);
}

fn describe(command: &Command, words: &str, text: &mut String) {
    let globals: Vec<String> =
        command.get_arguments().filter(|it| it.is_global_set()).map(|it| it.get_id().to_string()).collect();
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        let words = format!("{words} {}", inner.get_name());
        let mut shown = inner.clone().bin_name(&words).term_width(COLUMNS).disable_help_flag(true);
        for global in &globals {
            if shown.get_arguments().any(|it| it.get_id().as_str() == global) {
                shown = shown.mut_arg(global, |it| it.hide(true));
            }
        }
        if inner.has_subcommands() {
            let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
            write!(text, "\n## {words}\n\n{about}\n").unwrap();
            describe(inner, &words, text);
        } else {
            let level = if words.split(' ').count() > 2 { "###" } else { "##" };
            let help = shown.render_help().to_string();
            let help: Vec<&str> = help.trim().lines().map(str::trim_end).collect();
            write!(text, "\n{level} {words}\n\n```text\n{}\n```\n", help.join("\n")).unwrap();
        }
    }
}
