//! Shared code of the commands for pools, connections and variables: get, delete, import and export.

use crate::api::{Api, ApiObject};
use crate::cx::Cx;
use crate::kept::{Existing, ReadSecrets, SecretVisibility, open_all};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{self, Listing, counted};
use orch_binary::person::AcceptedYesFlag;
use orch_binary::session::Session;
use orch_deeds::Noun;
use orch_deeds::kept::{ExportFile, ImportFile, Kept};
use orch_document::kept::{Document, FileFormat, Serialization};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// How much of the values is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct ShowFlags {
    /// Show values too
    #[arg(long)]
    pub(super) show_values: bool,
    /// Mask what is secret; together with `--show-values`
    #[arg(long, requires = "show_values")]
    hide_sensitive: bool,
}

impl ShowFlags {
    pub(super) fn secret_visibility(self) -> SecretVisibility {
        if self.show_values && !self.hide_sensitive { SecretVisibility::Open } else { SecretVisibility::Closed }
    }
}

/// Returns a listing with a row per object. Each column is a title and a field.
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

pub(super) async fn get(api: &Api, noun: &Noun, name: &str) -> Result<ApiObject, Failure> {
    api.get_kept(noun, name).await?.ok_or_else(|| no_such(noun, name))
}

/// Deletes one by its name. Its `--help` is written in the family of commands.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteKept<K> {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    yes: AcceptedYesFlag,
    #[arg(skip)]
    noun: PhantomData<K>,
}

impl<K: Kept> DeleteKept<K> {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if !cx.api().await?.delete_kept(K::NOUN, &self.name).await? {
            return Err(no_such(K::NOUN, &self.name));
        }
        eprintln!("{} `{}` is deleted", K::NOUN.one.to_lowercase(), self.name);
        Ok(Exit::Done)
    }
}

pub(super) fn no_such(noun: &Noun, name: &str) -> Failure {
    Failure::new(format!("there is no {} `{name}`", noun.one.to_lowercase()))
        .hint(format!("list all with `orch {} list`", noun.many))
}

/// Adds the entries of a file and reports their number. `existing` defines what happens to entries that exist already.
pub(super) async fn import<K: ImportFile>(cx: &Cx, file: &Path, existing: Existing) -> Outcome {
    let (noun, text) = (K::NOUN, read(file)?);
    let document = match K::USUAL_FORMAT.filter(|_| FileFormat::of(file).is_none()) {
        Some(format) => Document::new(file.display().to_string(), format, &text),
        None => Document::of_file(file, &text)?,
    };
    let all = K::read(&document)?;
    let bodies: Vec<Value> = all.into_iter().map(|sent| noun.body(sent)).collect();
    let there = cx.api().await?.set_kept(noun, &bodies, existing).await?;
    if existing == Existing::Fail && !there.is_empty() {
        return Err(Failure::new(format!("these {} are there already: {}", noun.many, there.join(", ")))
            .hint("say `-a skip` to leave them or `-a overwrite` to set them anew"));
    }
    let added = bodies.len() - there.len();
    eprintln!("imported {added} of {}", counted(bodies.len(), &noun.one.to_lowercase()));
    if !there.is_empty() {
        eprintln!("these are there already and stay as they are: {}", there.join(", "));
    }
    Ok(Exit::Done)
}

/// Writes all rows of a noun to a file, with their secrets.
pub(super) async fn export<K: ExportFile>(
    cx: &Cx,
    file: &Path,
    format: FileFormat,
    serialization: Serialization,
) -> Outcome {
    let config = cx.config_of_database()?;
    let mut session = Session::open(&config).await?;
    let all = open_all::<K>(&mut session, &config, ReadSecrets::Export(file)).await?;
    let many = counted(all.len(), &K::NOUN.one.to_lowercase());
    write_privately(file, &K::write(all, format, serialization))?;
    eprintln!("exported {many}");
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(Failure::io(format!("cannot read `{}`", path.display())));
    text.map_err(|failure| failure.hint("name a file that exists and that you can read"))
}

pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON values can be written as JSON") + "\n"
}

/// Writes to standard output, or to a file that only its owner can read. The permissions of an existing file are
/// changed.
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
