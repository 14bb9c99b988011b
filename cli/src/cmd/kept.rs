//! What commands for pools, connections and variables have in common: deleting one, and files of them.

use crate::api::ApiObject;
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{self, Listing};
use orch_binary::session::Session;
use orch_deeds::Noun;
use orch_store::audit::Deed;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A line for each, with these columns: the title and the field.
pub(super) fn listing<const N: usize>(
    seen: &[ApiObject],
    columns: [(&'static str, &'static str); N],
    empty: &str,
) -> Listing {
    let mut listing = Listing::new(columns.map(|(title, _)| title), empty);
    for row in seen {
        listing.add(columns.map(|(_, field)| row.get(field).cloned().unwrap_or_default()));
    }
    listing
}

pub(super) async fn delete(cx: &Cx, noun: &Noun, name: &str) -> Outcome {
    if !cx.api().await?.delete_kept(noun, name).await? {
        return Err(no_such(noun, name));
    }
    eprintln!("{} `{name}` is deleted", noun.one.to_lowercase());
    Ok(Exit::Done)
}

pub(super) fn no_such(noun: &Noun, name: &str) -> Failure {
    Failure::new(format!("there is no {} `{name}`", noun.one.to_lowercase()))
        .hint(format!("list all with `orch {} list`", noun.many))
}

/// Says what became of a file. `skipped`: these are there already and stay as they are.
pub(super) fn imported(noun: &Noun, all: usize, skipped: &[String]) -> Exit {
    eprintln!("{} of {all} {} are imported", all - skipped.len(), noun.many);
    if !skipped.is_empty() {
        eprintln!("these are there already and stay as they are: {}", skipped.join(", "));
    }
    Exit::Done
}

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(Failure::io(format!("cannot read `{}`", path.display())))
}

pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON values can be written as JSON") + "\n"
}

/// Writes down that secrets are given out in the clear, before they are.
pub(super) async fn told_of_export(
    session: &mut Session,
    (event, count): (&str, usize),
    file: &Path,
) -> Result<(), Failure> {
    let extra = json!({ "count": count, "file": file.display().to_string() });
    session.did(&Deed { event, extra: Some(extra), ..Deed::default() }).await
}

/// To standard output, or to a file that only its owner can read, even if the file existed before.
pub(super) fn write_privately(path: &Path, text: &str) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        output::print(text)?;
        return Ok(());
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    };
    write().map_err(Failure::io(format!("cannot write `{}`", path.display())))
}
